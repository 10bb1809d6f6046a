"""BIRD's control sockets, and whether a daemon answers behind each: a socket's file outlives a daemon that was killed.

Source: the usual places and --bird-socket; each that exists is connected to and asked for its status; one that was
named and does not exist is told as such. Where none is left in the folder that BIRD's packages make for it, it is told
since when. Needs the right to open it; one that may not be opened is neither alive nor
dead, and the whole is then partial. Never absent: no socket at all is knowledge too, and then the table is empty.
"""

from netdiag.collectors import Collected, Options
from netdiag.collectors.bird import SOCKETS, paths
from netdiag.model.bird import BirdSocket
from netdiag.sources.protocol import Source, Unreadable


def exists(source: Source, path: str) -> bool:
    """Whether there is a file of that name."""
    folder, _, name = path.rpartition("/")
    try:
        return name in source.listdir(folder or "/")
    except Unreadable:
        return False


def taken_away(source: Source) -> BirdSocket | None:
    """The socket of a daemon that took it away, as one does that stops in order."""
    path = SOCKETS[0]
    folder = path.rpartition("/")[0]
    try:
        if source.listdir(folder):
            return None
        ago = source.clock("realtime") - float(source.fetch("changed", folder))
    except (Unreadable, ValueError):
        return None  # no such folder, as a rule
    detail = f"bird {path}: No such file or directory"
    return BirdSocket(path=path, alive=False, detail=detail, absent=True, taken_away=ago) if ago >= 0 else None


def collect(source: Source, options: Options) -> Collected:
    """Every control socket that exists or was named."""
    found: list[BirdSocket] = []
    unknown: list[str] = []
    for path in paths(options):
        if not exists(source, path):
            if path in options.bird_sockets:
                missing = f"bird {path}: No such file or directory"
                found.append(BirdSocket(path=path, alive=False, detail=missing, absent=True))
            continue
        try:
            source.fetch("bird", f"{path}\nshow status")
        except Unreadable as trouble:
            if trouble.why == "denied":
                unknown.append(trouble.detail)
                continue
            found.append(BirdSocket(path=path, alive=False, hangs=trouble.why == "timeout", detail=trouble.detail))
        else:
            found.append(BirdSocket(path=path, alive=True))
    gone = None if found or unknown else taken_away(source)
    if gone is not None:
        found.append(gone)
    return Collected(
        tables={"bird_sockets": tuple(found)},
        rows=len(found),
        status="partial" if unknown else "ok",
        detail="; ".join(unknown),
    )
