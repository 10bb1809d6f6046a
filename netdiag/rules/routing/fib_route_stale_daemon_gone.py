"""What it checks
  The kernel holds routes of a routing daemon (BIRD, FRR), and no such daemon runs in this namespace: none answers on a
  control socket, and no listening Unix socket is one of its. Or a table holds routes of BIRD, and none of them is among
  those that the BIRDs which do run give to the kernel: another one did, or this one before its configuration changed.

Why it matters
  Nobody will take these routes away when the network changes: traffic goes where it went when the daemon died, until
  the way is dead, and then into the void. A new daemon takes them for foreign routes, or cleans them up only if it is
  configured as the old one was.

Confirm
  ip route show table all proto bird      (the daemon's name or number)
  pgrep -a 'bird|zebra'; ss -xl

Fix
  Start the daemon again (systemctl start bird), or, if it was taken away for good, ip route flush table TABLE proto
  NAME: its prefixes then take whatever else covers them, or nothing.

Not flagged
  A daemon whose control socket answers, or one of whose Unix sockets listens in this namespace, at whatever path; of
  FRR zebra's. Programs that only look at a daemon (exporters, looking glasses, watchfrr) are none.
  A control socket without a daemon: see bgp-daemon-dead, which speaks first. Routes of keepalived, DHCP and the like,
  which are not a routing daemon's. Tables of which a running BIRD gives a single route to the kernel; any, where it has
  a kernel protocol that is down, gives more routes than are read, recovers from a restart, or has a protocol that came
  or went within the last two seconds, whose routes are on their way. Where the list of sockets was not read whole: told
  as info only. A daemon that was stopped with "persist" or restarts gracefully leaves its routes on purpose, for
  minutes: for four of them, counted from when BIRD took its control socket out of /run/bird, it is told as info only
  (a daemon that is killed leaves the socket), and never more than a warning.

References
  include/uapi/linux/rtnetlink.h RTPROT_*; sysdep/linux/netlink.c of BIRD; zebra(8) --retain; RFC 4724
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.bird import BirdRoute
from netdiag.model.distinct import among, distinct
from netdiag.model.finding import Draft, subject
from netdiag.model.route import RTPROT_NAMES
from netdiag.model.sockets import SocketOwner, SocketOwners, UnixListener
from netdiag.rules.bgpsessions import passing
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.routewords import ip_command, table_word
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="fib-route-stale-daemon-gone",
    title="a routing daemon is gone, and its routes are still used",
    severity="warning",
    confidence="likely",
    reads=("routes", "bird_sockets"),
    consults=("sockets", "bird", "bird_routes"),
)
BIRD = (12,)
FRR = (11, 186, 187, 188, 189, 192)
MOST_COMPARED = 1000
"""Routes of one table that are looked for in BIRD's lists."""
RESTART = 240.0
"""Seconds that a daemon which left its routes on purpose has for its restart (BIRD's graceful restart time)."""
FEEDS = 2.0
"""Seconds within which a protocol that came or went has changed the kernel's routes."""
MARKS = {"bird": ("bird", ".ctl"), "frr": ("zebra", "zserv")}
"""Parts of the paths and program names of a daemon's Unix sockets. Of FRR zebra keeps the kernel's routes."""
BESIDE = re.compile("export|watch|proxy|mon|stat|lg")
"""In names of programs that only look at a daemon and outlive it: bird_exporter, bird-lg, birdwatcher."""


def lives(view: HostView, which: str) -> bool:
    """Whether something of that daemon listens."""
    if which == "bird" and any(row.alive or row.hangs for row in view.bird_sockets):
        return True
    names = view.socket_owners
    words = [*(row.path.lower() for row in names.unix), *(row.comm.lower() for row in names.owners)]
    return any(marked(word, which) for word in words)


def marked(word: str, which: str) -> bool:
    """Whether a path or a program's name is that of the daemon."""
    name = word.rpartition("/")[2]
    return any(mark in word for mark in MARKS[which]) and not BESIDE.search(name)


