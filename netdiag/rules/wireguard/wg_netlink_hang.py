"""What it checks
  The question for WireGuard's devices gets no answer within five seconds while interfaces and addresses are told at
  once, and there is an interface of kind wireguard.

Why it matters
  wg show, wg set and wg-quick hang with it, often in D state where no signal ends them, and so does everything that
  adds peers. Packets flow for the peers that are configured, until keys or endpoints must change. Known causes: a
  removal of peers that waits for a packet which never finishes, and a worker that is stuck holding the device's lock.

Confirm
  (wg show IFNAME > /dev/null 2>&1 & sleep 2; ps -o pid,stat,wchan:32,cmd -p $!) shows that wg still waits. Not
  "timeout 5 wg show": no signal ends who waits for the lock, and timeout waits with it.
  ps -eo pid,stat,wchan:32,cmd

Fix
  Nothing lets go of the lock from outside. Save "wg showconf" from the configuration on disk, keep the output of echo w
  > /proc/sysrq-trigger, move traffic away, then ip link del IFNAME (which may hang too) and, if it does, reboot.

Not flagged
  A deadline shorter than five seconds. A machine on which interfaces are not told either (rtnl-stuck). A daemon's
  device: a userspace socket that does not answer is named in coverage.

References
  drivers/net/wireguard/netlink.c wg_get_device_dump(), device.h device_update_lock
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="wg-netlink-hang",
    title="the kernel does not answer questions about WireGuard",
    severity="critical",
    confidence="likely",
    reads=("procnet", "links"),
)
ASKED = "ps -o pid,stat,wchan:32,cmd"
LONG = 5000.0
"""Milliseconds: a device with 100,000 peers is told in less than one second."""


def check(view: HostView) -> Iterator[Draft]:
    late = [row for row in view.coverage if row.collector == "wireguard" and row.status == "timeout"]
    inside = sorted(link.ifname for link in view.links if link.kind == "wireguard")
    for row in late:
        if inside and row.duration_ms >= LONG:
            yield RULE.found(
                subject=subject("wireguard-interface", ifname=inside[0]),
                message=f"the kernel has not told about {', '.join(inside)} for {row.duration_ms / 1000:.0f} s, while "
                "interfaces are told: wg show and wg set hang",
                evidence=[
                    ("waited for devices", f"{row.duration_ms / 1000:.1f} s", "WG_CMD_GET_DEVICE"),
                    ("interfaces of kind wireguard", ", ".join(inside), "RTM_GETLINK IFLA_INFO_KIND"),
                ],
                confirm=[
                    f"(wg show {quoted(inside[0])} > /dev/null 2>&1 & sleep 2; {ASKED} -p $!)",
                    "ps -eo pid,stat,wchan:32,cmd",
                ],
                fix="echo w > /proc/sysrq-trigger  # keep dmesg for the bug report; then move traffic away and reboot",
                touches=[subject("link", ifname=name) for name in inside],
            )


def examples() -> Iterator[Example]:
    host = WireguardBuilder().wireguard("wg0").build()
    yield Example(
        name="no answer",
        why="links came, devices did not",
        tables=host,
        late=("wireguard",),
        fires=1,
        subject=subject("wireguard-interface", ifname="wg0"),
        severity="critical",
    )
    yield Example(name="answered", why="all is well", tables=host)
    daemon = WireguardBuilder().wireguard("wg0", userspace=True).build()
    yield Example(name="a daemon's device", why="coverage names the socket", tables=daemon, late=("wireguard",))
    yield Example(name="another collector is late", why="WireGuard has answered", tables=host, late=("bird",))
