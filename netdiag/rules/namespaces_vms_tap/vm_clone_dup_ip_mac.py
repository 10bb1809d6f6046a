"""What it checks
  Two taps of one namespace have a guest with the same address: a neighbour with a hardware address on both. Machines
  that were restored from one snapshot keep its address and its hardware address. Or, on a bridge, a hardware address
  goes to and fro between the ports of two guests while it is looked at. One that sends while the bridge knows nobody
  behind its port is a possibility.

Why it matters
  The host has one route to an address: one of the two guests gets everything, the other nothing, and connections of
  the one are answered by the other with resets. On a bridge the equal hardware addresses take each other's frames.

Confirm
  ip neigh show to ADDRESS                     (it stands on two taps)
  ip route get ADDRESS

Fix
  Put each clone into a network namespace of its own and translate its address there (the design of Firecracker's
  document on clones), or give the clone another address: the change is made in the guest or in what starts it. To keep
  one guest alive at once: ip link set dev TAP down on the other one's tap, which cuts that machine off.

Not flagged
  The same address on taps of separate namespaces: that is the recommended design, and each namespace is judged on its
  own. Link-local addresses, which belong to one link. A neighbour that failed or was never resolved on one of the taps,
  or that was written down there though another machine is behind that tap (tap-route-to-wrong-tap).
  Equal hardware addresses alone, on taps that are routed: each tap is a link of its own. In a bridge, guests where a
  filter (nftables of bridges, tc, XDP) or VLANs may have kept frames from it, and those that are silent. A hardware
  address that moves once, or between ports of one machine (its bond), or between a guest and the network as well (a
  loop). Two guests of a bridge with different addresses: mac-duplicate-on-segment.

References
  https://github.com/firecracker-microvm/firecracker/blob/main/docs/snapshotting/network-for-clones.md;
  net/core/neighbour.c; https://github.com/vhive-serverless/vHive/issues/797
"""

from collections.abc import Iterator

from netdiag.index.guests import faces_guest
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.model.neighbour import Neighbour
from netdiag.rules.bridgeclones import twin_examples, twins
from netdiag.rules.bridgeflaps import Flap, flap_examples, flapping
from netdiag.rules.build import HostBuilder
from netdiag.rules.guesttaps import READS, GuestTap, guest_taps, link_local
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="vm-clone-dup-ip-mac",
    title="two guests of one namespace have the same address",
    severity="critical",
    reads=READS,
    consults=("fdb", "bridging", "counters", "nft", "bpf", "qdiscs", "peer_links"),
    explains=("tap-route-missing", "tap-route-to-wrong-tap", "neigh-*", "mac-duplicate-on-segment", "vm-*"),
)


def check(view: HostView) -> Iterator[Draft]:
    yield from _routed(view)
    lodged = sum(link.master is not None and faces_guest(link) for link in view.links)
    said = set[int]()
    if lodged > 1 and all(view.read_whole(table) for table in ("bridging", "fdb", "counters")):
        for flap in flapping(view):
            said.add(flap.bridge.ifindex)
            yield _flapping(flap)
    if lodged > 1 and all(view.read_whole(table) for table in ("fdb", "counters", "nft", "bpf", "qdiscs")):
        for bridge, port, others in twins(view):
            if bridge.ifindex not in said:
                yield _bridged(bridge, port, others)


def _routed(view: HostView) -> Iterator[Draft]:
    """An address that was heard on two taps."""
    homes: dict[str, list[tuple[GuestTap, Neighbour]]] = {}
    for tap in guest_taps(view):
        for row in tap.neighbours:
            if tap.link.up and not link_local(row.dst) and tap.lives(row):
                homes.setdefault(row.dst, []).append((tap, row))
    for address, found in homes.items():
        if len(found) < 2:
            continue
        (first, row), (second, other) = found[0], found[1]
        names = first.link.ifname, second.link.ifname
        same = row.lladdr == other.lladdr
        sure = same or all(each.state in ("reachable", "permanent", "delay") for _, each in found[:2])
        clone = f" with the same hardware address {row.lladdr}: clones of one machine" if same else ""
        more = f" (and on {len(found) - 2} more)" if len(found) > 2 else ""
        six = "-6 " if row.family == "inet6" else ""
        yield RULE.found(
            subject=subject("neighbour", dst=address),
            severity="critical" if sure else "warning",
            confidence="certain" if sure else "likely",
            message=f"{address} is a guest's on {names[0]} and on {names[1]}{more}{clone}: only one of them is reached",
            evidence=tuple(
                (f"neighbour {address} on {tap.link.ifname}", f"{each.lladdr} {each.state}", "RTM_GETNEIGH")
                for tap, each in found[:3]
            ),
            confirm=(f"ip {six}neigh show to {address}", f"ip {six}route get {address}"),
            fix=f"ip link set dev {quoted(names[1])} down  # keeps one guest reachable; then give the clone an address "
            "or a namespace of its own",
            touches=tuple(thing for tap, _ in found for thing in tap.objects),
            breaks=(
                *(thing for tap, _ in found for thing in tap.objects),
                *(subject("neighbour", dst=address, ifname=tap.link.ifname) for tap, _ in found),
            ),
        )