def given(view: HostView) -> set[str] | None:
    """The networks that the BIRDs of this host give to the kernel; None where that is not known in full, or where a
    BIRD may run that did not answer."""
    daemons, names = view.bird.daemons, view.socket_owners
    if not (view.read_whole("bird") and view.read_whole("bird_routes") and view.read_whole("sockets")):
        return None
    listening = [row for row in names.unix if marked(row.path.lower(), "bird")]
    programs = {row.pid for row in names.owners if "bird" in row.comm and marked(row.comm.lower(), "bird")}
    if max(len(listening), len(programs)) > len(daemons) or not all(row.alive for row in view.bird_sockets):
        return None
    if any(passing(view, daemon, row.since, FEEDS) for daemon in daemons for row in daemon.protocols):
        return None  # the kernel was read a moment before BIRD was
    if any(daemon.recovery_left is not None for daemon in daemons):  # what it gave before it restarted still stands
        return None
    lists = {(d.socket, one.protocol): one.routes for d in view.bird_routes for one in d.exports}
    kernels = [(d.socket, row) for d in daemons for row in d.protocols if row.proto == "Kernel"]
    found: set[str] = set()
    for socket, row in kernels:
        routes = lists.get((socket, row.name))
        if row.state != "up" or routes is None:
            return None
        found |= {route.net for route in routes}
    return found if any(row.protocols for row in daemons) else None


def nobodys(view: HostView) -> Iterator[Draft]:
    """Tables with routes of BIRD none of which a BIRD gives to the kernel."""
    wanted = given(view)
    if wanted is None:
        return
    for family in ("inet", "inet6"):
        routes = view.routes(family)
        held = np.flatnonzero(among(routes.protocol, BIRD))
        for table in distinct(routes.table[held]).tolist():
            mine = held[routes.table[held] == table]
            rows = [routes.row(int(position)) for position in mine[:MOST_COMPARED]]
            if any(row.dst in wanted for row in rows):
                continue
            word, ip = table_word(table), ip_command(family)
            yield RULE.found(
                subject=subject("bird-protocol", name="bird", family=family, table=table),
                message=f"{_words(len(mine), family, 'bird', rows[0].dst, f' in table {word}')}, and no BIRD that runs "
                "here gives it one of them: nothing keeps them true",
                evidence=[
                    (f"routes of protocol bird in table {word}", len(mine), "RTM_GETROUTE rtm_protocol"),
                    ("of these among the routes that BIRD gives to the kernel", 0, "birdc show route export PROTOCOL"),
                    ("BIRDs that answer", len(view.bird.daemons), "connect(2) to BIRD's control sockets"),
                ],
                confirm=[f"{ip} route show table {word} proto 12", "ss -xl"],
                fix=f"start the BIRD again that filled table {word}, or, if it is gone for good: {ip} route flush "
                f"table {word} proto 12",
            )


def _words(count: int, family: str, maker: str, first: str, where: str = "") -> str:
    """How many routes are in the kernel, and one of them."""
    several, version = count > 1, "IPv4" if family == "inet" else "IPv6"
    named = f"({first}, ...) are" if several else f"({first}) is"
    return f"{count} {version} route{'s' if several else ''} of {maker}{where} {named} in the kernel"


def stopped(view: HostView) -> float | None:
    """Seconds since BIRD took its control socket away, as it does when it stops in order; None: longer than a restart
    takes, or not known."""
    ages = [row.taken_away for row in view.bird_sockets if row.taken_away is not None]
    return next((age for age in ages if age < RESTART), None)


def check(view: HostView) -> Iterator[Draft]:
    yield from nobodys(view)
    files = [row for row in view.bird_sockets if row.taken_away is None]
    dead = any(not row.alive for row in files)
    for which, protocols in (("bird", BIRD), ("frr", FRR)):
        if lives(view, which):
            continue
        for family in ("inet", "inet6"):
            routes = view.routes(family)
            held = np.flatnonzero(among(routes.protocol, protocols))
            if not len(held):
                continue
            first, ip = routes.row(int(held[0])), ip_command(family)
            name = RTPROT_NAMES.get(first.protocol, str(first.protocol))
            left = stopped(view) if which == "bird" else None
            sure = left is None and (view.read_whole("sockets") or (dead and which == "bird"))
            tables = distinct(routes.table[held]).tolist()
            where = table_word(tables[0]) if len(tables) == 1 else "all"
            made = distinct(routes.protocol[held]).tolist()
            yield RULE.found(
                subject=subject("bird-protocol", name=which, family=family),
                message=f"{_words(len(held), family, name, first.dst)}, and no {which} daemon runs here: nothing keeps "
                "them true"
                + ("" if left is None else f" (it stopped in order {left:.0f} s ago: with persist it leaves them)"),
                severity=None if sure else "info",
                confidence=None if sure else "possible",
                evidence=[
                    (f"routes of protocol {name}", len(held), "RTM_GETROUTE rtm_protocol"),
                    ("control sockets that answer", 0, "connect(2) to BIRD's control sockets"),
                    ("listening Unix sockets of such a daemon", 0, "/proc/net/unix"),
                    *(
                        [("seconds since its socket was taken away", round(left), "stat /run/bird")]
                        if left is not None
                        else []
                    ),
                ],
                confirm=[*(f"{ip} route show table all proto {one}" for one in made), "ss -xl"],
                fix=f"systemctl start {which}  # or, if it is gone for good: "
                + "; ".join(f"{ip} route flush table {where} proto {one}" for one in made),
                touches=[subject("socket", path=row.path) for row in files],
            )


