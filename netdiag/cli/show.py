"""``netdiag show``: one table of this host, or of a snapshot, as text or JSON."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from netdiag.cli import _host, _output
from netdiag.cli._errors import NO_VERDICT, Usage, nearest
from netdiag.cli._output import complain
from netdiag.cli._verb import Seconds, Session, Verb, bird_socket_option, deadline_option, json_option

if TYPE_CHECKING:
    from netdiag.model.snapshot import Snapshot

READ = ("ok", "partial", "inconsistent")
"""Statuses of a collector that filled its table."""
NETIDS = ("tcp", "udp", "raw", "packet")


def _number(word: str | None, option: str, convert: Callable[[str], int]) -> int | None:
    if word is None:
        return None
    try:
        return convert(word)
    except ValueError:
        raise Usage(f"{option}: {word!r} is neither a name nor a number that iproute2 knows") from None


def _netid(word: str | None) -> str | None:
    """What ``--proto`` means for sockets."""
    if word is not None and word not in NETIDS:
        raise Usage(f"--proto: {word!r} is none of {', '.join(NETIDS)}")
    return word


def _was_read(name: str, collector: str, found: "Snapshot") -> bool:
    """Whether the table holds anything to be shown; says on standard error what is wrong with it."""
    if name == "coverage":
        return True
    row = next((row for row in found.coverage if row.collector == collector), None)
    if row is None:
        complain(f"{name}: not collected")
        return False
    if row.status != "ok":
        complain(f"{name}: {row.status}{': ' if row.detail else ''}{row.detail}")
    return row.status in READ


def _of_namespace(found: "Snapshot", netns: str | None) -> "Snapshot":
    """The tables of another namespace, where one is asked for."""
    if netns is None:
        return found
    from netdiag.index.spaces import known, of_namespace

    chosen = of_namespace(found, netns)
    if chosen is None:
        names = known(found.meta, found.tables)
        raise Usage(f"no such network namespace was read: {netns}{nearest(netns, names)}")
    return chosen


@click.command(cls=Verb, short_help="Print one table: links, addresses, routes, rules ...")
@click.argument("name", metavar="TABLE")
@click.argument("snapshot", required=False)
@json_option()
@click.option("--table", metavar="TABLE", help="Only this routing table (name or number).")
@click.option("--dev", metavar="IFNAME", help="Only this interface.")
@click.option("--proto", metavar="PROTO", help="Only what this protocol made (name or number).")
@click.option("--family", type=click.Choice(["inet", "inet6"]), help="Only this family.")
@click.option("--netns", metavar="NAME", help="Of this other network namespace (its name or inode).")
@click.option("--interval", type=Seconds(), metavar="SECONDS", help="Gap between two samples [counters: 1, else 0].")
@deadline_option()
@bird_socket_option()
def command(
    session: Session,
    *,
    name: str,
    snapshot: str | None,
    as_json: bool,
    table: str | None,
    dev: str | None,
    proto: str | None,
    family: str | None,
    netns: str | None,
    interval: float | None,
    deadline: float,
    bird_sockets: tuple[str, ...],
) -> int:
    """Print one TABLE of this host, or of SNAPSHOT ("-": standard input), spelled as iproute2 does.

    A table that could not be read is null in JSON, nothing in text, and exit status 3; an empty one is [].
    """
    from netdiag.render import views
    from netdiag.render.tables import Filters, table_json, table_text
    from netdiag.render.views._words import protocol_number, table_number

    try:
        view = views.view(name)
    except KeyError:
        raise Usage(
            f"no such table: {name}{nearest(name, views.names())}; there are {', '.join(views.names())}"
        ) from None
    filters = Filters(
        table=_number(table, "--table", table_number),
        dev=dev,
        proto=None if "netid" in view.filters else _number(proto, "--proto", protocol_number),
        family=family,
        netid=_netid(proto) if "netid" in view.filters else None,
    )
    for given in filters.given():
        if given not in view.filters:
            raise Usage(f"--{given} means nothing for {name}")
    seconds = interval if interval is not None else 1.0 if name == "counters" else 0.0
    how = _host.options(interval=seconds, deadline=deadline, bird_sockets=bird_sockets, all_netns=netns is not None)
    found = _of_namespace(_host.snapshot(session, snapshot, how), netns)
    if not _was_read(name, view.collector, found):
        _output.emit(["null\n"] if as_json else [])
        return NO_VERDICT
    known = {link.ifname for link in found.tables.links}
    if dev is not None and dev not in known:
        raise Usage(f"no such interface: {dev}{nearest(dev, known)}")
    rows = view.rows(found, filters)
    pieces = table_json(rows) if as_json else table_text(view, rows, _output.terminal_width())
    _output.emit(pieces, utf8=as_json)
    return 0
