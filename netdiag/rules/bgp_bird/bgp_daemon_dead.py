"""What it checks
  A control socket of BIRD exists, and behind it is no daemon that answers: nobody listens any more (connection
  refused), or the connection stands and no greeting comes within five seconds, or the connection breaks. The usual
  places are looked at, and those given with --bird-socket. Or there is no socket and no BIRD at all, though the intent
  says what this host is to announce ([[announce]]), or sessions stood at the time of the baseline. Or one given with
  --bird-socket does not exist, no BIRD answers, and connections of BGP have ended within the last minute; without them,
  or where another BIRD answers, or where routes of BIRD's stand in the kernel (fib-route-stale-daemon-gone), that is an
  info. As a warning, on any other host without a socket, on which nobody listens on port 179 and no such route stands:
  a connection there ended within the last minute, or one to port 179 of a gateway did; or a gateway calls there, or
  somebody whose tracked call stood; or a tracked call to a gateway stood. A BIRD that runs while no control socket is
  found is told as not evaluated: nothing of its sessions is known.

Why it matters
  BIRD takes its socket with it when it is stopped in order. A socket that is left behind means that it was killed or
  crashed, and nobody started it again. Its BGP sessions are lost, neighbours withdraw what this host announced. The
  routes that it had put into the kernel stay and grow stale: traffic goes where it went at that moment, until
  somebody takes them away.
  A daemon that accepts and says nothing is stopped (SIGSTOP, a debugger), swapped out, or busy: BIRD does its work in
  one thread (BIRD 3: several), so one that does not serve its socket soon misses keepalives, and sessions end when
  the hold time is over.

Confirm
  timeout 2 birdc -s SOCKET show status
  ss -xlpn | grep SOCKET; pgrep -a bird
  journalctl -u bird -n 50

Fix
  systemctl restart bird
  Starting BIRD sends its routes and announcements anew: neighbours see the session come back, and kernel routes that
  BIRD finds from its former life are replaced or removed. Look into the log first: a daemon that crashed on its
  configuration or for want of memory does so again. If BIRD was taken away from this host, remove the socket.

Not flagged
  A host without any control socket, of which nobody told that it should have one: it has no BIRD, or BIRD was stopped
  on purpose long ago; and a drained one. Calls to port 179 by others than gateways that were never answered: somebody
  scans. Hosts where a BGP connection stands: a speaker that only calls out. A socket that netdiag may not open (then
  the rule is not evaluated). A dead socket with a living daemon on a socket of the same name in another folder, left
  behind by an older package, is told as a possibility only; not where a daemon answered there at the time of the
  baseline, or somebody named it with --bird-socket outside the usual places.

References
  unix(7), connect(2) ECONNREFUSED; sysdep/unix/main.c async_shutdown() and sysdep_shutdown_done(), nest/cli.c of BIRD
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.bird import BirdSocket
from netdiag.model.finding import Confidence, Draft, Unjudged, subject
from netdiag.rules.bgpsessions import birdc
from netdiag.rules.birdgone import PROGRAMS, installed, without_socket, without_socket_examples
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bgp-daemon-dead",
    title="BIRD is gone or hangs, and its control socket is still there",
    severity="critical",
    reads=("bird_sockets", "routes"),
    consults=("bird", "intent.announce", "baseline", "sockets", "addresses", "conntrack"),
    explains=(
        "bgp-*",
        "bird-*",
        "fib-route-stale-daemon-gone",
        "route-default-missing",
        "dns-nameserver-unroutable",
        "tcp-rcvq-stuck",
        "unix-bird-socket-stuck",
    ),
)

PLACES = tuple(
    f"{folder}/{name}"
    for folder in ("/run/bird", "/run", "/var/run/bird", "/var/run")
    for name in ("bird.ctl", "bird6.ctl")
)
"""Where packages put it."""


def reason(dead: BirdSocket) -> str:
    """Why nobody answers, without what was asked."""
    return dead.detail.rpartition(": ")[2] or "nothing"


def how(dead: BirdSocket) -> str:
    """What is wrong behind the socket, in words."""
    if dead.hangs:
        return "accepts connections and does not answer"
    if reason(dead) == "Connection refused":
        return "has no daemon behind it any more"
    return "does not answer as BIRD does"


def confidence_of(view: HostView, dead: BirdSocket, alive: set[str]) -> Confidence:
    """A socket of the same name with a daemon behind it may be this one's successor."""
    old = view.baseline
    answered = old is not None and any(row.path == dead.path and row.alive for row in old.bird_sockets)
    if dead.path.rpartition("/")[2] in alive and dead.path in PLACES and not answered:
        return "possible"
    return "certain" if dead.hangs or reason(dead) == "Connection refused" else "likely"