def _host(protocol: int = 12, host: Any = None) -> Any:
    host = (host or HostBuilder()).link("eth0").address("eth0", "10.0.0.1/24")
    return host.route("198.51.100.0/24", via="10.0.0.2", dev="eth0", priority=32, protocol=protocol)


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
    unix, comm, first = more.pop("unix", None), more.pop("comm", None), more.pop("more", 0)
    tables = host.build()
    known = (UnixListener(path="/run/bird/bird.ctl", inode=6),) if first else ()
    owners = SocketOwners(
        complete=True,
        unix=(*known, *((UnixListener(path=unix, inode=7),) if unix else ())),
        owners=(
            *((SocketOwner(inode=6, pid=8, comm="bird"),) if first else ()),
            *((SocketOwner(inode=7, pid=9, comm=comm),) if comm else ()),
        ),
    )
    return Example(name=name, why=why, tables=replace(tables, socket_owners=owners), fires=fires, **more)


def examples() -> Iterator[Example]:
    yield _case("no socket at all", "somebody removed it with the daemon", _host(), 1, severity="warning")
    for seconds, severity in ((0.0, "info"), (239.9, "info"), (240.0, "warning")):
        gone = _host(12, BirdHost().control_socket(absent=True, taken_away=seconds))
        says = ("stopped in order",) if severity == "info" else ()
        yield _case(f"stopped {seconds} s ago", "with persist, and comes again", gone, 1, severity=severity, says=says)
    gone = _host(186, BirdHost().control_socket(absent=True, taken_away=9.0))
    yield _case("FRR, BIRD was stopped", "another daemon's", gone, 1, severity="warning")
    yield _case("FRR", "the same", _host(186), 1, says=("no frr daemon",))
    two = _host(186).route("10.78.0.0/16", via="10.0.0.2", dev="eth0", protocol=188, table=7)
    flushes = ("ip route flush table all proto 186; ip route flush table all proto 188",)
    yield _case("FRR, by two protocols into two tables", "each is to be flushed", two, 1, says=flushes)
    alive = _host(12, BirdHost().daemon())
    yield _case("it answers", "the ordinary case", alive)
    yield _case("socket elsewhere", "its path is a setting", _host(), unix="/srv/routing/x.ctl")
    yield _case("named otherwise", "the program tells", _host(), unix="/tmp/a", comm="bird")
    yield _case("FRR lives", "zebra has its socket", _host(11), unix="/var/run/frr/zserv.api")
    yield _case("FRR lives, and BIRD's routes stay", "another daemon's", _host(), 1, unix="/var/run/frr/zserv.api")
    for comm in ("bird_exporter", "birdwatcher", "bird-lg-go", "birdlgproxy"):
        yield _case(f"{comm} lives", "it looks at BIRD only", _host(), 1, unix=f"/run/{comm}.sock", comm=comm)
    yield _case(
        "watchfrr lives", "it waits for zebra", _host(186), 1, unix="/var/run/frr/watchfrr.vty", comm="watchfrr"
    )
    yield _case("an exporter of FRR lives", "it looks at FRR only", _host(186), 1, comm="frr_exporter")
    yield _case("bird6 lives", "BIRD 1 has two programs", _host(), comm="bird6")
    yield _case("no such routes", "static ones", _host(4))
    late: dict[str, Any] = {"fires": 1, "late": ("sockets",), "severity": "info", "confidence": "possible"}
    late["unjudged"] = True
    yield _case("sockets not read", "it may run with a socket elsewhere", _host(), **late)
    dead: dict[str, Any] = late | {"severity": "warning", "confidence": "likely", "unjudged": False}
    yield _case("sockets not read, its own is dead", "it was BIRD", _host(12, BirdHost().control_socket()), **dead)
    other = _host(186, BirdHost().control_socket())
    yield _case("sockets not read, that of another is dead", "FRR has others", other, **late)
    asked = _host(186, BirdHost().daemon())
    yield _case("sockets not read, another answers", "FRR has others", asked, **late)
    yield _case("speaks TCP alone", "its program is there", _host(186), comm="zebra")
    hung = _host(12, BirdHost().control_socket(hangs=True))
    yield _case("it hangs", "it is there", hung)
    yield from _second()


