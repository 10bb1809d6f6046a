"""What it checks
  An IPv4 interface has secondary addresses (further ones of the same subnet), and promote_secondaries is off there:
  deleting the first address deletes all of them. That is a trap, not a fault: info, and it explains nothing. Where all
  of a subnet's addresses are gone since the baseline, it has snapped: critical. So it has where the first one is
  there, and none of the two or more that hung on it: it was deleted and made again, as a restart of a network service
  does. A warning without a baseline, where a gateway is left in no subnet of its interface, and programs listen on two
  or more addresses around it that this host has not.

Why it matters
  The kernel keeps the first address of a subnet as primary, all later ones hang on it. When the primary is removed,
  by a DHCP client, a renumbering or a failover, it takes the others and their routes along, unless
  promote_secondaries is set: then the next one takes its place. That they are gone shows only against intent or a
  baseline.

Confirm
  ip address show dev IFNAME secondary
  sysctl net.ipv4.conf.IFNAME.promote_secondaries net.ipv4.conf.all.promote_secondaries

Fix
  sysctl -w net.ipv4.conf.all.promote_secondaries=1 (systemd sets it by default). It changes nothing until an address
  is deleted. What is gone: ip address add ADDRESS/LENGTH dev IFNAME for each.

Not flagged
  promote_secondaries on, for the interface or for all. IPv6: there each address stands alone. Single addresses (/32):
  each is a subnet of its own, and primary. Against a baseline: addresses that are elsewhere on this host now, and
  interfaces that are gone or were made anew.

References
  net/ipv4/devinet.c __inet_del_ifa(), IN_DEV_PROMOTE_SECONDARIES(); ip-sysctl.rst promote_secondaries
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.address import IFA_F_PERMANENT, IFA_F_SECONDARY
from netdiag.model.finding import Draft, subject
from netdiag.model.host import Manager
from netdiag.rules.build import HostBuilder
from netdiag.rules.expected import since
from netdiag.rules.secondaries import Missed, Subnet, flushed, missed
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="addr-orphaned-primary-delete-flushes-secondary",
    title="deleting the first address of a subnet would delete the others",
    severity="critical",
    reads=("links", "addresses", "sysctls"),
    consults=("baseline", "sockets", "routes", "rules", "nexthops", "identity"),
    explains=("prefsrc-not-local", "route-*", "bgp-*", "wg-*", "ip-nonlocal-bind"),
    family="each",
)


def check(view: HostView) -> Iterator[Draft]:
    told: set[str] = set()
    if view.baseline is not None and view.baseline.read_whole("addresses"):
        for group in flushed(view.baseline, view):
            told.add(group.ifname)
            yield _gone(view, view.baseline, group)
    yield from (_left(group) for group in missed(view) if group.ifname not in told)
    yield from _trap(view)


def _left(group: Missed) -> Draft:
    """What is left of a subnet, without a baseline."""
    dev, names = quoted(group.ifname), ", ".join(group.addresses[:4])
    return RULE.found(
        subject=subject("address", address=group.addresses[0], ifname=group.ifname),
        severity="warning",
        confidence="likely",
        message=f"{group.ifname} has no address of the subnet of its gateway {group.gateway} any more, and programs "
        f"still listen on {names}: where their first one is deleted all go, for promote_secondaries is off",
        evidence=[
            ("addresses that are listened on and not here", names, "SOCK_DIAG, RTM_GETADDR"),
            (f"gateway of {group.ifname}", group.gateway, "RTM_GETROUTE"),
            ("promote_secondaries", 0, f"RTM_GETLINK {group.ifname} IFLA_INET_CONF, all: /proc/sys"),
        ],
        confirm=[f"ip address show dev {dev}", "ss -lntu", "sysctl net.ipv4.conf.all.promote_secondaries"],
        fix=" && ".join(f"ip address add {each}/LENGTH dev {dev}" for each in group.addresses[:8]),
        breaks=[
            subject("link", ifname=group.ifname),
            subject("route", dst="0.0.0.0/0", table=254),
            *(subject("address", address=each) for each in group.addresses[:32]),
        ],
    )


def _gone(view: HostView, old: HostView, group: Subnet) -> Draft:
    dev, first = quoted(group.ifname), group.primary.partition("/")[0]
    again = any(row.local == first for row in view.addresses)
    lost = group.secondaries if again else group.every
    others = ", ".join(group.secondaries[:3])
    told = f"lost {group.primary} {since(old)}, and with it {len(group.secondaries)} more of its subnet ({others})"
    if again:
        told = (
            f"lost {len(lost)} addresses of the subnet of {group.primary} {since(old)} ({others}): that one was deleted"
        )
        told += " and made again"
    return RULE.found(
        subject=subject("address", address=first, ifname=group.ifname),
        message=f"{group.ifname} {told}{', and' if again else ':'} promote_secondaries is off",
        confidence="likely" if again else None,
        evidence=[
            ("addresses of the subnet then", ", ".join(group.every[:8]), f"RTM_GETADDR, {since(old)}"),
            ("addresses of the subnet now", 1 if again else 0, "RTM_GETADDR"),
        ],
        confirm=[f"ip address show dev {dev}", "sysctl net.ipv4.conf.all.promote_secondaries"],
        fix=" && ".join(f"ip address add {each} dev {dev}" for each in lost[:8]),
        breaks=[
            subject("link", ifname=group.ifname),
            *(subject("address", address=each.partition("/")[0], ifname=group.ifname) for each in group.every[:32]),
            *(subject("address", address=each.partition("/")[0]) for each in lost[:32]),
            *(subject("route", dst=f"{each.partition('/')[0]}/32", table=255) for each in lost[:32]),
        ],
    )


def _trap(view: HostView) -> Iterator[Draft]:
    if view.sysctl_int("net.ipv4.conf.all.promote_secondaries") != 0:
        return
    for link in view.links:
        if link.inet_conf.get("promote_secondaries") != 0:
            continue
        own = [row for row in view.addresses if row.ifindex == link.ifindex and row.family == "inet"]
        secondary = [row for row in own if row.flags & IFA_F_SECONDARY]
        if not secondary:
            continue
        first = next((row.local for row in own if not row.flags & IFA_F_SECONDARY), "the first address")
        dev = quoted(link.ifname)
        yield RULE.found(
            confidence="possible",  # nothing is gone yet, so it explains nothing
            subject=subject("link", ifname=link.ifname),
            message=f"deleting {first} from {link.ifname} would delete {secondary[0].local}"
            + (f" and {len(secondary) - 1} more" if len(secondary) > 1 else "")
            + " as well (promote_secondaries is off)",
            evidence=[
                ("secondary addresses", len(secondary), f"RTM_GETADDR {link.ifname} IFA_FLAGS IFA_F_SECONDARY"),
                ("promote_secondaries", 0, f"RTM_GETLINK {link.ifname} IFLA_INET_CONF, all: /proc/sys"),
            ],
            confirm=[f"ip address show dev {dev} secondary", "sysctl net.ipv4.conf.all.promote_secondaries"],
            fix="sysctl -w net.ipv4.conf.all.promote_secondaries=1",
        )


def _host(second: str = "10.0.0.6/24", flags: int = IFA_F_PERMANENT | IFA_F_SECONDARY, **link: Any) -> HostBuilder:
    host = HostBuilder().sysctl("net.ipv4.conf.all.promote_secondaries", 0).link("eth0", **link)
    return host.address("eth0", "10.0.0.5/24").address("eth0", second, flags=flags)


def _case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
    told: dict[str, Any] = {"severity": "info", "confidence": "possible"} if fires else {}
    return Example(name=name, why=why, tables=host.build(), fires=fires, **told)


def examples() -> Iterator[Example]:
    yield _case("a secondary address", "the trap", _host(), 1)
    yield _case("on for all", "as systemd sets it", _host().sysctl("net.ipv4.conf.all.promote_secondaries", 1))
    yield _case("on for the interface", "either will do", _host(inet_conf={"promote_secondaries": 1}))
    yield _case("another subnet", "primary there", _host("10.1.0.6/24", IFA_F_PERMANENT))
    yield _case("single address", "primary by itself", _host("10.0.0.6/32", IFA_F_PERMANENT))
    yield _case("IPv6 temporary address", "the bit means something else", _host("2001:db8::6/64"))
    yield from _listened_on()
    before = _host().build()
    snapped = HostBuilder().sysctl("net.ipv4.conf.all.promote_secondaries", 0).link("eth0")
    about = subject("address", address="10.0.0.5", ifname="eth0")
    yield Example(
        name="it has snapped", why="both are gone", tables=snapped.build(), baseline=before, fires=1, subject=about
    )
    bare = HostBuilder().sysctl("net.ipv4.conf.all.promote_secondaries", 0).link("eth0").address("eth0", "10.0.0.6/24")
    yield Example(name="one is left", why="it was promoted, or is another", tables=bare.build(), baseline=before)
    three = _host().address("eth0", "10.0.0.7/24", flags=IFA_F_PERMANENT | IFA_F_SECONDARY).build()
    again = HostBuilder().sysctl("net.ipv4.conf.all.promote_secondaries", 0).link("eth0").address("eth0", "10.0.0.5/24")
    says = (
        "10.0.0.6/24, 10.0.0.7/24): that one was deleted and made again",
        "ip address add 10.0.0.6/24 dev eth0 && ip",
    )
    made: dict[str, Any] = {"fires": 1, "subject": about, "severity": "critical", "confidence": "likely", "says": says}
    yield Example(name="made again", why="the first one alone is back", tables=again.build(), baseline=three, **made)
    yield Example(name="one of two gone", why="somebody took it", tables=again.build(), baseline=before)
    some = again.address("eth0", "10.0.0.6/24", flags=IFA_F_PERMANENT | IFA_F_SECONDARY)
    yield Example(
        name="one of three gone", why="the trap alone", tables=some.build(), baseline=three, fires=1, severity="info"
    )
    single = HostBuilder().sysctl("net.ipv4.conf.all.promote_secondaries", 0).link("eth0")
    single.address("eth0", "10.0.0.6/24", flags=IFA_F_PERMANENT | IFA_F_SECONDARY)
    yield _case("a secondary address without its first", "it was read between two changes", single, 1)

    def gone(name: str, why: str, **fields: Any) -> Example:
        now = HostBuilder().sysctl("net.ipv4.conf.all.promote_secondaries", int("all" in fields))
        now.link("lan0" if "moved" in fields else "eth0", inet_conf=fields.get("conf", {}))
        return Example(name=name, why=why, tables=now.build(), baseline=before)

    yield gone("gone with its interface", "that took them all", moved=True)
    yield gone("gone, on for all", "somebody took each of them", all=True)
    yield gone("gone, on for the interface", "likewise", conf={"promote_secondaries": 1})
    yield gone("gone, of an interface that does not say", "it is not known", conf={"promote_secondaries": None})
    late: dict[str, Any] = {"tables": snapped.build(), "late_then": ("addresses",)}
    yield Example(name="addresses not read then", why="nothing is known of that time", baseline=before, **late)
    anew = HostBuilder().sysctl("net.ipv4.conf.all.promote_secondaries", 0).link("eth0", kind="tun").build()
    other = _host(kind="tun", ifindex=9).build()
    yield Example(name="of a guest made anew", why="the same name, another one's", tables=anew, baseline=other)
    moved = HostBuilder().sysctl("net.ipv4.conf.all.promote_secondaries", 0).link("eth0").link("eth1")
    moved.address("eth1", "10.0.0.6/24")
    yield Example(name="moved", why="another interface has one", tables=moved.build(), baseline=before)


def _listened_on() -> Iterator[Example]:
    """No baseline: programs know which addresses there were."""

    def host(*bound: str, promote: int = 0, more: str = "10.7.0.1/24", via: str = "192.0.2.1") -> HostBuilder:
        made = HostBuilder().sysctl("net.ipv4.conf.all.promote_secondaries", promote)
        made.sysctl("net.ipv4.ip_nonlocal_bind", 0).link("eth0").address("eth0", more)
        for number, src in enumerate(bound):
            made.socket(src=src, sport=443, inode=50 + number, comm="web")
        return made.route("default", via=via, dev="eth0")

    two = ("192.0.2.3", "192.0.2.4")
    freely = host(*two).sysctl("net.ipv4.ip_nonlocal_bind", 1)
    standby = host(*two).identity(managers=(Manager(name="keepalived", evidence="process keepalived"),))
    onlink = host(*two, via="10.7.0.9")
    for name, why, made, fires in (
        ("two are listened on", "they went with the first one", host(*two), 1),
        ("one is listened on", "who knows", host(two[0]), 0),
        ("two elsewhere", "another net's", host("198.51.100.3", "198.51.100.4"), 0),
        ("two, and another of the net is here", "it was promoted, or is the first", host(*two, more="192.0.2.9/32"), 0),
        ("two, with promotion", "somebody took each of them", host(*two, promote=1), 0),
        ("two, bound before they come", "ip_nonlocal_bind", freely, 0),
        ("two, beside keepalived", "the standby", standby, 0),
        ("two, and the gateway has its subnet", "they may be another host's by now", onlink, 0),
    ):
        says = ("programs still listen on 192.0.2.3, 192.0.2.4:",) if fires else ()
        severity: Any = "warning" if fires else None
        yield Example(name=name, why=why, tables=made.build(), fires=fires, severity=severity, says=says)
    yield Example(
        name="two, sockets not read", why="who knows", tables=host(*two).build(), late=("sockets",), unjudged=True
    )
