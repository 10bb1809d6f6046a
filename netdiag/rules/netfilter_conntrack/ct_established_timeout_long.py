"""What it checks
  An established TCP connection is tracked for days after its last packet
  (nf_conntrack_tcp_timeout_established, five days by default), the table is more than half full, and most of it are
  such connections that have been idle for a day or more.

Why it matters
  A peer that vanished without a FIN or RST (a power cut, a firewall that drops) leaves an entry which nothing but the
  timeout removes. They pile up until the table is full, and then new connections are dropped.

Confirm
  sysctl net.netfilter.nf_conntrack_tcp_timeout_established net.netfilter.nf_conntrack_count
  conntrack -L -p tcp --state ESTABLISHED | sort -k3 -n | head

Fix
  sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=86400. Entries that exist keep what they have until their
  next packet; conntrack -D removes single ones. Not below the keepalive of what runs through (two hours and some).

Not flagged
  A table with room: long timeouts alone are what the kernel ships. Connections that are idle for less than a day, as
  proxies and databases have them by the thousand.

References
  net/netfilter/nf_conntrack_proto_tcp.c tcp_timeouts[]; RFC 5382 REQ-5; Documentation/networking/
  nf_conntrack-sysctl.rst
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.conntrack import IPS_ASSURED
from netdiag.model.finding import Draft, subject
from netdiag.model.protocols import IPPROTO_TCP
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="ct-established-timeout-long",
    title="the table of tracked connections fills with dead ones",
    severity="warning",
    confidence="likely",
    reads=("conntrack", "conntrack_state"),
    explains=("ct-table-full",),
)
NAME = "net.netfilter.nf_conntrack_tcp_timeout_established"
ESTABLISHED, DAY = 3, 86400


def check(view: HostView) -> Iterator[Draft]:
    state, table = view.conntrack_state, view.conntrack
    timeout = state.settings.get("tcp_timeout_established")
    if timeout is None or timeout <= DAY or not state.max or state.count * 2 <= state.max:
        return
    idle = (table.proto == IPPROTO_TCP) & (table.tcp_state == ESTABLISHED) & ((table.status & IPS_ASSURED) != 0)
    idle &= table.timeout.astype(np.int64) <= timeout - DAY
    dead = int(np.count_nonzero(idle))
    if dead * 2 <= len(table):
        return
    yield RULE.found(
        subject=subject("sysctl", name=NAME),
        message=f"{dead} of {len(table)} tracked connections have not seen a packet for a day, and stay for"
        f" {timeout // DAY} days: they take up half of the {state.max} that there may be",
        evidence=[
            (NAME, timeout, f"/proc/sys/{NAME.replace('.', '/')}"),
            ("idle for a day or more", dead, "IPCTNL_MSG_CT_GET CTA_TIMEOUT"),
            ("entries", f"{state.count} of {state.max}", "/proc/sys/net/netfilter/nf_conntrack_count"),
        ],
        confirm=[f"sysctl {NAME} net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max"],
        fix=f"sysctl -w {NAME}={DAY}",
        touches=[subject("conntrack", table="nf_conntrack")],
        breaks=[subject("conntrack", table="nf_conntrack")],
    )


def _case(name: str, why: str, fires: int = 0, *, idle: int = 3, fresh: int = 2, **fields: Any) -> Example:
    entry = fields.pop("entry", {})
    days = fields.pop("timeout", 5 * DAY)
    host = HostBuilder()
    for number in range(idle + fresh):
        left = days - DAY if number < idle else days - DAY + 1
        ends = f"10.0.0.2 {1000 + number} 192.0.2.1 443", f"192.0.2.1 443 10.0.0.2 {1000 + number}"
        host.conntrack(IPPROTO_TCP, *ends, **({"timeout": max(left, 0), "tcp_state": "established"} | entry))
    host.conntrack_state(**({"count": 6, "max": 11, "settings": {"tcp_timeout_established": days}} | fields))
    return Example(name=name, why=why, tables=host.build(), fires=fires)


def examples() -> Iterator[Example]:
    yield _case("most are dead", "the plain fault", 1)
    yield _case("half are dead", "just below", idle=2, fresh=2)
    yield _case("half full", "there is room", max=12)
    yield _case("idle for less", "proxies hold such connections", idle=0, fresh=5)
    yield _case("no timeout told", "not known", settings={})
    yield _case("one day", "as advised", timeout=DAY)
    yield _case("not assured", "such entries are thrown out first when it gets tight", entry={"status": 0xA})
    yield _case("closing", "they go by themselves", entry={"tcp_state": "time_wait"})
    yield _case("no limit told", "nothing to fill", max=0)
