"""What it checks
  The kernel logs every packet with an impossible source (log_martians) and refuses more than ten of them a second.

Why it matters
  The log fills with "martian source" lines and the lines that matter drown; writing them costs time in softirq, on a
  serial console a lot of it.

Confirm
  sysctl net.ipv4.conf.all.log_martians
  nstat -az IpExtInNoRoutes IpInAddrErrors; cat /proc/net/stat/rt_cache (in_martian_src)
  dmesg | tail

Fix
  Find who sends them (the log names source, destination and interface), or a filter of this host that is too strict:
  rpfilter-strict-drops-arp and asym-rpfilter-strict-drop name those. Until then: sysctl -w
  net.ipv4.conf.all.log_martians=0 (and of the interface, either is enough).

Not flagged
  Hosts that do not log them, whatever comes in. Less than ten a second: noise of the Internet at an edge. The counter
  is one for all namespaces of the machine, so this is never more than an info.

References
  net/ipv4/route.c ip_handle_martian_source(); Documentation/networking/ip-sysctl.rst log_martians
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="log-martians-flood",
    title="the kernel logs one refused packet after another",
    severity="info",
    confidence="likely",
    reads=("links", "sysctls", "deltas"),
)
ALL = "net.ipv4.conf.all.log_martians"
COUNTER = "rt_cache.in_martian_src"
RATE = 10.0
"""Refused packets a second."""


def check(view: HostView) -> Iterator[Draft]:
    logging = [link.ifname for link in view.links if link.up and link.inet_conf.get("log_martians")]
    moved, seconds = view.deltas.snmp(COUNTER), view.deltas.seconds
    if moved is None or moved <= RATE * seconds or not (logging or view.sysctl_int(ALL)):
        return
    where = "all interfaces" if view.sysctl_int(ALL) else ", ".join(logging[:3])
    yield RULE.found(
        subject=subject("sysctl", name=ALL),
        message=f"{moved} packets with an impossible source in {seconds:.1f} s, and each is logged ({where})",
        evidence=[
            ("refused between the looks", moved, "/proc/net/stat/rt_cache in_martian_src"),
            ("logged for", where, "/proc/sys/net/ipv4/conf/*/log_martians"),
        ],
        confirm=[f"sysctl {ALL}", "cat /proc/net/stat/rt_cache"],
        fix=f"sysctl -w {ALL}=0",
    )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, moved: int, fires: int = 0, *, every: int = 1, **link: Any) -> Example:
        host = HostBuilder().sysctl(ALL, every).link("eth0", **link)
        host.counters(before={"snmp": {COUNTER: 50}}, after={"snmp": {COUNTER: 50 + moved}}, seconds=2.0)
        return Example(name=name, why=why, tables=host.build(), fires=fires)

    yield case("flood", "the plain state", 21, 1)
    yield case("ten a second", "noise", 20)
    yield case("not logged", "nobody sees them", 500, every=0)
    yield case("logged on one interface", "either is enough", 21, 1, every=0, inet_conf={"log_martians": 1})
    yield case("logged on one that is down", "nothing comes in", 500, every=0, inet_conf={"log_martians": 1}, up=False)
    yield case("counter set back", "the machine is another", -5)
