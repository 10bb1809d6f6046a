"""What it checks
  The table of tracked connections of this namespace is full, or nearly: entries against nf_conntrack_max, and whether
  the kernel dropped packets or evicted connections for lack of room between the two looks.

Why it matters
  At the limit every packet of a new connection is dropped ("nf_conntrack: table full, dropping packet" in the kernel's
  log), while established connections go on: half of everything works. Before that, connections that were never answered
  are evicted (early_drop), and each of those may have been a slow answer.

Confirm
  sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max
  conntrack -S                       (drop and early_drop, run twice)
  conntrack -L -o extended | awk '{print $3, $4, $6}' | sort | uniq -c | sort -n | tail

Fix
  sysctl -w net.netfilter.nf_conntrack_max=N in the initial namespace (it cannot be set elsewhere, and counts for each
  namespace by itself). An entry takes about 320 bytes; keep buckets at a quarter of it or more
  (net.netfilter.nf_conntrack_buckets). Then ask what fills it: a scan, a flood, or a service that needs no tracking
  (notrack in a raw chain). Raising the limit cuts off nobody.

Not flagged
  A table below 95% in which nothing was dropped. Drops counted while there was room: other errors share the counter. A
  limit of 0, which is none. Namespaces with few entries: each counts its own.

References
  net/netfilter/nf_conntrack_core.c __nf_conntrack_alloc(), early_drop(); Documentation/networking/
  nf_conntrack-sysctl.rst
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Severity, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="ct-table-full",
    title="the table of tracked connections is full",
    severity="critical",
    reads=("conntrack_state",),
    explains=("dns-*", "tcp-*", "ct-insert-failed-clash"),
)
NEAR, PRESSED = 0.95, 0.8
"""Share of the limit from which it is about to be full, and below which drops have another reason."""


PUSHES = "push out others that were not answered yet, and are dropped where there are none"
COMING = "will be dropped"


def check(view: HostView) -> Iterator[Draft]:
    state = view.conntrack_state
    if not state.max:
        return
    share = state.count / state.max
    dropped, evicted = state.moved("drop") or 0, state.moved("early_drop") or 0
    if share < PRESSED or (share < NEAR and not dropped and not evicted):
        return
    severity: Severity = "critical" if dropped or state.count >= state.max else "warning"
    lost = [
        f"{number} {what}"
        for number, what in ((dropped, "packets dropped"), (evicted, "connections evicted"))
        if number
    ]
    seconds = round(state.second_at - state.at, 1) if state.second_at is not None else None
    meanwhile = f", {' and '.join(lost)} in {seconds} s" if lost else ""
    yield RULE.found(
        subject=subject("conntrack", table="nf_conntrack"),
        message=f"{state.count} of {state.max} tracked connections ({share:.0%}){meanwhile}: new connections "
        + ("are dropped" if dropped else PUSHES if evicted else "are dropped" if severity == "critical" else COMING),
        evidence=[
            ("entries", state.count, "/proc/sys/net/netfilter/nf_conntrack_count"),
            ("limit", state.max, "/proc/sys/net/netfilter/nf_conntrack_max"),
            ("dropped between the looks", dropped, "/proc/net/stat/nf_conntrack drop"),
            ("evicted between the looks", evicted, "/proc/net/stat/nf_conntrack early_drop"),
        ],
        confirm=["sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max", "conntrack -S"],
        fix=f"sysctl -w net.netfilter.nf_conntrack_max={state.max * 2}  # in the initial namespace; it holds for all",
        severity=severity,
    )


def _case(name: str, why: str, fires: int = 0, *, moved: dict[str, int] | None = None, **state: Any) -> Example:
    looks: dict[str, Any] = {"at": 10.0, "first": {"drop": 5, "early_drop": 7}}
    if moved is not None:
        looks |= {"second_at": 11.0, "second": {k: v + moved.get(k, 0) for k, v in looks["first"].items()}}
    severity, says = state.pop("severity", None), state.pop("says", ())
    tables = HostBuilder().conntrack_state(**(looks | {"max": 1000} | state)).build()
    return Example(name=name, why=why, tables=tables, fires=fires, severity=severity, says=says)


def examples() -> Iterator[Example]:
    told = {"count": 1000, "severity": "critical"}
    yield _case("full and dropping", "the plain fault", 1, moved={"drop": 4}, says=("are dropped",), **told)
    yield _case("full and evicting", "those without an answer go", 1, moved={"early_drop": 4}, says=(PUSHES,), **told)
    yield _case("evicting", "it is pressed", 1, count=810, moved={"early_drop": 4}, severity="warning")
    yield _case("dropping in bursts", "it was full in between", 1, count=800, moved={"drop": 4}, severity="critical")
    yield _case("95 in 100", "nothing was lost yet", 1, count=950, moved={}, severity="warning")
    yield _case("full, one sample", "the limit itself proves it", 1, count=1000, severity="critical")
    yield _case("94 in 100", "just below", count=949, moved={})
    yield _case("drops with room", "other errors share the counter", count=799, moved={"drop": 9})
    yield _case("dropped long ago", "totals are not judged", count=900, moved={})
    yield _case("no limit", "0 means none", count=70000, max=0, moved={"drop": 1})
    yield _case("counters set back", "the namespace is a new one", count=900, moved={"drop": -5, "early_drop": -7})
