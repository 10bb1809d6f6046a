"""What it checks
  The encrypted packets of a WireGuard tunnel are tracked, and their source is rewritten to an address that this host
  does not have any more: the rules give another one now, or there is none left and the peer has not answered for more
  than three minutes. Or to an address of another interface than the one by which the packets leave now, although the
  rules give another one there, and the peer does not answer: for three minutes, or between the two looks.

Why it matters
  Keepalives refresh the entry for ever, so the translation that was chosen months ago outlives the address: packets
  leave with the old source, the peer answers to it, and "this one endpoint cannot be reached from this one host" until
  somebody deletes the entry. After a failover they leave by the new uplink with the old one's source, which its
  provider drops. Restarting WireGuard on the same port does not help.

Confirm
  conntrack -L -p udp --orig-dst ENDPOINT
  wg show IFNAME endpoints

Fix
  conntrack -D -p udp --orig-dst ENDPOINT: the next packet gets the right source. So that it does not come back, keep
  the tunnel's packets out of tracking (udp dport PORT notrack in a raw chain, both ways) or out of the snat rule.

Not flagged
  Entries that are rewritten to an address of this host, or to one that a snat rule gives now: an address on loopback,
  or one of another uplink while the peer answers. Without a rule, those to peers that answer: the address is routed
  here. Other UDP flows (nf-masq-after-addr-change), and those from a port that
  the tunnel listened on before: nothing follows them any more.

References
  net/netfilter/nf_nat_core.c; net/netfilter/nf_conntrack_proto_udp.c (a stream's timeout is renewed by every packet)
"""

from collections.abc import Iterator
from dataclasses import replace

from netdiag.index.packet import Query
from netdiag.index.view import HostView
from netdiag.model.conntrack import IPS_SRC_NAT, ConntrackEntry
from netdiag.model.distinct import among
from netdiag.model.finding import Draft, subject
from netdiag.model.protocols import IPPROTO_UDP
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.rules.build_nft import chain, nat, oifname, plain, rule, table
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.trackedflows import groups, stale_sources
from netdiag.rules.translations import READS, new_packet
from netdiag.rules.wireguardpeers import REJECT_AFTER_TIME, device_subject, peer_subject

RULE = Rule(
    id="wg-conntrack-stale-snat",
    title="a WireGuard tunnel leaves with a source address that the host has lost",
    severity="critical",
    confidence="likely",
    reads=(*READS, "conntrack", "conntrack_state", "wireguard"),
    explains=(
        "wg-handshake-stale",
        "wg-never-handshaked",
        "bgp-not-established",
        "bgp-hold-timer-expired",
        "bgp-bfd-down",
    ),
)


ENDS = ("family", "orig_src", "orig_sport", "orig_dst", "orig_dport", "reply_dst")
DATA = 96
"""Bytes to a peer between the looks that are more than a keepalive: somebody waits for an answer."""


def check(view: HostView) -> Iterator[Draft]:
    owners = {(peer.endpoint, peer.endpoint_port): (d, peer) for d in view.wireguard.devices for peer in d.peers}
    found: dict[tuple[str, str], list[tuple[WireguardDevice, WireguardPeer, ConntrackEntry]]] = {}
    plain_ = {(group.entry.orig_dst, group.entry.orig_dport) for group in stale_sources(view)}
    for group in stale_sources(view, ruleless=True):
        entry = group.entry
        owner = owners.get((entry.orig_dst, entry.orig_dport)) if entry.proto == IPPROTO_UDP else None
        if owner is None or entry.orig_sport != owner[0].listen_port:
            continue
        if (entry.orig_dst, entry.orig_dport) in plain_ or _dead(view, owner[1]):
            found.setdefault((owner[0].ifname, entry.reply_dst), []).append((*owner, entry))
    for rows in found.values():
        yield _draft(rows)
    yield from _failed_over(view, owners)


def _failed_over(
    view: HostView, owners: dict[tuple[str | None, int | None], tuple[WireguardDevice, WireguardPeer]]
) -> Iterator[Draft]:
    """Entries that kept the source of the uplink before."""
    table, ports = view.conntrack, [device.listen_port for device, _ in owners.values() if device.listen_port]
    keep = (table.reply_dst != table.orig_src).any(axis=1) & (table.proto == IPPROTO_UDP)
    for group in groups(view, keep & among(table.orig_sport, ports), ENDS):
        entry = group.entry
        device, peer = owners.get((entry.orig_dst, entry.orig_dport), (None, None))
        if device is None or peer is None or entry.orig_sport != device.listen_port:
            continue
        way = _astray(view, device, entry) if _dead(view, peer) or _unheard(view, device, peer) else None
        if way is not None:
            yield _draft([(device, peer, entry)], way)


