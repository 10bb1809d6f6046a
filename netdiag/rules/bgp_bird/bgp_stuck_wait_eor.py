"""What it checks
  BIRD was started to recover from a graceful restart and still waits for neighbours to send all their routes (End of
  RIB), for more than 240 seconds.

Why it matters
  Until the last neighbour has spoken, or the timer is over, BIRD neither cleans the kernel's table nor announces as
  usual: routes from before the restart are in force, whatever has changed since. One neighbour that is dead holds up
  all the others.

Confirm
  birdc show status
  birdc show protocols

Fix
  Bring the neighbour back; or disable the session of the one that does not come (birdc disable NAME), which ends the
  wait for it. For the next time: "graceful restart wait 60;" or so in bird.conf. When the wait ends, routes that nobody
  sent again are removed from the kernel.

Not flagged
  The first 240 seconds, which are the default: told as info. A daemon that is not recovering.

References
  RFC 4724; nest/proto.c graceful_restart_show_status(), graceful_restart_timeout() of BIRD
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.bgpsessions import birdc
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="bgp-stuck-wait-eor",
    title="BIRD waits for neighbours after its restart, and uses old routes meanwhile",
    severity="warning",
    reads=("bird",),
)
USUAL = 240.0
"""Seconds: BIRD's default "graceful restart wait"."""


def check(view: HostView) -> Iterator[Draft]:
    for daemon in view.bird.daemons:
        left, most = daemon.recovery_left, daemon.recovery_wait
        if not daemon.recovery_channels or left is None or most is None:
            continue
        waited, count = most - left, f"{daemon.recovery_channels} channels"
        down = [row.name for row in daemon.protocols if row.proto == "BGP" and row.state != "up"]
        for_whom = f" ({', '.join(down[:3])} not up)" if down else ""
        yield RULE.found(
            subject=subject("socket", path=daemon.socket),
            message=f"BIRD has waited {waited:.0f} s since its restart for {count}{for_whom}, and will for"
            f" {left:.0f} s more: routes from before are in force meanwhile",
            severity="warning" if waited > USUAL else "info",
            evidence=[
                ("channels that it waits for", daemon.recovery_channels, f"{daemon.socket} show status"),
                ("wait timer", f"{left:.0f} s of {most:.0f} s left", f"{daemon.socket} show status"),
            ],
            confirm=[birdc(daemon.socket, "show status"), birdc(daemon.socket, "show protocols")],
            fix=birdc(daemon.socket, f"disable {down[0]}")
            if len(down) == 1
            else birdc(daemon.socket, "show protocols"),
        )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, severity: Any = None, **fields: Any) -> Example:
        looks: dict[str, Any] = {"recovery_channels": 1, "recovery_left": 100.0, "recovery_wait": 600.0}
        host = BirdHost().daemon(**(looks | fields)).bgp_down("up1")
        return Example(name=name, why=why, tables=host.build(), fires=int(severity is not None), severity=severity)

    yield case("five hundred seconds", "one neighbour is dead", "warning")
    yield case("241 seconds", "just longer than usual", "warning", recovery_left=359.0)
    yield case("240 seconds", "as long as BIRD waits by itself", "info", recovery_left=360.0)
    yield case("just started", "everybody may come", "info", recovery_left=239.0, recovery_wait=240.0)
    yield case("nobody left", "it is about to end", recovery_channels=0)
    yield case("not recovering", "the ordinary daemon", recovery_channels=None, recovery_left=None, recovery_wait=None)
    yield case("timer not told", "another release", recovery_left=None)
    yield case("wait not told", "another release", recovery_wait=None)