def _second() -> Iterator[Example]:
    """A BIRD that runs, and routes of another one in a table of their own."""

    def host(*nets: str, state: str = "up", known: bool = True) -> HostBuilder:
        built: Any = BirdHost().protocol("k4", "Kernel", state=state)
        listed = tuple(BirdRoute(net=net, protocol="s1", best=True) for net in nets)
        built.exports("k4", routes=listed if known else None, count=30_000)
        both: HostBuilder = _host(12, built)
        return both.route("198.51.101.0/24", via="10.0.0.2", dev="eth0", table=100, protocol=12)

    main, other = "198.51.100.0/24", "198.51.101.0/24"
    about = subject("bird-protocol", name="bird", table=100)
    found: dict[str, Any] = {"subject": about, "says": ("in table 100", "ip route flush table 100 proto 12")}
    yield _case("one of two", "its table is left", host(main), 1, severity="warning", **found)
    yield _case("one BIRD for both tables", "the ordinary case", host(main, other))
    begun: Any = BirdHost().bgp("up1").exports("up1", routes=()).daemon(recovery_left=100.0, recovery_wait=240.0)
    yield _case("a BIRD that recovers", "it has not given the kernel anything yet", _host(12, begun))
    bare: Any = BirdHost().bgp("up1").exports("up1", routes=())
    says = ("in table main",)
    yield _case("a BIRD without a kernel protocol", "whoever made them is gone", _host(12, bare), 1, says=says)
    yield _case("the kernel protocol is down", "it may keep its routes (persist)", host(main, state="down"))
    yield _case("too many to list", "they may be among them", host(main, known=False))
    for age, fires in (("1.999", 0), ("2.000", 1), ("unknown", 1)):
        since = {"1.999": "11:59:58.001", "2.000": "11:59:58.000"}.get(age, "Friday")
        gone: Any = host(main)
        gone.bgp_down("up1", since=since)
        yield _case(f"a session that went {age} seconds ago", "its routes follow it", gone, fires)
    twice = host(main)
    dbus: dict[str, Any] = {"unix": "/run/dbus/system_bus_socket", "comm": "dbus-daemon", "more": 1}
    yield _case("beside another program", "that is no BIRD", host(main), 1, **dbus)
    seen: dict[str, Any] = {"unix": "/run/bird_exporter.sock", "comm": "bird_exporter", "more": 1}
    yield _case("beside an exporter", "likewise", host(main), 1, **seen)
    second: dict[str, Any] = {"unix": "/srv/r/x", "comm": "bird", "more": 1}
    yield _case("a second one at a path of no telling name", "its program tells", host(main), **second)
    for table in ("bird", "bird_routes", "sockets"):
        late = {"late": (table,), "unjudged": True}
        yield _case(f"one of two, {table} not read", "it may be given all the same", host(main), 0, **late)
    hung: Any = BirdHost().protocol("k4", "Kernel").protocol("s1", "Static")
    hung.exports("k4", routes=(BirdRoute(net=main, protocol="s1", best=True),)).control_socket("/run/b2", hangs=True)
    left = _host(12, hung).route(other, via="10.0.0.2", dev="eth0", table=100, protocol=12)
    yield _case("a second one hangs", "it may be its", left)
    static: Any = BirdHost().protocol("k4", "Kernel").protocol("s1", "Static")
    static.exports("k4", routes=(BirdRoute(net=main, protocol="s1", best=True),))
    left = _host(12, static).route(other, via="10.0.0.2", dev="eth0", table=100, protocol=12)
    yield _case("a protocol of BIRD that feeds no kernel", "its list is not asked", left, 1)
    yield _case("a second one at another path", "it may be its", twice, unix="/srv/x/bird2.ctl", more=1)