def _astray(view: HostView, device: WireguardDevice, entry: ConntrackEntry) -> tuple[str, str] | None:
    """The interface by which the packets leave, and the one whose address they are given, where the rules would give
    another one now; None: it is the right one, or may be."""
    family, source = entry.family, entry.reply_dst
    query = Query(family=family, dst=entry.orig_dst, src=entry.orig_src, mark=device.fwmark)
    answer = view.lookup(query)
    homes = [link for row in view.addresses if row.local == source and (link := view.link(row.ifindex)) is not None]
    out = view.link(answer.hops[0].oif) if len(answer.hops) == 1 and not answer.alternatives else None
    if out is None or not homes or any(link.loopback or link.ifindex == out.ifindex for link in homes):
        return None
    ends = (entry.orig_src, entry.orig_sport, entry.orig_dst, entry.orig_dport)
    packet = replace(new_packet(view, entry.proto, ends), oif=out.ifname, mark=device.fwmark)
    given = view.netfilter.hook("postrouting", packet).translations
    sure = given and all(one.addr not in (None, source) or one.kind == "masquerade" for one in given)
    return (out.ifname, homes[0].ifname) if sure else None


def _unheard(view: HostView, device: WireguardDevice, peer: WireguardPeer) -> bool:
    """Whether data went to the peer between the looks, and nothing came back."""
    for row in view.wireguard.second:
        if (row.ifname, row.public_key) == (device.ifname, peer.public_key):
            return row.tx_bytes - peer.tx_bytes >= DATA and row.rx_bytes == peer.rx_bytes
    return False


def _dead(view: HostView, peer: WireguardPeer) -> bool:
    """Whether a peer's keys are dead, or there never were any."""
    return peer.latest_handshake is None or view.wireguard.at - peer.latest_handshake > REJECT_AFTER_TIME


def _draft(
    rows: list[tuple[WireguardDevice, WireguardPeer, ConntrackEntry]], way: tuple[str, str] | None = None
) -> Draft:
    """One old source of one device, whichever peers it hits; ``way``: of an entry that is astray."""
    device, peer, entry = rows[0]
    many = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    version = "-f ipv6 " if entry.family == "inet6" else ""
    which = f"--orig-dst {entry.orig_dst} --orig-port-dst {entry.orig_dport}"
    return RULE.found(
        subject=device_subject(device) if many else peer_subject(device, peer),
        message=f"packets of {device.ifname} to {entry.orig_dst} port {entry.orig_dport}{many} leave as"
        f" {entry.reply_dst}"
        + (
            f" by {way[0]}, though that is an address of {way[1]} and the rules give another there: nothing comes back"
            if way
            else ", which this host does not have any more: the answers go there"
        ),
        severity="warning" if way else None,
        evidence=[
            ("source given by tracking", entry.reply_dst, "IPCTNL_MSG_CT_GET CTA_TUPLE_REPLY"),
            ("source of the packets", entry.orig_src, "IPCTNL_MSG_CT_GET CTA_TUPLE_ORIG"),
            ("seconds left", entry.timeout, "CTA_TIMEOUT"),
        ],
        confirm=[
            f"conntrack -L {version}-p udp --orig-dst {entry.orig_dst}",
            f"wg show {quoted(device.ifname)} endpoints",
        ],
        fix=f"conntrack -D {version}-p udp " + (f"--reply-dst {entry.reply_dst}" if many else which),
        touches=[device_subject(device), subject("link", ifname=device.ifname)],
        breaks=[peer_subject(device, one) for _, one, _ in rows],
    )


