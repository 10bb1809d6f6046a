"""BIRD: daemons, protocols with their channels, BFD sessions and route counts.

Source: the control sockets at their usual places and those given with --bird-socket; ``restrict`` is always the first
command. Needs the right to open the socket (root or BIRD's group). Absent where no daemon listens anywhere; a socket
whose daemon is gone is known to netdiag.collectors.bird_sockets. Partial where a daemon stopped answering half-way, or
one of several did not answer.
"""

from typing import Any

from netdiag.collectors import Collected, Options, uptime_of
from netdiag.model.bird import Bird, BirdDaemon
from netdiag.sources.bird import protocols, replies
from netdiag.sources.protocol import Source, Unreadable

SOCKETS = ("/run/bird/bird.ctl", "/run/bird.ctl", "/run/bird/bird6.ctl", "/run/bird6.ctl")
STATE = (
    "show status",
    "show protocols all",
    "show bfd sessions",
    "show interfaces summary",
    "show route table all count",
)


def paths(options: Options) -> tuple[str, ...]:
    """Where a daemon may listen."""
    return (*SOCKETS, *(path for path in options.bird_sockets if path not in SOCKETS))


def read_daemon(source: Source, path: str) -> tuple[BirdDaemon, list[str]]:
    """One daemon and what could not be read of it. Raises Unreadable where it does not answer at all."""
    raw = source.fetch("bird", "\n".join((path, *STATE)))
    answered_at = uptime_of(source)
    said = replies.split(raw)
    troubles = [f"{path}: {reason}"] if (reason := replies.broken(raw)) else []
    if "show protocols all" not in said:
        raise Unreadable("failed", troubles[0] if troubles else f"{path}: no protocols told")
    found = protocols.protocols(said["show protocols all"])
    bfd = said.get("show bfd sessions", [])
    status: dict[str, Any] = replies.status(said["show status"]) | replies.recovery(said["show status"])
    counts = said.get("show route table all count", [])
    if replies.refused(counts):
        counts = main_table(source, path)
    daemon = BirdDaemon(
        socket=path,
        **status,
        answered_at=answered_at,
        protocols=found,
        bfd_sessions=() if replies.refused(bfd) else replies.bfd_sessions(bfd),
        interfaces=replies.interfaces(said.get("show interfaces summary", [])),
        tables=replies.route_counts(counts),
    )
    return daemon, troubles


def main_table(source: Source, path: str) -> list[str]:
    """What BIRD 1.6 says of its main table: it cannot be asked for all tables at once."""
    try:
        return replies.split(source.fetch("bird", f"{path}\nshow route count")).get("show route count", [])
    except Unreadable:
        return []


def collect(source: Source, options: Options) -> Collected:
    """Every daemon that answers."""
    daemons: list[BirdDaemon] = []
    troubles: list[str] = []
    refused: Unreadable | None = None
    for path in paths(options):
        try:
            daemon, missed = read_daemon(source, path)
        except Unreadable as trouble:
            if trouble.why != "absent":
                refused = refused or trouble
                troubles.append(trouble.detail)
            continue
        daemons.append(daemon)
        troubles += missed
    if not daemons:
        raise refused or Unreadable("absent", "no control socket with a daemon behind it")
    return Collected(
        tables={"bird": Bird(daemons=tuple(daemons))},
        rows=sum(len(daemon.protocols) for daemon in daemons),
        status="partial" if troubles else "ok",
        detail="; ".join(troubles),
    )
