"""What it checks
  An IPv6 address that failed duplicate address detection (flag dadfailed) on an interface that is up. As a
  possibility: an interface without IPv6 whose accept_dad is 2, by which the kernel switches IPv6 off where somebody
  else has its link-local address.

Why it matters
  Somebody else on the link already has the address, so the kernel keeps it but does not use it: it is listed by
  "ip address" like any other, yet nothing answers to it, and programs that bind it get EADDRNOTAVAIL. What was meant
  for this host goes to the other one. The kernel does not try again by itself. If the failed address is link-local,
  the interface has no way to speak to its neighbours at all.

Confirm
  ip -6 address show dev IFNAME dadfailed
  ndisc6 or arping from another host shows who answers
  dmesg: "IPv6: IFNAME: IPv6 duplicate address ADDRESS used by LLADDR detected!"

Fix
  Take the address away from whoever else has it (a cloned machine, a second interface of this host, a failover
  partner that should be passive), then delete and add it again here: only that starts a new detection. What uses the
  address as its source is cut off in between; it is cut off now anyway.

Not flagged
  An address that is only tentative: detection takes a second or two. An optimistic one, which may already be used.
  One that was added with nodad. An interface that is down: nothing is detected there.

References
  RFC 4862 section 5.4, net/ipv6/addrconf.c addrconf_dad_stop(), addrconf_dad_failure();
  include/uapi/linux/if_addr.h IFA_F_DADFAILED
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.address import (
    IFA_F_DADFAILED,
    IFA_F_NODAD,
    IFA_F_OPTIMISTIC,
    IFA_F_PERMANENT,
    IFA_F_TENTATIVE,
    Address,
)
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.links_mtu_offload.bridge_own_mac_flap import made_of
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="ipv6-dad-failed",
    title="an IPv6 address is a duplicate, and not used",
    severity="critical",
    reads=("links", "addresses"),
    consults=("sysctls",),
    explains=("prefsrc-not-local", "route-src-*", "overlap-subnet-two-ifaces", "neigh-*", "bgp-*"),
    family="inet6",
)


RT_SCOPE_LINK = 253
BY_MAC = 2
"""accept_dad: IPv6 is switched off where the link-local address made of the hardware address is another's."""


def check(view: HostView) -> Iterator[Draft]:
    for row in view.addresses:
        if row.family != "inet6" or not row.flags & IFA_F_DADFAILED:
            continue
        link = view.link(row.ifindex)
        if link is None or not link.up:
            continue
        elsewhere = sorted(
            {
                view.ifname(other.ifindex)
                for other in view.addresses
                if other.local == row.local and not other.flags & IFA_F_DADFAILED
            }
        )
        cloned = made_of(row.local) if row.scope == RT_SCOPE_LINK else None
        clone = f"; it is made of the hardware address {cloned}, which that host then has too" if cloned else ""
        owner = f" (this host itself has it on {', '.join(elsewhere)})" if elsewhere else ""
        local, ifname = f"{row.local}/{row.prefixlen}", quoted(link.ifname)
        yield RULE.found(
            subject=subject("address", address=row.local, ifname=link.ifname),
            message=f"{row.local} on {link.ifname} failed duplicate address detection: "
            f"another host on the link has it{owner}, and this one does not use it{clone}",
            evidence=[
                (f"{row.local} flags", _flags(row), f"RTM_GETADDR {link.ifname} IFA_FLAGS"),
                (f"{link.ifname} is up", "yes", f"RTM_GETLINK {link.ifname} IFF_UP"),
            ],
            confirm=[f"ip -6 address show dev {ifname} dadfailed"],
            fix=f"ip -6 address del {local} dev {ifname} && ip -6 address add {local} dev {ifname}"
            "  # once nobody else has it",
            touches=[subject("link", ifname=link.ifname)],
            breaks=[subject("link", ifname=link.ifname)],
        )
    yield from _switched_off(view)


def _switched_off(view: HostView) -> Iterator[Draft]:
    """Interfaces whose setting asks the kernel to switch IPv6 off after such a failure, and that have none."""
    if any(view.sysctl_int(f"net.ipv6.conf.{which}.disable_ipv6") == 1 for which in ("all", "default")):
        return
    for link in view.links:
        conf = link.inet6_conf
        if not link.lower_up or link.loopback or conf.get("disable_ipv6") != 1 or conf.get("accept_dad", 0) < BY_MAC:
            continue
        name = link.ifname
        yield RULE.found(
            subject=subject("link", ifname=name),
            confidence="possible",
            message=f"IPv6 is off on {name}, whose accept_dad is 2: the kernel does that where another host on the "
            f"link has the link-local address that is made of {link.address or 'its hardware address'}",
            evidence=[
                (f"net.ipv6.conf.{name}.disable_ipv6", 1, f"RTM_GETLINK {name} IFLA_INET6_CONF"),
                (f"net.ipv6.conf.{name}.accept_dad", conf["accept_dad"], f"RTM_GETLINK {name} IFLA_INET6_CONF"),
            ],
            confirm=[
                f"sysctl {quoted(f'net/ipv6/conf/{name}/disable_ipv6')} {quoted(f'net/ipv6/conf/{name}/accept_dad')}"
            ],
            fix=f"sysctl -w {quoted(f'net/ipv6/conf/{name}/disable_ipv6')}=0  # once nobody else has its address",
            touches=[subject("link", ifname=name)],
        )


