"""What it checks
  A port of a bridge has a carrier but does not forward. With the spanning tree protocol: a guest's or container's port
  that blocks or still listens and learns, and any port that blocks. Without it: any port that is disabled or blocks,
  for then only a person or a program has set it so, and nothing sets it back. And: a bridge with an address is down,
  while guests' ports of it are up.

Why it matters
  The interface is up, and nothing passes. After every start a port waits twice the forward delay (30 seconds), in which
  DHCP of a machine gives up; a port that blocks for good closes a loop, and behind a guest that is a mistake of
  cabling.

Confirm
  bridge link show                             (state blocking, listening, learning)
  ip -details link show dev BRIDGE             (stp_state, forward_delay)

Fix
  ip link set dev BRIDGE type bridge stp_state 0, where there is no loop and no other bridge to agree with; a port that
  waits forwards when its delay is over, one that starts later at once. It opens any loop that the protocol closed: look
  at bridge link first. Or forward_delay 200 (two seconds). Set by hand: bridge link set dev IFNAME state 3. A bridge
  that is down: ip link set dev BRIDGE up; its IPv6 addresses have to be added again.

Not flagged
  Ports towards other switches that block: an info, for a redundant topology is meant so; a cable to another namespace
  whose far end is a port of a bridge there is one. Ports without a carrier or down, and a bridge that is down without
  guests or without an address. Ports that wait while the protocol is being switched off, or for the shortest delay that
  the kernel allows with the protocol (two seconds, as libvirt has it): four seconds after its start a guest's port
  forwards.

References
  net/bridge/br_stp.c, IFLA_BRPORT_STATE; IEEE 802.1D section 8.4
"""

from collections.abc import Iterator

from netdiag.index.guests import faces_guest
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bridge-stp-blocking",
    title="a bridge port is up but does not forward",
    severity="warning",
    reads=("links", "addresses"),
    consults=("peer_links",),
    explains=("neigh-*", "vm-*", "nf-orphan-dnat-to-dead", "cni-portmap-stale"),
)
WAITING = ("listening", "learning")
STILL = ("disabled", "blocking")
"""States that no timer ends."""
SHORTEST_DELAY = 200
"""Least forward delay with the protocol, in hundredths of a second (net/bridge/br_private_stp.h)."""


def check(view: HostView) -> Iterator[Draft]:
    yield from _down(view)
    for port in view.links:
        state = str(port.slave_info.get("state", "")).lower()
        bridge = view.stack.master(port.ifindex)
        if bridge is None:  # other kinds of masters have no port states of these names
            continue
        by_hand = not bridge.info.get("stp_state")
        still = STILL if by_hand else (*WAITING, "blocking")
        if state not in still or not (port.lower_up and bridge.up):
            continue
        if by_hand and port.operstate not in ("up", "unknown"):
            continue  # the bridge hears of a carrier up to a second late (net/core/link_watch.c)
        guest = faces_guest(port) and not _switch(view, port)
        delay = bridge.info.get("forward_delay")
        if state in WAITING and (not guest or (isinstance(delay, int) and delay <= SHORTEST_DELAY)):
            continue
        name = port.ifname
        yield RULE.found(
            subject=subject("link", ifname=name),
            severity="warning" if guest or by_hand else "info",
            confidence="likely" if by_hand else None,  # a ring protocol (MRP) may have, which cannot be seen
            message=f"{name} of {bridge.ifname} is up but {state}: nothing passes, " + _until(state, by_hand=by_hand),
            evidence=(
                (f"{name} port state", state, f"RTM_GETLINK {name} IFLA_BRPORT_STATE"),
                (
                    f"{bridge.ifname} stp_state",
                    bridge.info.get("stp_state"),
                    f"RTM_GETLINK {bridge.ifname} IFLA_BR_STP_STATE",
                ),
            ),
            confirm=("bridge link show", f"ip -details link show dev {quoted(bridge.ifname)}"),
            fix=f"bridge link set dev {quoted(name)} state 3"
            if by_hand
            else f"ip link set dev {quoted(bridge.ifname)} type bridge stp_state 0  # only where there is no loop",
            touches=(subject("link", ifname=bridge.ifname),),
            breaks=(subject("link", ifname=name), subject("tap", ifname=name)),
        )


def _switch(view: HostView, port: Link) -> bool:
    """Whether the far end of a cable is a port of a bridge as well: it speaks the protocol, or floods what it hears."""
    far = view.stack.veth_peer(port.ifindex) if view.read_whole("peer_links") else None
    return far is not None and far.master is not None


def _down(view: HostView) -> Iterator[Draft]:
    """Bridges that were switched off under their guests."""
    for bridge in view.links:
        own = [row for row in view.addresses if row.ifindex == bridge.ifindex and row.scope == 0]
        if bridge.kind != "bridge" or bridge.up or not own:
            continue
        ports = [port for port in view.stack.ports(bridge.ifindex) if port.lower_up and faces_guest(port)]
        if not ports:
            continue
        name, named = bridge.ifname, ", ".join(port.ifname for port in ports[:4])
        yield RULE.found(
            subject=subject("link", ifname=name),
            message=f"{name} ({own[0].local}) is down, but {len(ports)} guests' ports of it are up ({named}): they "
            "reach neither this host nor each other",
            evidence=(
                (f"{name} flags", "down", f"RTM_GETLINK {name} ifi_flags"),
                (f"ports of {name} that are up", named, "RTM_GETLINK IFLA_MASTER"),
            ),
            confirm=(f"ip link show dev {quoted(name)}", f"ip link show master {quoted(name)}"),
            fix=f"ip link set dev {quoted(name)} up",
            breaks=tuple(subject("link", ifname=port.ifname) for port in ports),
        )


