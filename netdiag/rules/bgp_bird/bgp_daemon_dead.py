"""What it checks
  A control socket of BIRD exists, and behind it is no daemon that answers: nobody listens any more (connection
  refused), or the connection stands and no greeting comes within five seconds, or the connection breaks. The usual
  places are looked at, and those given with --bird-socket.

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
  A host without any control socket: it has no BIRD, or BIRD was stopped on purpose. A socket that netdiag may not
  open (then the rule is not evaluated). A dead socket with a living daemon on a socket of the same name in another
  folder, left behind by an older package, is told as a possibility only.

References
  unix(7), connect(2) ECONNREFUSED; sysdep/unix/main.c async_shutdown() and sysdep_shutdown_done(), nest/cli.c of BIRD
"""

from collections.abc import Iterator

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.bird import BirdSocket
from netdiag.model.finding import Confidence, Draft, subject
from netdiag.rules.bgpsessions import birdc
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bgp-daemon-dead",
    title="BIRD is gone or hangs, and its control socket is still there",
    severity="critical",
    reads=("bird_sockets", "routes"),
    explains=(
        "bgp-*",
        "bird-*",
        "fib-route-stale-daemon-gone",
        "route-default-missing",
        "tcp-rcvq-stuck",
        "unix-bird-socket-stuck",
    ),
)

RTPROT_BIRD = 12
"""include/uapi/linux/rtnetlink.h."""


def installed(view: HostView) -> int:
    """Kernel routes that some BIRD has put there."""
    return sum(int(np.count_nonzero(view.routes(family).protocol == RTPROT_BIRD)) for family in ("inet", "inet6"))


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


def confidence_of(dead: BirdSocket, alive: set[str]) -> Confidence:
    """A socket of the same name with a daemon behind it may be this one's successor."""
    if dead.path.rpartition("/")[2] in alive:
        return "possible"
    return "certain" if dead.hangs or reason(dead) == "Connection refused" else "likely"


def check(view: HostView) -> Iterator[Draft]:
    alive = {row.path.rpartition("/")[2] for row in view.bird_sockets if row.alive}
    routes = installed(view)
    for dead in view.bird_sockets:
        if dead.alive or reason(dead) == "No such file or directory":  # it went while netdiag looked
            continue
        left = f"; {routes} route{'s' if routes > 1 else ''} of BIRD's stand in the kernel" if routes else ""
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
            confidence=confidence_of(dead, alive),
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
        says=("; 1 route of BIRD's stand",),
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
