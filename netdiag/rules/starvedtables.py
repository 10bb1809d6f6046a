"""Tables of policy rules that a routing daemon should fill and does not: its Kernel protocol exports nothing of a full
table of BIRD's, and a table that a rule leads to is empty. For bgp-kernel-export-none; pure."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from netdiag.index.view import HostView
from netdiag.model.bird import BirdChannel, BirdDaemon, BirdProtocol
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import RT_TABLE_LOCAL
from netdiag.rules.build_bird import BirdHost, channel
from netdiag.rules.shape import Example

OWN = (253, 254, RT_TABLE_LOCAL)
MAIN = ("master", "master4", "master6")


class Starved(NamedTuple):
    """A Kernel protocol that gives nothing, and rules whose table is empty."""

    kernel: BirdProtocol
    channel: BirdChannel
    family: str
    table: str
    routes: int
    """Routes that other protocols brought into BIRD's table."""
    rules: list[PolicyRule]


def brought(daemon: BirdDaemon, table: str) -> int:
    """Routes that protocols other than the kernel's brought into a table of BIRD's."""
    rows = [row for row in daemon.protocols if row.proto != "Kernel"]
    channels = [one for row in rows for one in row.channels]
    own = sum(one.imported or 0 for one in channels if (one.table or "master") == table)
    return own + sum(one.exported or 0 for one in channels if one.peer_table == table)


def _mute(one: BirdChannel) -> bool:
    """Whether a channel of a Kernel protocol gives nothing to the kernel."""
    return not one.exported and (one.exported is not None or one.output_filter == "REJECT")


def empty(view: HostView, family: str) -> list[PolicyRule]:
    """Policy rules that lead to a table without any route."""
    filled = {*view.fib(family).tables(), *(link.info.get("table") for link in view.links), *OWN, None}
    rules = (row for row in view.rules if row.family == family and row.table not in filled)
    return [row for row in rules if row.suppress_prefixlength is None and row.suppress_ifgroup is None]


def starved(view: HostView, daemon: BirdDaemon, families: dict[str, str]) -> Iterator[Starved]:
    """Kernel protocols of full tables that give nothing, where a rule's table is empty. ``families``: of the names of
    channels. Left out are those of a table of which another one gives some to the kernel, and of BIRD's own main table:
    to keep that to itself is how a collector is set up, and the empty table is another matter."""
    kernels = [(row, one) for row in daemon.protocols if row.proto == "Kernel" and row.state == "up"
               for one in row.channels]  # fmt: skip
    giving = {one.table or "master" for _, one in kernels if not _mute(one)}
    for row, one in kernels:
        table, family = one.table or "master", families.get(one.name)
        if family is None or table in giving or table in MAIN:
            continue
        count, rules = brought(daemon, table), empty(view, family)
        if count and rules:
            yield Starved(row, one, family, table, count, rules)


def starved_cases() -> Iterator[Example]:
    """Customers' packets have a table, which BIRD fills from one of its own; the pipe brings BGP's routes there."""

    def host(
        *, told: int | None = 0, policy: str = "REJECT", piped: int = 3, state: str = "up", full: bool = False,
        family: str = "inet", second: int | None = None, learned: int = 0, feeds: str = "customers", main: int = 5,
        more: tuple[Any, ...] = (), **rule: Any,
    ) -> Any:  # fmt: skip
        made: Any = BirdHost().bgp("up1", channels=(channel(imported=5, preferred=5, exported=5, table="master4"),))
        made.protocol("k4", "Kernel", channels=(channel(exported=main, output_filter="ACCEPT", table="master4"),))
        out = channel(exported=told, imported=0, output_filter=policy, table=feeds)
        made.protocol("cust", "Kernel", state=state, channels=(out, *more))
        if second is not None:
            again = channel(exported=second, imported=learned, output_filter="ACCEPT", table="customers")
            made.protocol("cust2", "Kernel", channels=(again,))
        pipe = channel(name="main", table="master4", peer_table="customers", imported=0, exported=piped)
        made.protocol("both", "Pipe", channels=(pipe,))
        made.protocol("none1", "Static", channels=(channel(table="customers", exported=0),))
        made.link("eth0").address("eth0", "192.0.2.2/24").link("cust0").address("cust0", "10.9.0.1/24")
        made.route("default", via="192.0.2.1", dev="eth0")
        if full:
            made.route("198.51.100.0/24", via="192.0.2.1", dev="eth0", table=100)
        return made.rule(1000, **({"family": family, "iif": "cust0", "table": 100} | rule))

    crit: dict[str, Any] = {
        "fires": 1,
        "severity": "critical",
        "subject": {"kind": "bird-protocol", "name": "cust"},
        "says": ("has 3 routes in customers and gives none of them to the kernel (cust: export none)",),
    }
    for name, why, made, more in (
        ("export none", "the table of its customers is empty", host(), crit),
        ("a filter that takes none", "the same", host(policy="(unnamed)"), {"fires": 1}),
        ("nothing is counted, and none", "an old BIRD", host(told=None), {"fires": 1}),
        ("nothing is counted, and a filter", "who knows", host(told=None, policy="(unnamed)"), {}),
        ("some are given", "another one empties it", host(told=3), {}),
        ("nothing is there to give", "nobody told any", host(piped=0), {}),
        ("another protocol gives them", "it is enough", host(second=3), {}),
        ("the table has routes", "somebody else fills it", host(full=True), {}),
        ("the rule is of IPv6", "the routes are not", host(family="inet6"), {}),
        ("the rule leads to main", "that one is full", host(table=254), {}),
        ("BIRD's main table", "it keeps that to itself", host(feeds="master4", second=3), {}),
        ("BIRD's main table, of which none is given", "a collector's", host(feeds="master4", main=0), {}),
        ("only the kernel's own are there", "those it has", host(second=0, learned=3, piped=0), {}),
        ("and one of source addresses", "netdiag does not read such routes",
         host(more=(channel("ipv6-sadr", exported=0, table="sadr1"),)), crit),
        ("the rule suppresses", "it stands for another", host(suppress_prefixlength=0), {}),
        ("the rule suppresses a group", "likewise", host(suppress_ifgroup=1), {}),
        ("the protocol is off", "another fault, or a wish", host(state="down"), {}),
    ):  # fmt: skip
        yield Example(name=f"a table of its own, {name}", why=why, tables=made.build(), **more)