def hidden(view: HostView) -> Unjudged | None:
    """A BIRD that holds sockets here, on a host without a control socket at any place that was looked at."""
    mine = {owner.inode: owner.comm for owner in view.socket_owners.owners if owner.comm in PROGRAMS}
    if not all(row.absent for row in view.bird_sockets) or not mine:
        return None
    path = next((row.path for row in view.socket_owners.unix if row.inode in mine), None)
    where = f"it listens at {path}: give --bird-socket {path}" if path else "its file may have been removed: restart it"
    return Unjudged(reason=f"{min(mine.values())} runs, and no control socket of it is at the usual places; {where}")


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    unseen = hidden(view) if view.read_whole("sockets") else None
    if unseen is not None:
        yield unseen
    yield from without_socket(RULE, view)
    alive = {row.path.rpartition("/")[2] for row in view.bird_sockets if row.alive}
    routes = installed(view)
    for dead in view.bird_sockets:
        if dead.alive or reason(dead) == "No such file or directory":  # it went while netdiag looked
            continue
        left = f"; {routes} routes of BIRD's stand in the kernel" if routes else ""
        left = "; 1 route of BIRD's stands in the kernel" if routes == 1 else left
        yield RULE.found(
            subject=subject("socket", path=dead.path),
            message=f"BIRD's control socket {dead.path} {how(dead)}{left}",
            evidence=[
                ("what the socket says", reason(dead), f"connect {dead.path}"),
                ("kernel routes of protocol bird", routes, "RTM_GETROUTE rtm_protocol 12"),
            ],
            confirm=[
                f"timeout 2 {birdc(dead.path, 'show status')} || echo no answer",
                f"ss -xlpn | grep -F {quoted(dead.path)}; pgrep -a bird || echo no process",
            ],
            fix="systemctl restart bird  # look into its log first",
            confidence=confidence_of(view, dead, alive),
            breaks=[subject("host")],
        )


