"""What the kernel says of its clock, twice, and which daemon keeps it.

Source: adjtimex(2) with modes 0, CLOCK_REALTIME against CLOCK_BOOTTIME, names of processes, and the units that systemd
starts at boot (/etc/systemd/system/*.wants). Needs no privilege. The clock is the whole kernel's: in a container its
keeper may be out of sight. Unreadable where the kernel refuses adjtimex.
"""

import os

from netdiag.collectors import Collected, Options
from netdiag.model.host import ClockState, Daemon
from netdiag.model.text import kernel_text
from netdiag.sources.protocol import Source, Unreadable

DAEMONS = ("chronyd", "ntpd", "ntpsec", "openntpd", "systemd-timesyn", "ptp4l", "phc2sys", "timemaster", "ntpd-rs")
UNITS = {
    "chrony.service": "chronyd",
    "chronyd.service": "chronyd",
    "ntp.service": "ntpd",
    "ntpd.service": "ntpd",
    "ntpsec.service": "ntpd",
    "openntpd.service": "ntpd",
    "systemd-timesyncd.service": "systemd-timesyn",
    "ntpd-rs.service": "ntpd-rs",
}
"""Unit to the name of its process."""
WANTS = ("/etc/systemd/system/multi-user.target.wants", "/etc/systemd/system/sysinit.target.wants")
STA_NANO = 0x2000


def read_daemons(source: Source, names: tuple[str, ...]) -> tuple[Daemon, ...]:
    """Running processes by these names, with their age."""
    try:
        answer = source.fetch("processes", "\n".join(names))
    except Unreadable:
        return ()
    now = source.clock("boottime")
    ticks = os.sysconf("SC_CLK_TCK")
    found: list[Daemon] = []
    for line in answer.split(b"\n"):
        words = line.split(b" ", 2)
        if len(words) == 3 and words[0].isdigit() and words[1].isdigit():
            age = round(max(0.0, now - int(words[1]) / ticks), 1)
            found.append(Daemon(name=kernel_text(words[2]), pid=int(words[0]), age=age))
    return tuple(found)


def collect(source: Source, options: Options) -> Collected:
    """One row: the clock. Raises Unreadable."""
    pairs = (line.partition("=") for line in source.fetch("adjtimex", "read").decode("ascii", "replace").splitlines())
    values = {name: int(value) for name, _, value in pairs if value.lstrip("-").isdigit()}
    realtime, boottime = source.clock("realtime"), source.clock("boottime")
    daemons = read_daemons(source, DAEMONS)
    enabled: list[str] = []
    for folder in WANTS:
        try:
            enabled += [name for name in source.listdir(folder) if name in UNITS]
        except Unreadable:
            continue
    try:
        source.listdir("/run/systemd/system")
        systemd = True
    except Unreadable:
        systemd = False
    later_realtime = later_boottime = None
    if options.interval > 0:
        source.wait(options.interval)
        later_realtime, later_boottime = source.clock("realtime"), source.clock("boottime")
    status = values.get("status", 0)
    table = ClockState(
        state=values.get("state"),
        status=status,
        offset=values.get("offset", 0) / (1e9 if status & STA_NANO else 1e6),
        freq=round(values.get("freq", 0) / 65536, 3),
        maxerror=values.get("maxerror", 0) / 1e6,
        esterror=values.get("esterror", 0) / 1e6,
        tai=values.get("tai", 0),
        realtime=realtime,
        boottime=boottime,
        later_realtime=later_realtime,
        later_boottime=later_boottime,
        daemons=daemons,
        enabled=tuple(sorted(set(enabled))),
        systemd=systemd,
    )
    return Collected(tables={"clock": table}, rows=1)
