"""What it checks
  Two peers of one WireGuard interface have prefixes that lie in one another: what is in the longer one goes to its
  peer, also for whom the shorter one was meant. A warning only where the peer with the shorter prefix also has one
  inside the other's, so that the two are interleaved and both claim the middle; or where networks of one other peer
  fill the shorter prefix, so that nothing of it is left; or where the peer with the longer one was called and has never
  answered, while the other one has.

Why it matters
  There is no "more specific and up": the longest prefix decides, whether that peer lives or not. A network that was
  given to a new site inside the range of a hub silently leaves the hub.

Confirm
  wg show IFNAME allowed-ips

Fix
  Split the shorter prefix into those that are really meant, or write down that the inner one is an exception. wg set
  IFNAME peer KEY allowed-ips PREFIXES replaces the whole list of that peer at once.

Not flagged
  A default route with longer prefixes beside it, single addresses inside a hub's range: that is how meshes with a hub
  are made. Networks inside networks are told as info, once an interface.

References
  drivers/net/wireguard/allowedips.c find_node(); wg(8) "allowed-ips"
"""

from collections.abc import Iterator
from typing import NamedTuple

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.wireguardpeers import device_subject, source
from netdiag.rules.wireguardways import Network, alive, device_objects, network

RULE = Rule(
    id="wg-allowedips-overlap-shadow",
    title="a WireGuard peer's prefix lies inside another peer's",
    severity="warning",
    confidence="likely",
    reads=("links", "wireguard"),
)


CALLED = 2 * 148
"""Bytes of two handshake initiations."""


class Overlap(NamedTuple):
    """Two peers that claim the same addresses."""

    outer: WireguardPeer
    wide: Network
    inner: WireguardPeer
    narrow: Network
    innermost: Network | None
    """A prefix of the outer peer inside the inner one's."""
    filled: bool = False
    """Nothing of the outer prefix is left: all of it goes to the inner peer."""

    @property
    def lost(self) -> bool:
        """Whether the inner peer has never answered, and the outer one has."""
        silent = self.inner.latest_handshake is None and not self.inner.rx_bytes
        return silent and self.inner.tx_bytes >= CALLED and self.outer.latest_handshake is not None


def overlaps(device: WireguardDevice) -> Iterator[Overlap]:
    """The nearest prefix around each, where it is another peer's and no default."""
    owner = {network(text): peer for peer in device.peers for text in peer.allowed_ips}
    by_number = {(one.version, one.prefixlen, int(one.network_address)): one for one in owner}
    sizes = {
        version: sorted({one.prefixlen for one in owner if one.version == version}, reverse=True) for version in (4, 6)
    }
    around: dict[Network, Network] = {}
    for one in owner:
        bits, start = one.max_prefixlen, int(one.network_address)
        for size in sizes[one.version]:
            wider = by_number.get((one.version, size, start >> (bits - size) << (bits - size)))
            if 1 < size < one.prefixlen and wider is not None:
                around[one] = wider
                break
    for narrow, wide in around.items():
        if owner[narrow] is owner[wide]:
            continue
        inner = [one for one, over in around.items() if over == wide and owner[one] is owner[narrow]]
        inside = next((one for one, over in around.items() if over == narrow and owner[one] is owner[wide]), None)
        if narrow.prefixlen < narrow.max_prefixlen:
            yield Overlap(owner[wide], wide, owner[narrow], narrow, inside, _fills(inner, wide))


def _fills(inner: list[Network], wide: Network) -> bool:
    """Whether these prefixes, none of which holds another, are all of a network."""
    return sum(one.num_addresses for one in inner) == wide.num_addresses


def _grave(one: Overlap) -> bool:
    """Whether nobody can have meant it."""
    return one.innermost is not None or one.filled or one.lost


def check(view: HostView) -> Iterator[Draft]:
    for device, _ in alive(view):
        found = sorted(overlaps(device), key=lambda one: (not _grave(one), str(one.narrow)))
        if not found:
            continue
        one, name = found[0], device.ifname
        many = f" and {len(found) - 1} more" if len(found) > 1 else ""
        again = f", inside which it has {one.innermost} again" if one.innermost else ""
        again = again or (", of which nothing is left" if one.filled else "")
        answer = ", which has never answered" if one.lost else ""
        yield RULE.found(
            subject=device_subject(device),
            message=f"{name}: {one.narrow} of peer {one.inner.public_key}{many} lies inside {one.wide} of peer "
            f"{one.outer.public_key}{again}: it goes to the former{answer}",
            evidence=[
                ("allowed ips", f"{one.wide} around {one.narrow}", source(device, "WGPEER_A_ALLOWEDIPS", "allowed_ip")),
                *(
                    [("bytes sent to the former, none received", one.inner.tx_bytes, "WGPEER_A_TX_BYTES")]
                    if answer
                    else []
                ),
                ("claimed again inside", one.innermost or "no", source(device, "WGPEER_A_ALLOWEDIPS", "allowed_ip")),
            ],
            confirm=[f"wg show {quoted(name)} allowed-ips"],
            fix=f"wg set {quoted(name)} peer {quoted(one.outer.public_key)} allowed-ips PREFIXES  # all, split",
            confidence="likely" if _grave(one) else "possible",
            touches=device_objects(device),
        )