def _flapping(flap: Flap) -> Draft:
    """One hardware address that two guests have."""
    name, mac, (first, second) = flap.bridge.ifname, flap.move.lladdr, (port.ifname for port in flap.ports[:2])
    return RULE.found(
        subject=subject("link", ifname=first),
        confidence="likely",
        message=f"{name} finds {mac} by turns behind {first} and {second}: two guests have that hardware address "
        "(clones of one machine), and frames for both go to whichever spoke last",
        evidence=(
            (
                f"looks at {mac} in {name}",
                len(flap.move.ports),
                "RTM_GETNEIGH AF_BRIDGE NDA_LLADDR",
            ),
            ("of these behind another port than before", flap.move.moves, "RTM_GETNEIGH AF_BRIDGE ndm_ifindex"),
        ),
        confirm=(f"bridge fdb show br {quoted(name)}  # several times, or while they send: bridge monitor fdb",),
        fix=f"ip link set dev {quoted(second)} down  # cuts that guest off, and the other one is reached; then give "
        "one another hardware address and address, where it is made",
        touches=tuple(subject("link", ifname=port.ifname) for port in flap.ports),
        breaks=tuple(subject("link", ifname=port.ifname) for port in flap.ports),
    )


def _bridged(bridge: Link, port: Link, others: dict[str, Link]) -> Draft:
    """A guest that sends, while its bridge knows nobody behind its port."""
    name, dev = bridge.ifname, port.ifname
    mac, home = min(others.items(), key=lambda one: (one[1].kind != port.kind, one[1].ifname))
    more = f", or of {len(others) - 1} more" if len(others) > 1 else ""
    return RULE.found(
        subject=subject("link", ifname=dev),
        confidence="possible",
        message=f"the guest behind {dev} sends, and {name} knows nobody there: it may have the hardware address of the "
        f"guest behind {home.ifname} ({mac}){more}; frames for both go to whichever spoke last",
        evidence=(
            (f"entries of {name} behind {dev}", 0, "RTM_GETNEIGH AF_BRIDGE NDA_LLADDR"),
            (f"entry {mac}", f"dev {home.ifname}", "RTM_GETNEIGH AF_BRIDGE NDA_LLADDR"),
        ),
        confirm=(f"bridge fdb show br {quoted(name)}  # and, while they send: bridge monitor fdb",),
        fix=f"# if the entry moves between {home.ifname} and {dev}: give one guest another hardware address "
        "and address, where it is made",
        touches=(subject("link", ifname=home.ifname),),
    )


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def _taps() -> HostBuilder:
    return HostBuilder().link("eth0").tap("tap0").tap("tap1").route("10.1.0.5/32", dev="tap0")


def examples() -> Iterator[Example]:
    about = subject("neighbour", dst="10.1.0.5")
    clones = _taps().neighbour("10.1.0.5", dev="tap0").neighbour("10.1.0.5", dev="tap1", state="stale")
    yield _case("clones", "same address, same hardware address", clones, 1, subject=about, severity="critical",
                confidence="certain")  # fmt: skip
    apart = _taps().neighbour("10.1.0.5", dev="tap0")
    apart.neighbour("10.1.0.5", dev="tap1", lladdr="02:00:00:00:00:02")
    yield _case("another hardware address", "two machines were given one address", apart, 1, severity="critical")
    stale = _taps().neighbour("10.1.0.5", dev="tap0")
    stale.neighbour("10.1.0.5", dev="tap1", lladdr="02:00:00:00:00:02", state="stale")
    yield _case("one of them long silent", "the other may have taken over", stale, 1, severity="warning",
                confidence="likely")  # fmt: skip
    six = _taps().neighbour("2001:db8::5", dev="tap0").neighbour("2001:db8::5", dev="tap1")
    yield _case("IPv6", "the same", six, 1)
    three = clones.tap("tap2").neighbour("10.1.0.5", dev="tap2")
    yield _case("three clones", "one finding", three, 1, says=("1 more",))
    yield _case("one guest", "the healthy worker", _taps().neighbour("10.1.0.5", dev="tap0"))
    failed = _taps().neighbour("10.1.0.5", dev="tap0").neighbour("10.1.0.5", dev="tap1", state="failed")
    yield _case("failed on the other", "nobody answers there", failed)
    local = _taps().neighbour("fe80::5", dev="tap0").neighbour("fe80::5", dev="tap1")
    yield _case("link-local", "it belongs to one link", local)
    meta = _taps().neighbour("169.254.0.2", dev="tap0").neighbour("169.254.0.2", dev="tap1")
    yield _case("169.254", "every guest may have the same one", meta)
    macs = _taps().neighbour("10.1.0.5", dev="tap0").neighbour("10.1.0.6", dev="tap1")
    yield _case("equal hardware addresses alone", "each tap is a link of its own", macs)
    down = _taps().tap("tap1", up=False)
    down.neighbour("10.1.0.5", dev="tap0").neighbour("10.1.0.5", dev="tap1", state="permanent")
    yield _case("the other tap is down", "nobody reaches that guest, and none is confused", down)
    for name, state, other, fires in (
        ("another machine was heard", "reachable", "02:00:00:00:00:09", 0),
        ("another machine was written down as well", "permanent", "02:00:00:00:00:09", 0),
        ("the same machine was heard", "reachable", "02:00:00:00:00:01", 1),
    ):
        written = _taps().neighbour("10.1.0.5", dev="tap0").neighbour("10.1.0.6", dev="tap1", state=state, lladdr=other)
        written.neighbour("10.1.0.5", dev="tap1", state="permanent")
        yield _case(f"written down where {name}", "who lives there decides", written, fires)
    groups = _taps()
    for tap in ("tap0", "tap1"):
        groups.neighbour("ff02::16", dev=tap, state="noarp", lladdr="33:33:00:00:00:16")
    yield _case("a multicast group", "the kernel notes it on every interface", groups)
    yield from twin_examples()
    yield from flap_examples()