def _flags(row: Address) -> str:
    names = {IFA_F_TENTATIVE: "tentative", IFA_F_DADFAILED: "dadfailed", IFA_F_PERMANENT: "permanent"}
    return " ".join(name for bit, name in names.items() if row.flags & bit)


def examples() -> Iterator[Example]:
    failed = IFA_F_PERMANENT | IFA_F_TENTATIVE | IFA_F_DADFAILED

    def host(flags: int, address: str = "2001:db8::1/64", **link: bool) -> HostBuilder:
        return HostBuilder().link("eth0", **link).address("eth0", address, flags=flags)

    yield Example(
        name="failed",
        why="the plain fault, as the kernel leaves it",
        tables=host(failed).build(),
        fires=1,
        subject=subject("address", address="2001:db8::1", ifname="eth0"),
        severity="critical",
        says=("tentative dadfailed permanent", "another host on the link has it, and"),
    )
    yield Example(
        name="failed link-local address",
        why="worse: without it there is no neighbour discovery",
        tables=host(failed, "fe80::1/64").build(),
        fires=1,
        subject=subject("address", address="fe80::1", ifname="eth0"),
    )
    yield Example(
        name="failed link-local address that is made of the hardware address",
        why="a cloned machine",
        tables=HostBuilder().link("eth0").address("eth0", "fe80::ff:fe00:1/64", flags=failed, scope=253).build(),
        fires=1,
        says=("made of the hardware address 02:00:00:00:00:01, which that host then has too",),
    )
    for name, why, conf, link_, everywhere, fires in (
        ("by its hardware address", "perhaps so", {"disable_ipv6": 1, "accept_dad": 2}, {}, 0, 1),
        ("by somebody", "the setting asks for a detection only", {"disable_ipv6": 1, "accept_dad": 1}, {}, 0, 0),
        ("nowhere", "it runs", {"disable_ipv6": 0, "accept_dad": 2}, {}, 0, 0),
        ("everywhere", "this host is to have none", {"disable_ipv6": 1, "accept_dad": 2}, {}, 1, 0),
        ("without a carrier", "nothing was detected", {"disable_ipv6": 1, "accept_dad": 2}, {"carrier": False}, 0, 0),
    ):
        off = HostBuilder().link("eth0", inet6_conf=conf, **link_)
        off.sysctl("net.ipv6.conf.default.disable_ipv6", everywhere)
        yield Example(name=f"IPv6 is off, {name}", why=why, tables=off.build(), fires=fires,
                      severity="info" if fires else None)  # fmt: skip
    yield Example(
        name="failed, no longer tentative",
        why="the flag alone says it",
        tables=host(IFA_F_PERMANENT | IFA_F_DADFAILED).build(),
        fires=1,
    )
    both = HostBuilder().link("eth0").link("eth1").link("eth2")
    both.address("eth0", "2001:db8::1/64").address("eth1", "2001:db8::1/64", flags=failed)
    yield Example(
        name="this host has it on two interfaces of one link",
        why="only the one that failed is named, and the other as its owner",
        tables=both.address("eth2", "2001:db8::2/64").build(),
        fires=1,
        subject=subject("address", address="2001:db8::1", ifname="eth1"),
        says=("this host itself has it on eth0)",),
    )
    both = HostBuilder().link("eth0").link("eth1")
    yield Example(
        name="failed on two interfaces",
        why="each is a fault of its own, and neither is the other's owner",
        tables=both.address("eth0", "2001:db8::1/64", flags=failed)
        .address("eth1", "2001:db8::1/64", flags=failed)
        .build(),
        fires=2,
        says=("another host on the link has it, and",),
    )
    yield Example(
        name="tentative",
        why="detection is still running: one or two seconds",
        tables=host(IFA_F_PERMANENT | IFA_F_TENTATIVE).build(),
    )
    yield Example(
        name="optimistic",
        why="it may be used while detection runs (RFC 4429)",
        tables=host(IFA_F_PERMANENT | IFA_F_OPTIMISTIC).build(),
    )
    yield Example(name="nodad", why="no detection was wanted", tables=host(IFA_F_PERMANENT | IFA_F_NODAD).build())
    yield Example(name="in use", why="the healthy address", tables=host(IFA_F_PERMANENT).build())
    yield Example(
        name="interface down",
        why="the flag is left over from before; the address is unused because of the interface",
        tables=host(failed, up=False).build(),
    )
    gone = host(failed).vanished("eth0").build()
    yield Example(name="interface gone meanwhile", why="so is the address", tables=gone)
    yield Example(
        name="IPv4 address with the same bit",
        why="IPv4 has no duplicate address detection in the kernel; the bit means nothing there",
        tables=host(IFA_F_PERMANENT | IFA_F_DADFAILED, "192.0.2.1/24").build(),
    )
