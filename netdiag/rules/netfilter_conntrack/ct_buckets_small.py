"""What it checks
  The hash table of tracked connections has far fewer buckets than this namespace has entries: more than four of them
  for each bucket, or the kernel refused an entry because a bucket's chain was too long (chaintoolong).

Why it matters
  Every packet walks the chain of its bucket. With long chains the CPU burns in nf_conntrack_find, softirqs run late,
  and since Linux 5.15 a new connection whose chain is too long is dropped.

Confirm
  sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_buckets
  conntrack -S                          (chaintoolong)

Fix
  sysctl -w net.netfilter.nf_conntrack_buckets=N, in the initial namespace, with N about nf_conntrack_max: the table is
  shared by all namespaces, and is made anew while packets flow. A bucket takes 8 bytes.

Not flagged
  Up to four entries a bucket; the default since Linux 5.15 is one bucket for each entry of nf_conntrack_max, before it
  was one for four. Less than 4096 entries: short chains whatever the table. Entries of other namespaces are not
  counted, so the chains may be longer than told.

References
  net/netfilter/nf_conntrack_core.c nf_conntrack_hash_resize(), nf_conntrack_hash_check_insert() (MIN_CHAINLEN,
  Linux 5.15); Documentation/networking/nf_conntrack-sysctl.rst
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="ct-buckets-small",
    title="the hash table of tracked connections is too small for them",
    severity="critical",
    reads=("conntrack_state",),
)
NAME = "net.netfilter.nf_conntrack_buckets"
CHAIN, MANY = 4, 4096
"""Entries a bucket, and entries at all, from which on it is told."""


def check(view: HostView) -> Iterator[Draft]:
    state = view.conntrack_state
    refused = state.chains_too_long()
    long = bool(state.buckets) and state.count >= MANY and state.count > CHAIN * state.buckets
    if not refused and not long:
        return
    mean = state.count / state.buckets if state.buckets else 0.0
    wanted = 1 << (max(state.count, state.max, 1024) - 1).bit_length()
    lost = f"; {refused} new connections were dropped for that since the first look" if refused else ""
    yield RULE.found(
        subject=subject("sysctl", name=NAME),
        message=f"{state.count} tracked connections share {state.buckets} buckets, {mean:.0f} each: every packet walks"
        f" a long chain{lost}",
        severity="critical" if refused else "warning",
        evidence=[
            ("entries", state.count, "/proc/sys/net/netfilter/nf_conntrack_count"),
            ("buckets", state.buckets, "/proc/sys/net/netfilter/nf_conntrack_buckets"),
            ("refused between the looks", refused, "/proc/net/stat/nf_conntrack chainlength"),
        ],
        confirm=[f"sysctl net.netfilter.nf_conntrack_count {NAME}", "conntrack -S"],
        fix=f"sysctl -w {NAME}={wanted}",
    )


def _case(name: str, why: str, fires: int = 0, *, refused: int | None = None, **fields: Any) -> Example:
    severity = fields.pop("severity", None)
    looks: dict[str, Any] = {"at": 10.0, "first": {"chainlength": 5}}
    if refused is not None:
        looks |= {"second_at": 11.0, "second": {"chainlength": 5 + refused}}
    tables = HostBuilder().conntrack_state(**(looks | {"buckets": 1024, "max": 65536} | fields)).build()
    return Example(name=name, why=why, tables=tables, fires=fires, severity=severity)


def examples() -> Iterator[Example]:
    yield _case("long chains", "just above four a bucket", 1, count=4097, severity="warning")
    yield _case("chains of four", "at the limit", count=4096)
    yield _case("few entries", "short chains, however small the table", count=4095, buckets=64)
    yield _case("many, few buckets", "just enough of them", 1, count=4096, buckets=64, severity="warning")
    yield _case("refused", "connections are lost", 1, count=900, refused=3, severity="critical")
    yield _case("refused long ago", "totals are not judged", count=900, refused=0)
    yield _case("counter set back", "the namespace is a new one", count=900, refused=-2)
    yield _case("one each", "the default since 5.15", count=60000, buckets=65536)
    yield _case("buckets not told", "nothing to divide by", count=60000, buckets=0)
