"""What it checks
  Two different time daemons that run on this host at once: chronyd, ntpd, systemd-timesyncd.

Why it matters
  Both steer the same kernel clock, each undoes the other's corrections: the offset swings, frequency estimates never
  settle, and the clock may be stepped again and again.

Confirm
  ps -C chronyd,ntpd,systemd-timesyncd

Fix
  Keep one: systemctl disable --now systemd-timesyncd. It disturbs nothing; the other goes on.

Not flagged
  Several processes of one daemon (chronyd has a helper). ptp4l and phc2sys beside chronyd, which share the work.

References
  chronyd(8), ntpd(8), systemd-timesyncd.service(8), adjtimex(2)
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.host import Daemon
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="time-two-daemons",
    title="two daemons steer the clock",
    severity="warning",
    reads=("clock",),
)
STEERS = {
    "chronyd": "chronyd",
    "ntpd": "ntpd",
    "ntpsec": "ntpd",
    "openntpd": "openntpd",
    "systemd-timesyn": "systemd-timesyncd",
    "ntpd-rs": "ntpd-rs",
}


def check(view: HostView) -> Iterator[Draft]:
    found = {STEERS[row.name]: row.pid for row in view.clock.daemons if row.name in STEERS}
    if len(found) < 2:
        return
    names = sorted(found)
    extra = "systemd-timesyncd" if "systemd-timesyncd" in found else names[-1]
    yield RULE.found(
        subject=subject("host"),
        message=f"{' and '.join(names)} both steer the clock of this host",
        evidence=[(name, f"pid {found[name]}", "/proc/PID/comm") for name in names],
        confirm=[f"ps -o pid,comm -p {','.join(str(found[name]) for name in names)}"],
        fix=f"systemctl disable --now {extra}  # keep one",
    )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, fires: int, *names: str) -> Example:
        daemons = tuple(Daemon(name=row, pid=number, age=900.0) for number, row in enumerate(names, 7))
        return Example(name=name, why=why, tables=HostBuilder().clock(daemons=daemons).build(), fires=fires)

    yield case("chronyd and timesyncd", "the plain fault", 1, "chronyd", "systemd-timesyn")
    yield case("ntpd and chronyd", "left over from an upgrade", 1, "ntpd", "chronyd")
    yield case("one with a helper", "two processes of one daemon", 0, "chronyd", "chronyd")
    yield case("with PTP", "they share the work", 0, "chronyd", "ptp4l", "phc2sys")
    yield case("one", "as it should be", 0, "systemd-timesyn")
    yield case("none", "a container", 0)