def _host(
    source: str,
    *,
    translation: str | None = "masquerade",
    port: int = 51820,
    sport: int = 51820,
    age: float | None = None,
) -> WireguardBuilder:
    host = WireguardBuilder()
    host.link("eth0").address("eth0", "203.0.113.2/24").route("default", via="203.0.113.1", dev="eth0")
    host.wireguard("wg0").wg_peer("wg0", "a", endpoint="198.51.100.7", age=age)
    given = plain("masq") if translation in ("masquerade", None) else nat("snat", translation or "")
    post = chain("post", rule(oifname("eth0"), given), hook="postrouting", priority="srcnat", type="nat")
    if translation is not None:
        host.nft(table(post, family="ip"))
    reply = f"198.51.100.7 {port} {source} {sport}"
    host.conntrack(17, f"203.0.113.2 {sport} 198.51.100.7 {port}", reply, status=0xE | IPS_SRC_NAT)
    return host


def examples() -> Iterator[Example]:
    yield Example(
        name="old uplink",
        why="keepalives keep the entry alive",
        tables=_host("203.0.113.9").build(),
        fires=1,
        severity="critical",
    )
    yield Example(
        name="other snat now",
        why="the rule was changed, the entry was not",
        tables=_host("203.0.113.9", translation="203.0.113.2").build(),
        fires=1,
    )
    fresh = _host("203.0.113.9", age=20).build()
    yield Example(name="a moment ago", why="the rule is there, and the handshake of before", tables=fresh, fires=1)
    two = _host("203.0.113.9").wg_peer("wg0", "b", endpoint="198.51.100.8")
    reply = "198.51.100.8 51820 203.0.113.9 51820"
    two.conntrack(17, "203.0.113.2 51820 198.51.100.8 51820", reply, status=0xE | IPS_SRC_NAT)
    yield Example(
        name="two peers",
        why="one address was lost",
        tables=two.build(),
        fires=1,
        subject=subject("wireguard-interface", ifname="wg0"),
        says=(" and 1 more leave as 203.0.113.9", "conntrack -D -p udp --reply-dst 203.0.113.9"),
    )
    mine = _host("203.0.113.3")
    mine.address("eth0", "203.0.113.3/24")
    yield Example(name="own address", why="a second address of this host", tables=mine.build())
    yield Example(
        name="snat rule gives it",
        why="an address of a pool need not be on an interface",
        tables=_host("203.0.113.9", translation="203.0.113.9").build(),
    )
    yield Example(name="not the tunnel", why="another port", tables=_host("203.0.113.9", port=4500).build())
    yield Example(
        name="started anew on another port",
        why="the entry is of the port before, and goes two minutes after its last packet",
        tables=_host("203.0.113.9", sport=51821).build(),
    )
    for age, fires in ((None, 1), (900, 1), (181, 1), (180, 0)):
        gone = _host("203.0.113.9", translation=None, age=age)
        why = "the rule went with the address" if fires else "the address is routed here"
        yield Example(name=f"no rule any more, a handshake {age} s ago", why=why, tables=gone.build(), fires=fires)
    yield from _failovers()


def _failovers() -> Iterator[Example]:
    def moved(
        source: str = "192.0.2.2", *, given: str = "203.0.113.2", age: float = 20.0, tx: int = 500, rx: int = 0
    ) -> WireguardBuilder:
        """The default route has gone over from eth1 to eth0."""
        host = _host(source, translation=given, age=age)
        host.link("eth1").address("eth1", "192.0.2.2/24").address("lo", "192.0.2.7/32").address(
            "eth0", "203.0.113.3/24"
        )
        return host.second_look("wg0", "a", tx=tx, rx=rx, seconds=3)

    says = ("leave as 192.0.2.2 by eth0, though that is an address of eth1",)

    def case(name: str, why: str, host: WireguardBuilder, fires: int = 0) -> Example:
        told = {"severity": "warning", "says": says} if fires else {}
        return Example(name=f"after a failover, {name}", why=why, tables=host.build(), fires=fires, **told)  # type: ignore[arg-type]

    yield case("nothing comes back", "the entry is of the other uplink", moved(), 1)
    yield case("by masquerade, nothing comes back", "the rule asks the interface", moved(given="masquerade"), 1)
    yield case("no handshake for long", "nobody sends data just now", moved(age=900.0, tx=0), 1)
    yield case("the peer answers", "the providers let it pass", moved(rx=1))
    yield case("keepalives alone", "nobody answers those", moved(tx=95))
    yield case("an address of loopback", "it is routed to this host by both", moved("192.0.2.7"))
    yield case("a second address there", "it is that uplink's own", moved("203.0.113.3"))
    yield case("the rule gives it there", "it is meant", moved(given="192.0.2.2"))
