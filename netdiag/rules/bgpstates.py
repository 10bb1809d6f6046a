"""In which words a BGP session that does not stand is told, and who keeps it from standing. Pure; nothing can fail."""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.rules.bgpsessions import Session, sessions
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import Example


def rival(view: HostView, session: Session) -> str | None:
    """The protocol of the same daemon for which BIRD keeps the neighbour's address: it gives each to one at a time, and
    the others wait in Idle without a word (proto/bgp/bgp.c bgp_start(), nest/locks.c)."""
    if session.state != "Idle" or session.error:
        return None
    row = session.protocol
    wanted = (session.daemon.socket, row.neighbor_address, row.neighbor_ifname)
    for other in sessions(view):
        has = (other.daemon.socket, other.protocol.neighbor_address, other.protocol.neighbor_ifname)
        if has == wanted and other.name != session.name and not other.switched_off and other.state != "Idle":
            return other.name
    return None


def reason(view: HostView, session: Session) -> str:
    """State and error: ``Active, Socket: Connection refused``."""
    if session.error:
        return f"{session.state}, {session.error}"
    if session.state == "Passive":
        return "Passive, the neighbour does not call any more"
    if (other := rival(view, session)) is not None:
        return f"Idle, {other} has the same neighbour, and BIRD keeps one session to an address"
    if session.state == "Idle":
        return "Idle, BIRD sees no interface on whose subnet the neighbour is"
    return f"{session.state}, no answer and no error"


def rival_examples() -> Iterator[Example]:
    """Two protocols for one neighbour."""
    waits, alone = "up2 has the same neighbour, and BIRD keeps one session", "BIRD sees no interface"
    for name, fields, says in (
        ("one stands", {}, waits),
        ("one calls", {"bgp_state": "Connect", "state": "start"}, waits),
        ("one is switched off", {"bgp_state": "Down", "state": "down"}, alone),
        ("both wait", {"bgp_state": "Idle", "state": "start"}, alone),
        ("another neighbour", {"neighbor_address": "192.0.2.7"}, alone),
    ):
        host = BirdHost().bgp_down("up1", bgp_state="Idle").bgp("up2", **fields)
        fires = 2 if fields.get("state") == "start" else 1
        yield Example(name=f"two for one neighbour, {name}", why="who waits", tables=host.build(), fires=fires,
                      says=(says,))  # fmt: skip