def _until(state: str, *, by_hand: bool) -> str:
    if by_hand:
        return "and no spanning tree set it so"
    return "until the forward delay is over" if state in WAITING else "to break a loop"


def _port(state: str, *, stp: int = 1, guest: bool = True, carrier: bool = True, **more: int) -> HostBuilder:
    host = HostBuilder().link("br0", kind="bridge", info={"stp_state": stp, **more})
    given = {"master": "br0", "slave_kind": "bridge", "slave_info": {"state": state}, "carrier": carrier}
    return host.tap("p0", **given) if guest else host.link("p0", **given)  # type: ignore[arg-type]


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    yield _case("a guest waits", "its DHCP gives up meanwhile", _port("listening"), 1, severity="warning")
    quick = (
        "a guest waits the shortest delay",
        "libvirt's networks: four seconds",
        200,
        0,
    )
    for name, why, delay, fires in (quick, ("a guest waits longer than that", "the kernel's own delay", 201, 1)):
        yield _case(name, why, _port("learning", forward_delay=delay), fires)
    yield _case("blocked, whatever the delay", "no timer ends it", _port("blocking", forward_delay=200), 1)
    sure: dict[str, object] = {"severity": "warning", "confidence": "certain"}
    yield _case("a guest is blocked", "a loop through it", _port("blocking"), 1, **sure)
    switch = _port("blocking", guest=False)
    yield _case("a redundant cable", "that is what the protocol is for", switch, 1, severity="info")
    yield _case("a cable that learns", "over in seconds", _port("learning", guest=False))
    for far, state, severity in (
        ({"master": 3}, "listening", None),
        ({"master": 3}, "blocking", "info"),
        ({}, "listening", "warning"),
        ({}, "blocking", "warning"),
    ):
        cable = HostBuilder().link("br0", kind="bridge", info={"stp_state": 1})
        cable.link("p0", kind="veth", master="br0", slave_kind="bridge", slave_info={"state": state})
        cable.peer("p0", netnsid=0, **far)
        name = f"{state}, a cable to a {'switch' if far else 'container'} of another namespace"
        yield _case(name, "switches agree, a container waits", cable, int(severity is not None), severity=severity)
    yield _case("forwards", "healthy", _port("forwarding"))
    for state in STILL:
        hand = _port(state, stp=0, guest=False)
        yield _case(
            f"{state} without the protocol", "somebody set it so", hand, 1, severity="warning", confidence="likely"
        )
    off = _port("listening", stp=0)
    yield _case("listens, the protocol just switched off", "its timer runs on", off)
    yield _case("forwards without the protocol", "the ordinary case", _port("forwarding", stp=0))
    down = _port("disabled", stp=0).link("br0", kind="bridge", info={"stp_state": 0}, up=False, ifindex=1)
    yield _case("a bridge that is down", "its ports are disabled with it", down)
    late = _port("disabled", stp=0).link("p0", master="br0", slave_kind="bridge", slave_info={"state": "disabled"},
                                         operstate="dormant", ifindex=2)  # fmt: skip
    yield _case("a carrier that has just come", "the bridge has not heard of it", late)
    yield _case("disabled under the protocol", "by the switch's administrator", _port("disabled"))
    yield _case("without a carrier", "nobody is there", _port("listening", carrier=False))
    yield from _bridges_down()


def _bridges_down() -> Iterator[Example]:
    def bridge(*, up: bool = False, held: bool = True, guest: bool = True, address: bool = True) -> HostBuilder:
        host = HostBuilder().link("br0", kind="bridge", up=up)
        port: dict[str, object] = {"master": "br0", "slave_info": {"state": "forwarding" if up else "disabled"}}
        if guest:
            host.tap("p0", holder="firecracker" if held else None, **port)
        else:
            host.link("p0", **port)  # type: ignore[arg-type]
        return host.address("br0", "10.2.0.1/24") if address else host

    about = subject("link", ifname="br0")
    yield _case("a bridge with guests is down", "a clean-up", bridge(), 1, severity="warning", subject=about)
    for name, why, host in (
        ("up", "as it should be", bridge(up=True)),
        ("down without running guests", "it waits for them", bridge(held=False)),
        ("down with a card", "somebody prepares it", bridge(guest=False)),
        ("down without an address", "nothing of this host is there", bridge(address=False)),
    ):
        yield _case(f"a bridge {name}", why, host)
    other = bridge(address=False).link("eth9").address("eth9", "192.0.2.1/24")
    yield _case("down, another has an address", "nothing of this host is on it", other)
    local = bridge(address=False).address("br0", "fe80::1/64")
    yield _case("down with a link-local address", "it came by itself", local)
    bond = HostBuilder().link("bond0", kind="bond", up=False).tap("p0", master="bond0").address("bond0", "10.2.0.1/24")
    yield _case("a bond that is down", "no bridge", bond)
    dormant = _port("listening").tap(
        "p0", master="br0", slave_info={"state": "listening"}, operstate="dormant", ifindex=3
    )
    yield _case("a guest waits, its link too", "the protocol hears of it", dormant, 1)
