"""What it checks
  An IPv6 address stays tentative on an interface that is up and has a carrier: duplicate address detection cannot
  begin, because the interface is not operational (dormant, testing), or takes longer than five seconds, because
  dad_transmits asks for so many probes.

Why it matters
  A tentative address is listed like any other, but it cannot be used: bind() fails with EADDRNOTAVAIL, nothing answers
  neighbour solicitations for it, and services that start at boot fail although the address is "there".

Confirm
  ip -6 address show dev IFNAME tentative
  ip -d link show dev IFNAME
  sysctl net.ipv6.conf.IFNAME.dad_transmits

Fix
  Let what keeps the interface dormant finish (802.1X, a supplicant that died): ip link set dev IFNAME mode default.
  For too many probes: sysctl -w net.ipv6.conf.IFNAME.dad_transmits=1, then delete and add the address; or add it with
  nodad where nobody else can have it.

Not flagged
  An interface without a carrier, or down: detection waits for the carrier, and that is the fault. Detection that takes
  a second or two. Optimistic addresses, which may be used meanwhile; those that failed (ipv6-dad-failed); nodad ones.

References
  net/ipv6/addrconf.c addrconf_dad_begin(), addrconf_link_ready(), addrconf_dad_kick(); RFC 4862 section 5.4; RFC 2863
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.address import (
    IFA_F_DADFAILED,
    IFA_F_NODAD,
    IFA_F_OPTIMISTIC,
    IFA_F_PERMANENT,
    IFA_F_TENTATIVE,
)
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="ipv6-tentative-stuck",
    title="an IPv6 address stays tentative and cannot be used",
    severity="warning",
    reads=("links", "addresses"),
    explains=("ipv6-*", "bgp-*", "prefsrc-not-local"),
    family="inet6",
)
SLOW = 5
"""Probes, one a second, beyond which nobody waits any more."""
IDLE = ("dormant", "testing")


def check(view: HostView) -> Iterator[Draft]:
    for link in view.links:
        why = _why(link)
        if why is None:
            continue
        stuck = [
            row
            for row in view.addresses
            if row.ifindex == link.ifindex
            and row.flags & IFA_F_TENTATIVE
            and not row.flags & (IFA_F_DADFAILED | IFA_F_OPTIMISTIC | IFA_F_NODAD)
        ]
        if stuck:
            first = min(stuck, key=lambda row: (row.scope, row.local))
            yield _draft(link, first.local, len(stuck), why)


def _why(link: Link) -> tuple[str, tuple[str, object, str], str] | None:
    """What keeps addresses tentative, as words, evidence and a command; None where nothing does."""
    name = quoted(link.ifname)
    if not link.lower_up:
        return None
    if link.operstate in IDLE:
        fact: tuple[str, object, str] = (
            f"{link.ifname} operstate",
            link.operstate,
            f"RTM_GETLINK {link.ifname} IFLA_OPERSTATE",
        )
        return (
            f"{link.ifname} is {link.operstate}: detection does not begin",
            fact,
            f"ip link set dev {name} mode default",
        )
    probes = link.inet6_conf.get("dad_transmits", 1)
    if probes > SLOW:
        key = f"net.ipv6.conf.{link.ifname.replace('.', '/')}.dad_transmits"
        fact = (f"{link.ifname} dad_transmits", probes, f"RTM_GETLINK {link.ifname} IFLA_INET6_CONF")
        return f"detection sends {probes} probes, one a second", fact, f"sysctl -w {quoted(key)}=1"
    return None


def _draft(link: Link, address: str, count: int, why: tuple[str, tuple[str, object, str], str]) -> Draft:
    words, fact, command = why
    more = f" and {count - 1} more" if count > 1 else ""
    return RULE.found(
        subject=subject("address", address=address, ifname=link.ifname),
        message=f"{address}{more} on {link.ifname} is tentative and cannot be used: {words}",
        evidence=[
            (f"{address} flags", "tentative", f"RTM_GETADDR {link.ifname} IFA_FLAGS"),
            fact,
            (f"{link.ifname} carrier", "yes", f"RTM_GETLINK {link.ifname} IFF_LOWER_UP"),
        ],
        confirm=[
            f"ip -6 address show dev {quoted(link.ifname)} tentative",
            command.partition("=")[0].replace(" -w", "")
            if command.startswith("sysctl ")
            else f"ip -d link show dev {quoted(link.ifname)}",
        ],
        fix=command,
        touches=[subject("link", ifname=link.ifname)],
    )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, fires: int = 0, *, flags: int = IFA_F_TENTATIVE, **link: Any) -> Example:
        conf = {"dad_transmits": link.pop("probes", 1)}
        host = HostBuilder().link("eth0", inet6_conf=conf, **link)
        host.address("eth0", "2001:db8::1/64", flags=flags | IFA_F_PERMANENT)
        severity: Any = "warning" if fires else None
        return Example(name=name, why=why, tables=host.build(), fires=fires, severity=severity)

    yield case("dormant", "a supplicant never said that the port is open", 1, operstate="dormant")
    yield case("testing", "nor does this end by itself", 1, operstate="testing")
    yield case("six probes", "six seconds", 1, probes=SLOW + 1)
    yield case("five probes", "somebody may wait for them", probes=SLOW)
    yield case("detection runs", "a second or two")
    yield case("no carrier", "that is the fault", carrier=False, probes=60)
    yield case("down", "nothing begins", up=False, operstate="dormant")
    both = HostBuilder().link("eth0").address("eth0", "2001:db8::1/64", flags=IFA_F_TENTATIVE | IFA_F_PERMANENT)
    both.link("eth1", operstate="dormant")
    yield Example(name="dormant beside it", why="its address waits for nothing", tables=both.build())
    yield case("dormant, address good", "it was there before", flags=0, operstate="dormant")
    yield case("optimistic", "usable meanwhile", flags=IFA_F_TENTATIVE | IFA_F_OPTIMISTIC, probes=60)
    yield case("failed", "ipv6-dad-failed speaks", flags=IFA_F_TENTATIVE | IFA_F_DADFAILED, probes=60)