def examples() -> Iterator[Example]:
    about = subject("socket", path="/run/bird/bird.ctl")
    yield Example(
        name="killed",
        why="the socket outlived its daemon",
        tables=BirdHost().control_socket().build(),
        fires=1,
        subject=about,
        severity="critical",
        confidence="certain",
        says=("has no daemon behind it any more", "Connection refused"),
    )
    hanging = BirdHost().control_socket(
        hangs=True, detail="bird /run/bird/bird.ctl: no whole answer before the deadline"
    )
    yield Example(
        name="hangs",
        why="a stopped daemon accepts and says nothing; its sessions are about to end",
        tables=hanging.build(),
        fires=1,
        subject=about,
        severity="critical",
        confidence="certain",
        says=("does not answer",),
    )
    broken = BirdHost().control_socket(detail="bird /run/bird/bird.ctl: the daemon closed the connection")
    yield Example(
        name="breaks off",
        why="something listens there that is not a working BIRD",
        tables=broken.build(),
        fires=1,
        severity="critical",
        confidence="likely",
        says=("does not answer as BIRD does",),
    )
    stale = BirdHost().control_socket().link("eth0").address("eth0", "192.0.2.2/24")
    stale.route("10.0.0.0/8", via="192.0.2.1", dev="eth0", protocol=12)
    yield Example(
        name="killed, with routes left",
        why="what it had installed stays in the kernel",
        tables=stale.build(),
        fires=1,
        says=("; 1 route of BIRD's stands",),
    )
    stale6 = BirdHost().control_socket().link("eth0").address("eth0", "2001:db8::2/64")
    stale6.route("2001:db8:1::/48", via="2001:db8::1", dev="eth0", protocol=12)
    stale6.route("2001:db8:2::/48", via="2001:db8::1", dev="eth0", protocol=12)
    yield Example(
        name="killed, with IPv6 routes left",
        why="routes of both families count",
        tables=stale6.build(),
        fires=1,
        says=("; 2 routes of BIRD's",),
    )
    yield Example(
        name="one of two dead",
        why="BIRD 1.6 has a daemon for each family; the one for IPv6 is gone",
        tables=BirdHost().daemon("/run/bird/bird.ctl").control_socket("/run/bird/bird6.ctl").build(),
        fires=1,
        subject=subject("socket", path="/run/bird/bird6.ctl"),
        confidence="certain",
    )
    yield Example(
        name="leftover of an older package",
        why="the same name in another folder is alive: perhaps nothing is amiss",
        tables=BirdHost().daemon("/run/bird/bird.ctl").control_socket("/run/bird.ctl").build(),
        fires=1,
        severity="info",
    )
    yield Example(
        name="leftover, and a daemon answered there at the time of the baseline",
        why="it is gone",
        tables=BirdHost().daemon("/run/bird/bird.ctl").control_socket("/run/bird.ctl").build(),
        baseline=BirdHost().daemon("/run/bird/bird.ctl").daemon("/run/bird.ctl").build(),
        fires=1,
        severity="critical",
    )
    for name, then in (("none", "/run/bird6.ctl"), ("it was dead", "/run/bird.ctl")):
        before = BirdHost().daemon("/run/bird/bird.ctl").control_socket(then).build()
        late = BirdHost().daemon("/run/bird/bird.ctl").control_socket("/run/bird.ctl").build()
        why = "at the time of the baseline nobody answered there either"
        yield Example(name=f"leftover, {name}", why=why, tables=late, baseline=before, fires=1, severity="info")
    named = BirdHost().control_socket("/run/x.ctl", absent=True, detail="bird /run/x.ctl: No such file or directory")
    named.socket(sport=179, comm="bird")
    why = "the name is wrong; the BIRD that runs could not be read"
    yield Example(
        name="named, and another runs", why=why, tables=named.build(), fires=1, severity="info", unjudged=True
    )
    alone = BirdHost().daemon("/run/bird/bird.ctl").socket(sport=179, comm="bird").build()
    yield Example(name="alive, and it holds sockets", why="it was read", tables=alone)
    yield Example(
        name="the same name in a folder that somebody named",
        why="each has a daemon of its own",
        tables=BirdHost().daemon("/run/bird/bird.ctl").control_socket("/run/bird-inner/bird.ctl").build(),
        fires=1,
        severity="critical",
    )
    yield Example(
        name="both places dead",
        why="a dead socket of the same name is no successor",
        tables=BirdHost().control_socket("/run/bird/bird.ctl").control_socket("/run/bird.ctl").build(),
        fires=2,
        severity="critical",
    )
    yield Example(name="alive", why="it answers", tables=BirdHost().daemon().build())
    yield Example(name="no BIRD", why="most hosts have none", tables=HostBuilder().build())
    away = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24")
    yield Example(
        name="routes without a socket",
        why="BIRD was stopped in order; routes that it left are another fault",
        tables=away.route("10.0.0.0/8", via="192.0.2.1", dev="eth0", protocol=12).build(),
    )
    gone = BirdHost().control_socket(detail="bird /run/bird/bird.ctl: No such file or directory")
    yield Example(
        name="socket removed while netdiag looked",
        why="BIRD was stopped in order at this moment",
        tables=gone.build(),
    )
    yield from without_socket_examples()