def _host(a: tuple[str, ...], b: tuple[str, ...]) -> WireguardBuilder:
    host = WireguardBuilder().wireguard("wg0")
    return host.wg_peer("wg0", "a", allowed_ips=a).wg_peer("wg0", "b", allowed_ips=b)


def examples() -> Iterator[Example]:
    about = subject("wireguard-interface", ifname="wg0")
    for a, b in ((("10.0.0.0/8", "10.1.2.0/24"), ("10.1.0.0/16",)), (("fd00::/16", "fd00:1:2::/48"), ("fd00:1::/32",))):
        yield Example(
            name=f"interleaved, {b[0]}",
            why="both claim the middle",
            tables=_host(a, b).build(),
            fires=1,
            subject=about,
            severity="warning",
            confidence="likely",
            says=(f"inside which it has {a[1]} again",),
        )
    for parts, loud in ((("10.0.2.0/25", "10.0.2.128/25"), True), (("10.0.2.0/25", "10.0.2.128/26"), False)):
        yield Example(
            name=f"{parts[1]} in the other's network",
            why="all of it is taken" if loud else "some of it is left",
            tables=_host(("10.0.2.0/24", "10.64.0.2/32"), ("10.0.1.0/24", *parts)).build(),
            fires=1,
            severity="warning" if loud else "info",
            says=("of which nothing is left",) if loud else (),
        )
    apart = _host(("10.0.2.0/24", "10.5.0.0/16"), ("10.0.2.0/25", "10.5.0.0/25")).build()
    yield Example(name="half, and as much elsewhere", why="half is left", tables=apart, fires=1, severity="info")
    three = _host(("10.0.2.0/24",), ("10.0.2.0/25",)).wg_peer("wg0", "c", allowed_ips=("10.0.2.128/25",))
    yield Example(name="two sites fill a hub's network", why="a hub for what is not up", tables=three.build(), fires=1,
                  severity="info")  # fmt: skip
    yield Example(
        name="a network inside a hub's",
        why="an exception, or a mistake",
        tables=_host(("10.0.0.0/8",), ("10.1.0.0/24",)).build(),
        fires=1,
        severity="info",
    )
    for name, age, tx, rx, hub, severity in (
        ("was called and never answered", None, 296, 0, 30.0, "warning"),
        ("was hardly called", None, 295, 0, 30.0, "info"),
        ("sent something", None, 296, 92, 30.0, "info"),
        ("answered once", 9999.0, 296, 0, 30.0, "info"),
        ("did not answer, nor did the hub", None, 296, 0, None, "info"),
    ):
        mesh = WireguardBuilder().wireguard("wg0").wg_peer("wg0", "a", allowed_ips=("10.0.0.0/8",), age=hub)
        mesh.wg_peer("wg0", "b", allowed_ips=("10.1.0.0/24",), age=age, tx_bytes=tx, rx_bytes=rx)
        why = "the hub would have taken it"
        yield Example(name=f"the inner one {name}", why=why, tables=mesh.build(), fires=1, severity=severity)  # type: ignore[arg-type]
    yield Example(name="a default", why="a hub", tables=_host(("0.0.0.0/0", "::/0"), ("10.1.0.0/24",)).build())
    yield Example(name="single addresses", why="a mesh", tables=_host(("10.0.0.0/8",), ("10.1.0.7/32",)).build())
    yield Example(name="own", why="one peer has both", tables=_host(("10.0.0.0/8", "10.1.0.0/24"), ()).build())
    yield Example(name="side by side", why="no overlap", tables=_host(("10.0.0.0/24",), ("10.0.1.0/24",)).build())
    both = _host(("10.0.0.0/8", "10.1.2.0/24", "fd00::/16"), ("10.1.0.0/16", "fd00:1::/40"))
    yield Example(name="both families", why="each by itself", tables=both.build(), fires=1, severity="warning")
    told: tuple[tuple[str, str, tuple[str, ...], str, str], ...] = (
        ("its own inside its own", "that is elsewhere", ("10.0.0.0/8", "10.2.3.0/24"), "10.1.0.0/16", "10.9.0.0/32"),
        ("of three peers", "the innermost is another one's", ("10.0.0.0/8",), "10.1.0.0/16", "10.1.2.0/24"),
        ("a quarter of everything", "a half is a default, this is none", ("0.0.0.0/2",), "10.1.0.0/24", "10.9.0.0/32"),
    )
    for name, why, outer, inner, third in told:
        host = _host(outer, (inner,)).wg_peer("wg0", "c", allowed_ips=(third,)).build()
        yield Example(name=name, why=why, tables=host, fires=1, severity="info")
    halves = _host(("0.0.0.0/1", "128.0.0.0/1"), ("10.1.0.0/24",))
    yield Example(name="halves of a default", why="a hub", tables=halves.build())
    away = _host(("10.0.0.0/16",), ("192.168.0.0/24",))
    yield Example(name="networks apart", why="there is a wider one, around something else", tables=away.build())
