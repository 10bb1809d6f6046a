"""What it checks
  Tracked connections that are in use have their source rewritten to an address that this host does not have any more,
  while its rules would now give them another, or go on giving that one though it belongs to a link of this host, on
  which nobody answers for it.

Why it matters
  A translation is chosen for the first packet of a connection and kept as long as it lives. When the uplink's address
  changes, masquerade cleans up only what went out of that interface; entries made by snat rules, or that are refreshed
  by keepalives, stay. Their packets leave with the old source, the answers go to it, and nothing comes back.

Confirm
  conntrack -L --reply-dst ADDRESS
  ip -br address show

Fix
  conntrack -D --reply-dst ADDRESS: the connections begin anew with the right address. Those that still worked are cut
  off as well, so look at the list first.

Not flagged
  Addresses that a snat rule gives now, alone or as part of a pool: routers do not need to have those, where they are
  routed here, answered for (proxy_arp, a proxy entry), known of a neighbour, or had an answer. Connections that no
  rule would translate any more. TCP entries without a packet for two minutes: leftovers that cost nothing. Tunnels of
  WireGuard (wg-conntrack-stale-snat).

References
  net/netfilter/nf_nat_masquerade.c masq_inet_event(); nf_nat_core.c; conntrack(8)
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.conntrack import IPS_CONFIRMED, IPS_SRC_NAT
from netdiag.model.finding import Draft, subject
from netdiag.model.neighbour import NTF_PROXY
from netdiag.model.nft import NftExpression
from netdiag.model.protocols import IPPROTO_UDP
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, nat, oifname, plain, rule, table
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.trackedflows import nobody_answers, stale_sources
from netdiag.rules.translations import READS

RULE = Rule(
    id="nf-masq-after-addr-change",
    title="connections keep a source address that the host has lost",
    severity="warning",
    confidence="likely",
    reads=(*READS, "conntrack", "conntrack_state"),
    consults=("wireguard",),
)


def check(view: HostView) -> Iterator[Draft]:
    tunnels: set[tuple[str | None, int | None]] = set()
    if view.read_whole("wireguard"):
        tunnels = {(peer.endpoint, peer.endpoint_port) for d in view.wireguard.devices for peer in d.peers}
    found: dict[str, list[tuple[int, str, tuple[str, int | None] | None]]] = {}
    for group in stale_sources(view):
        entry = group.entry
        if entry.proto != IPPROTO_UDP or (entry.orig_dst, entry.orig_dport) not in tunnels:
            text = f"{entry.orig_src} to {entry.orig_dst} port {entry.orig_dport}"
            found.setdefault(entry.reply_dst, []).append((group.count, text, nobody_answers(view, entry)))
    for address, rows in found.items():
        version, given = "-f ipv6 " if ":" in address else "", rows[0][2]
        yield RULE.found(
            subject=subject("conntrack", reply_dst=address),
            message=f"{sum(count for count, _, _ in rows)} connections in use ({rows[0][1]}) leave as {address}, which"
            " this host does not have any more: nothing comes back",
            evidence=[
                ("source that they were given", address, "CTA_TUPLE_REPLY CTA_IP_V4_DST"),
                ("connections", sum(count for count, _, _ in rows), "IPCTNL_MSG_CT_GET"),
                ("addresses of this host", "without it", "RTM_GETADDR"),
            ],
            confirm=[f"conntrack -L {version}--reply-dst {address}", "ip -br address show"],
            fix=f"ip address add {address}/{given[1]} dev {quoted(given[0])}  # or let the snat rule give another"
            if given
            else f"conntrack -D {version}--reply-dst {address}",
        )


def _host(translation: str = "masquerade", host: HostBuilder | None = None) -> HostBuilder:
    host = (host or HostBuilder()).link("eth0").address("eth0", "203.0.113.2/24")
    host.route("default", via="203.0.113.1", dev="eth0")
    given = plain("masq") if translation == "masquerade" else nat("snat", translation)
    one = rule(oifname("eth0"), given)
    host.link("br0", kind="bridge").address("br0", "10.0.0.1/24")
    return host.nft(table(chain("post", one, hook="postrouting", priority="srcnat", type="nat"), family="ip"))


def _flow(host: HostBuilder, source: str, *, proto: int = 17, **fields: object) -> HostBuilder:
    status = 0xE | IPS_SRC_NAT
    known: dict[str, object] = {"status": status, "timeout": 100}
    reply = f"198.51.100.7 53 {source} 4000"
    return host.conntrack(proto, "10.0.0.9 4000 198.51.100.7 53", reply, **(known | fields))


def examples() -> Iterator[Example]:
    def case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=fires)

    yield case("lost address", "the plain fault", _flow(_host(), "203.0.113.9"), 1)
    yield case("another snat now", "the rule was changed", _flow(_host("203.0.113.2"), "203.0.113.9"), 1)
    busy = _flow(_host(), "203.0.113.9", proto=6, tcp_state="established", timeout=431990)
    yield case("TCP in use", "it was refreshed just now", busy, 1)
    yield case("own address", "as it must be", _flow(_host(), "203.0.113.2"))
    yield case("address of a snat rule", "it need not be on an interface", _flow(_host("203.0.113.77"), "203.0.113.77"))
    yield from _given()
    idle = _flow(_host(), "203.0.113.9", proto=6, tcp_state="established", timeout=400000)
    yield case("idle TCP", "a leftover", idle)
    plain_ = HostBuilder().link("eth0").address("eth0", "203.0.113.2/24")
    yield case("no rule now", "nobody knows what is right", _flow(plain_, "203.0.113.9"))
    for name, left, most, fires in (
        ("refreshed two minutes ago", 431880, None, 1),
        ("refreshed longer ago", 431879, None, 0),
        ("a short timeout", 300, 400, 1),
        ("closing", 299, 400, 0),
    ):
        flow = _flow(_host(), "203.0.113.9", proto=6, tcp_state="established", timeout=left)
        flow.conntrack_state(settings={} if most is None else {"tcp_timeout_established": most})
        yield case(f"TCP, {name}", "five minutes are left to what is not acknowledged", flow, fires)
    untouched = _flow(_host(), "10.0.0.9")
    yield case("from before the rule", "it has its own source", untouched)
    for name, proto, fires in (("a tunnel's own flow", 17, 0), ("TCP to a tunnel's peer", 6, 1)):
        mesh = WireguardBuilder().wireguard("wg0").wg_peer("wg0", "a", endpoint="198.51.100.7")
        flow = _host(host=mesh).conntrack(
            proto,
            "10.0.0.9 4000 198.51.100.7 51820",
            "198.51.100.7 51820 203.0.113.9 4000",
            tcp_state="established" if proto == 6 else None,
            timeout=431990 if proto == 6 else 100,
        )
        yield case(name, "wg-conntrack-stale-snat tells of its UDP", flow, fires)


def _given() -> Iterator[Example]:
    """A rule goes on giving an address of eth0's network that this host does not have."""

    def case(name: str, why: str, host: HostBuilder, fires: int, **flow: object) -> Example:
        asked: dict[str, object] = {"status": IPS_CONFIRMED | IPS_SRC_NAT} | flow
        tables = _flow(host, "203.0.113.77", **asked).build()  # type: ignore[arg-type]
        says = ("ip address add 203.0.113.77/24 dev eth0",) if fires else ()
        return Example(name=name, why=why, tables=tables, fires=fires, says=says)

    def host(address: str = "203.0.113.77") -> HostBuilder:
        return _host(address)

    yield case("given still, no answer", "nobody has it", host(), 1)
    begun = {"proto": 6, "tcp_state": "syn_sent", "timeout": 100}
    yield case("given still, TCP begins", "the same", host(), 1, **begun)
    lasts = {"proto": 6, "tcp_state": "established", "timeout": 431990}
    yield case("given still, TCP that stands", "it was answered", host(), 0, **lasts)
    yield case("given still, answered", "somebody has it", host(), 0, status=0xE | IPS_SRC_NAT)
    for state, fires in (("reachable", 0), ("stale", 0), ("failed", 1)):
        known = host().neighbour("203.0.113.77", dev="eth0", state=state)
        yield case(f"given still, a neighbour that is {state}", "another host has it", known, fires)
    proxy = host().neighbour("203.0.113.77", dev="eth0", state="failed", flags=NTF_PROXY)
    yield case("given still, a proxy entry", "this host answers for it", proxy, 0)
    other = host().neighbour("203.0.113.78", dev="eth0")
    yield case("given still, another neighbour", "nobody has it", other, 1)
    answers = host().link("eth0", ifindex=2, inet_conf={"proxy_arp": 1})
    yield case("given still, proxy_arp", "this host answers for all", answers, 0)
    routed = host().route("203.0.113.77/32", dev="br0")
    yield case("given still, routed to a guest", "it is no link's", routed, 0)
    pool = host().route("203.0.113.64/28", type="blackhole")
    yield case("given still, a pool that is announced", "routed here", pool, 0)
    behind = host().route("203.0.113.64/28", via="203.0.113.9", dev="eth0")
    yield case("given still, behind a gateway", "it comes back some way", behind, 0)
    left = _flow(host(), "203.0.113.77", status=IPS_CONFIRMED | IPS_SRC_NAT).vanished("eth0").build()
    yield Example(name="given still, the link went", why="it was read meanwhile", tables=left)
    asked = HostBuilder().link("eth0").address("eth0", "2001:db8::2/64").route("default", via="2001:db8::1", dev="eth0")
    one = rule(oifname("eth0"), nat("snat", "2001:db8::77"))
    asked.nft(table(chain("post", one, hook="postrouting", priority="srcnat", type="nat"), family="ip6"))
    ends = "fd00::9 4000 2001:db8:f::7 53", "2001:db8:f::7 53 2001:db8::77 4000"
    asked.conntrack(17, *ends, status=IPS_CONFIRMED | IPS_SRC_NAT)
    yield Example(name="given still, in IPv6", why="nobody has it", tables=asked.build(), fires=1)
    asked.link("br0", kind="bridge").route("2001:db8::77/128", dev="br0")
    yield Example(name="given still, in IPv6, routed to a guest", why="it is no link's", tables=asked.build())
    some = (
        *(NftExpression(name="immediate", dreg=at, value=f"cb00710{at}") for at in (0, 4)),
        NftExpression(name="nat", key="snat", family="ip", sreg=0, sreg_max=4),
    )
    ranged = HostBuilder().link("eth0").address("eth0", "203.0.113.2/24")
    ranged.nft(table(chain("post", rule(some), hook="postrouting", priority="srcnat", type="nat"), family="ip"))
    yield Example(name="a pool is given", why="it may hold the address", tables=_flow(ranged, "203.0.113.9").build())
    old = _flow(host("203.0.113.78"), "203.0.113.77", status=IPS_CONFIRMED | IPS_SRC_NAT).build()
    says = ("conntrack -D --reply-dst 203.0.113.77",)
    yield Example(name="another is given", why="the entry is old", tables=old, fires=1, says=says)
