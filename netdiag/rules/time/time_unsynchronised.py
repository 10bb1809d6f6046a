"""What it checks
  A time daemon runs on this host, or is one that systemd starts at boot and is not running, or ran at the time of the
  baseline, when the clock was right, and does not now; and the kernel says that its clock is not synchronised
  (STA_UNSYNC of adjtimex).

Why it matters
  The clock drifts away unseen: certificates are "not yet valid", tokens and leases run out early, WireGuard refuses
  handshakes of a host whose clock went back, logs of two hosts no longer fit together.

Confirm
  adjtimex --print or timedatectl: System clock synchronized: no
  chronyc -n sources; chronyc tracking (timedatectl timesync-status, ntpq -p)

Fix
  See why the daemon has no source: its servers, DNS, a firewall that drops UDP 123. One that does not run:
  systemctl restart chrony. A jump of the clock disturbs what depends on it; chrony slews unless it is told to step.

Not flagged
  A host on which nothing keeps the time: a container, a sandbox, a virtual machine whose clock the hypervisor keeps.
  The first ten minutes after boot, and a minute after the daemon's start where the clock was right before. A clock
  that the kernel holds for synchronised, whoever keeps it.

References
  adjtimex(2); kernel/time/ntp.c second_overflow(), ntp_update_frequency(); chronyd(8)
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.host import ClockState, Daemon
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="time-unsynchronised",
    title="the clock is not synchronised",
    severity="warning",
    reads=("clock",),
    consults=("baseline",),
)
SETTLED = 600.0
"""Seconds since boot from which on the clock should be right."""
GRACE = 60.0
"""Seconds that a daemon gets after its start where somebody had set the clock not long before."""
LONG_AGO = 16.0
"""maxerror grows by half a millisecond a second up to this, NTP_PHASE_LIMIT: nine hours, or never set since boot."""

ASK = {
    "chronyd": "chronyc -n sources",
    "systemd-timesyn": "timedatectl timesync-status",
    "ntpd": "ntpq -pn",
    "ntpsec": "ntpq -pn",
    "ntpd-rs": "ntp-ctl status",
}
"""What each daemon tells of its servers."""


def keeper(view: HostView) -> str | None:
    """Who should keep the clock, in words; None where nobody should, or it has not had its time yet."""
    clock, old = view.clock, view.baseline
    if clock.daemons:
        daemon = max(clock.daemons, key=lambda row: row.age or 0.0)
        young = daemon.age is not None and daemon.age < GRACE
        return None if young and clock.maxerror < LONG_AGO else f"{daemon.name} runs"
    if clock.enabled and clock.systemd:
        return f"{clock.enabled[0]} is enabled and does not run"
    if old is not None and old.read_whole("clock") and old.clock.daemons and old.clock.synchronised:
        return f"{old.clock.daemons[0].name} ran at the time of the baseline of {old.meta.taken_at} and does not run"
    return None


def check(view: HostView) -> Iterator[Draft]:
    clock = view.clock
    if clock.synchronised is not False or clock.boottime < SETTLED:
        return
    who = keeper(view)
    if who is None:
        return
    ago = (
        "for hours, or not since boot"
        if clock.maxerror >= LONG_AGO
        else f"for {clock.maxerror / 0.0005 / 60:.0f} minutes at most"
    )
    yield RULE.found(
        subject=subject("host"),
        message=f"the clock is not synchronised: {who}, and nobody has set the clock {ago}",
        evidence=[
            ("status", f"{clock.status:#x} (STA_UNSYNC)", "adjtimex"),
            ("maxerror", f"{clock.maxerror:.3f} s", "adjtimex"),
            ("time daemon", who, "/proc/PID/comm, /etc/systemd/system/*.wants"),
        ],
        confirm=[
            "timedatectl show -p NTPSynchronized || cat /proc/driver/rtc; date",
            "ss -nu dport = :123; ps -C chronyd,ntpd,systemd-timesyncd",
        ],
        fix=_mend(clock),
    )


def _mend(clock: ClockState) -> str:
    """What to do about a daemon without a source, or about one that does not run."""
    if clock.daemons:
        ask = ASK.get(clock.daemons[0].name, f"systemctl status {clock.daemons[0].name}")
        return f"find out why the daemon reaches no server: {ask} (servers, DNS, UDP 123)"
    if clock.enabled:
        return f"systemctl restart {clock.enabled[0]}; systemctl status {clock.enabled[0]} says why it did not run"
    return "start the time daemon again, and see that it is started at boot (systemctl enable --now)"


def examples() -> Iterator[Example]:
    def case(name: str, why: str, fires: int, **fields: Any) -> Example:
        given: dict[str, Any] = {"state": 5, "status": 0x40, "maxerror": 16.0, "boottime": 600.0}
        return Example(name=name, why=why, tables=HostBuilder().clock(**(given | fields)).build(), fires=fires)

    def runs(name: str = "chronyd", age: float | None = 500.0) -> tuple[Daemon, ...]:
        return (Daemon(name=name, pid=7, age=age),)

    enabled = {"enabled": ("chrony.service",), "systemd": True}
    yield case("a daemon without a source", "the plain fault", 1, daemons=runs())
    yield case("timesyncd", "another daemon", 1, daemons=runs("systemd-timesyn"))
    yield case("just started, never set", "ten minutes after boot nobody has set the clock", 1, daemons=runs(age=1.0))
    yield case("running for a minute, set before", "long enough", 1, daemons=runs(age=60.0), maxerror=1.0)
    yield case("age not known", "no reason to wait", 1, daemons=runs(age=None), maxerror=1.0)
    died = case("enabled and not running", "it died", 1, **enabled)
    yield replace(died, says=("systemctl restart chrony.service",))
    yield case("synchronised", "as it should be", 0, daemons=runs(), status=0x1, state=0, maxerror=0.1)
    yield case("nobody keeps the time", "a sandbox", 0)
    yield case("nobody keeps the time, with systemd", "a machine whose hypervisor does", 0, systemd=True)
    yield case("enabled in an image, no systemd", "a container of a full system", 0, enabled=("chrony.service",))
    yield case("restarted a moment ago", "it needs some seconds", 0, daemons=runs(age=59.9), maxerror=1.0)
    yield case(
        "restarted a moment ago, set long ago", "it was right some hours", 0, daemons=runs(age=1.0), maxerror=15.9
    )
    yield case("just booted", "it needs some minutes", 0, daemons=runs(), boottime=599.9)
    yield case("the kernel did not say", "that proves nothing", 0, daemons=runs(), state=None)
    for name, fields, fires in (
        ("ran, and the clock was right", {"daemons": (Daemon(name="chronyd", pid=7, age=9000.0),)}, 1),
        (
            "ran, and the clock was not right",
            {"daemons": (Daemon(name="chronyd", pid=7),), "status": 0x40, "state": 5},
            0,
        ),
        ("did not run", {}, 0),
    ):
        now, then = HostBuilder().clock(status=0x40, maxerror=16.0, state=5), HostBuilder().clock(**fields)
        yield Example(
            name=f"no daemon, and one {name} at the time of the baseline",
            why="somebody kept it, or nobody did",
            tables=now.build(),
            baseline=then.build(),
            fires=fires,
        )
