"""What it checks
  The kernel has as many IPv6 routing entries of connections and exceptions as it may have
  (net.ipv6.route.max_size, 4096 by default on kernels before 6.3), or four fifths of them.

Why it matters
  At the limit no new one can be made: connect() and forwarding fail with ENETUNREACH or ENOBUFS for destinations whose
  route exists, others work on. It looks like a fault of the network that comes and goes.

Confirm
  sysctl net.ipv6.route.max_size net.ipv6.route.gc_thresh
  cat /proc/net/rt6_stats       (the sixth number, hexadecimal)

Fix
  sysctl -w net.ipv6.route.max_size=1048576, and the same in /etc/sysctl.d. It takes effect at once; an entry takes some
  hundred bytes.

Not flagged
  Linux 6.3 and later, which heed no limit whatever the setting says; Debian's 6.1 and other stable kernels have that
  change too, and there the default is the largest number there is. More entries than the limit by a tenth or more: then
  this kernel does not heed it. Namespaces that do not have the setting.

References
  net/ipv6/route.c ip6_dst_gc(), rt6_stats_seq_show(); Linux commit af6d10345ca7 ("ipv6: remove max_size check inline
  with ipv4")
"""

import re
from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="ipv6-route-cache-full",
    title="the kernel has no room for further IPv6 routing entries",
    severity="critical",
    confidence="likely",
    reads=("sysctls", "counters", "identity"),
    explains=("tcp-*", "bgp-*", "dns-*"),
    family="inet6",
)
NAME = "net.ipv6.route.max_size"
COUNTER = "rt6_stats.dst_entries"
NEAR, OVER = 0.8, 1.1
HEEDLESS = (6, 3)
"""From this release on the setting is only a number."""


def check(view: HostView) -> Iterator[Draft]:
    release = re.match(r"(\d+)\.(\d+)", view.identity.kernel)
    if release and tuple(map(int, release.groups())) >= HEEDLESS:
        return
    most, entries = view.sysctl_int(NAME), view.latest.snmp.get(COUNTER)
    if not most or entries is None or not NEAR * most <= entries < OVER * most:
        return
    full = entries >= most
    yield RULE.found(
        subject=subject("sysctl", name=NAME),
        message=f"{entries} of {most} IPv6 routing entries are in use: new destinations"
        f" {'are' if full else 'will soon be'} unreachable, whatever the routes say",
        severity="critical" if full else "warning",
        evidence=[
            ("entries", entries, "/proc/net/rt6_stats dst_entries"),
            (NAME, most, "/proc/sys/net/ipv6/route/max_size"),
        ],
        confirm=[f"sysctl {NAME} net.ipv6.route.gc_thresh", "cat /proc/net/rt6_stats"],
        fix=f"sysctl -w {NAME}=1048576",
        breaks=[subject("host")],
    )


def examples() -> Iterator[Example]:
    def case(
        name: str,
        why: str,
        entries: int | None,
        most: int | None = 4096,
        *,
        kernel: str = "5.10.0",
        severity: Any = None,
    ) -> Example:
        host = HostBuilder() if most is None else HostBuilder().sysctl(NAME, most)
        after = {} if entries is None else {COUNTER: entries}
        host.identity(kernel=kernel).counters(before={"snmp": {COUNTER: 1}}, after={"snmp": after})
        return Example(name=name, why=why, tables=host.build(), fires=int(bool(severity)), severity=severity)

    yield case("full", "the plain fault", 4096, severity="critical")
    yield case("full and one", "the kernel lets one more in", 4097, severity="critical")
    yield case("four fifths", "about to be", 3277, severity="warning")
    yield case("less", "there is room", 3276)
    yield case("far over it", "this kernel does not heed it", 4506)
    yield case("the last that heeds it", "the change came with 6.3", 4096, kernel="6.2.16", severity="critical")
    yield case("the first that does not", "an old file in /etc/sysctl.d harms nobody", 4096, kernel="6.3.0")
    yield case("a kernel of today", "the numbers are numbers", 4096, kernel="6.18.44-fc")
    yield case("no limit", "the default since then", 60000, 2**31 - 1)
    yield case("four fifths, exactly", "about to be", 8, 10, severity="warning")
    yield case("over it by a tenth", "this kernel does not heed it", 22, 20)
    yield case("no such counter", "nobody knows", None)
    yield case("another kernel's name", "it may heed it", 4096, kernel="custom", severity="critical")
    yield case("no such setting", "a namespace without it", 60000, None)
