"""What it checks
  Packets that this host had to drop while netdiag looked because they were larger than the way on and must not be
  fragmented (Ip.FragFails, Ip6FragFails), many and a good part of what it forwards; or fewer of which no sender was
  told, because no ICMP message left; or many of which hardly any was told.

Why it matters
  Each is a packet of somebody who believes the path to be wider than it is. Path MTU discovery mends a few of them.
  Many mean that it does not work: the sender never hears of it (ICMP is dropped, limited or cannot find back), and
  large transfers hang while small ones work.

Confirm
  nstat -az IpFragFails Ip6FragFails IcmpOutDestUnreachs Icmp6OutPktTooBigs, twice
  ip link: interfaces with a smaller MTU

Fix
  Clamp the MSS of TCP on the narrow way (nft ... tcp option maxseg size set rt mtu), let ICMP pass, or give every
  interface of the path the same MTU.

Not flagged
  A few of them, as path MTU discovery makes when it works: each is answered by an ICMP message. Those of the past.

References
  net/ipv4/ip_forward.c ip_forward(), net/ipv6/ip6_output.c ip6_forward(); RFC 1191, RFC 8201
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="ip-fragfails",
    title="packets are too large for the way on",
    severity="warning",
    reads=("deltas", "links"),
)
FAILS, TOLD = ("Ip.FragFails", "Ip6FragFails"), ("Icmp.OutDestUnreachs", "Icmp6OutPktTooBigs")
TRAFFIC = ("Ip.ForwDatagrams", "Ip.OutRequests", "Ip6OutForwDatagrams", "Ip6OutRequests")
MANY = 5
"""More than the first flight of a connection makes, whose large segments are one packet until they leave."""
SHARE, UNTOLD = 0.1, 3
SILENT, OF_FOUR = 20, 4
"""So many that less than a quarter of the senders was told: more than ICMP's limit for one sender takes off a burst."""


def check(view: HostView) -> Iterator[Draft]:
    moved = {name: view.deltas.snmp(name) or 0 for name in (*FAILS, *TOLD, *TRAFFIC)}
    failed = sum(moved[name] for name in FAILS)
    told = sum(moved[name] for name in TOLD)
    if not failed:
        return
    traffic = sum(moved[name] for name in TRAFFIC) + failed
    many = failed >= MANY and failed >= SHARE * traffic
    unheard = failed >= SILENT and told * OF_FOUR < failed
    ends = [link for link in view.links if link.up and not link.loopback]
    narrow = min(ends, key=lambda link: link.mtu, default=None)
    ports = [link for link in ends if narrow is not None and link.mtu == narrow.mtu]
    shown = [f"ip link show dev {quoted(link.ifname)}" for link in ports[:3]]
    few = f"only {told} ICMP message{'s' if told > 1 else ''}" if told else "no ICMP message"
    untold = "" if told >= failed else f"; {few} told a sender"
    yield RULE.found(
        subject=subject("host"),
        severity="warning" if many or (failed >= UNTOLD and not told) or unheard else "info",
        message=f"{failed} packets were dropped in {view.deltas.seconds:.1f} s because they were larger than the way "
        f"on and must not be fragmented{untold}",
        evidence=[
            *(
                (f"dropped between the looks ({name})", moved[name], f"/proc/net/snmp{'6' * ('6' in name)} {name}")
                for name in FAILS
                if moved[name]
            ),
            ("ICMP messages about it", told, f"{' '.join(TOLD)}"),
            ("narrowest interfaces", " ".join(f"{link.ifname} {link.mtu}" for link in ports[:3]), "IFLA_MTU"),
        ],
        confirm=["nstat -az IpFragFails Ip6FragFails IcmpOutDestUnreachs Icmp6OutPktTooBigs", *shown],
        fix="clamp the MSS on the narrow way: nft add rule inet filter forward tcp flags syn tcp option maxseg size "
        "set rt mtu  # and let ICMP pass",
        touches=[subject("link", ifname=link.ifname) for link in ports],
    )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, says: Any, words: tuple[str, ...] = (), **moved: int) -> Example:
        keys = {"fails": FAILS[0], "fails6": FAILS[1], "icmp": TOLD[0], "icmp6": TOLD[1], "forwarded": TRAFFIC[0]}
        base = dict.fromkeys((*FAILS, *TOLD, *TRAFFIC), 50)
        after = base | {keys[name]: 50 + count for name, count in moved.items()}
        host = HostBuilder().link("eth0").link("wg0", mtu=1420).counters(before={"snmp": base}, after={"snmp": after})
        return Example(name=name, why=why, tables=host.build(), fires=0 if says is None else 1, severity=says,
                       says=words)  # fmt: skip

    yield case("many", "the plain fault", "warning", fails=5, icmp=5, forwarded=45)
    yield case("many of IPv6", "the same", "warning", fails6=20, icmp6=20)
    yield case("few, told", "path MTU discovery at work", "info", fails=4, icmp=4)
    nobody = ("; no ICMP message told a sender",)
    yield case("few, nobody told", "the senders never hear of it", "warning", nobody, fails=3)
    yield case("few, one told", "path MTU discovery at work", "info", ("; only 1 ICMP message told",), fails=3, icmp=1)
    yield case("two, nobody told", "by chance", "info", fails=2)
    yield case("many, but few of all", "one in eleven", "info", fails=5, icmp=5, forwarded=50)
    four = ("; only 4 ICMP messages told a sender",)
    yield case("twenty of a busy host, four told", "most senders never hear of it", "warning", four, fails=20, icmp=4,
               forwarded=5000)  # fmt: skip
    yield case("twenty of a busy host, five told", "a burst or two", "info", fails=20, icmp=5, forwarded=5000)
    yield case("nineteen of a busy host, one told", "one burst of one sender", "info", fails=19, icmp=1, forwarded=5000)
    yield case("none now", "those of the past", None, forwarded=50)
    yield case("counter went back", "a reset", None, fails=-5)
