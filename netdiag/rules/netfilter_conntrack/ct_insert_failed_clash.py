"""What it checks
  Between the two looks connection tracking failed to insert new connections (insert_failed): another packet of the
  same connection was faster, or answers to the connection would look like those to another one, and the clash could
  not be resolved. The packet is dropped.

Why it matters
  A resolver library sends its A and AAAA questions from one socket at the same moment. Where they are translated
  (DNAT to a cluster's DNS, masquerade), both are new, both get a translation, and the second one that comes to be
  inserted is lost. The client waits for its timeout: "DNS takes exactly five seconds, now and then".
  Where two networks with the same addresses are told apart by zones ("ct original zone set") and not translated, the
  second one's connections with ports of the first one's fail as long as those are tracked.

Confirm
  conntrack -S                 (insert_failed, run twice; clash_resolve alone is harmless)
  nft list ruleset | grep -E 'masquerade|dnat'

Fix
  Let translations choose ports at random: masquerade fully-random (iptables: --random-fully), which makes clashes of
  source ports rare. For the resolver: options single-request-reopen in /etc/resolv.conf, or a caching resolver on the
  host that needs no translation. DNS over UDP can go past tracking altogether (notrack) where nothing translates it.
  With zones: let the zone hold for both directions (ct zone set), or translate the sources.

Not flagged
  Those dropped because their chain is too long: ct-buckets-small.
  clashres (clash_resolve): the clash was resolved, nothing was lost. A single failure in the time between the looks:
  it happens. Totals since boot. With one sample nothing can be said.

References
  net/netfilter/nf_conntrack_core.c __nf_conntrack_confirm(), nf_ct_resolve_clash(); kernel commit ed07d9a021df
  (races of UDP); nft(8) "NAT STATEMENTS"
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="ct-insert-failed-clash",
    title="connection tracking loses packets that race each other",
    severity="warning",
    confidence="likely",
    reads=("conntrack_state",),
)
SOME = 2


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    state = view.conntrack_state
    if state.second_at is None:
        yield Unjudged(reason="conntrack_state: one sample only")
        return
    failed = state.moved("insert_failed")
    failed = None if failed is None else failed - state.chains_too_long()
    if failed is None or failed < SOME:
        return
    seconds = round(state.second_at - state.at, 1)
    yield RULE.found(
        subject=subject("conntrack", table="nf_conntrack"),
        message=f"{failed} new connections could not be inserted in {seconds} s: packets that raced another of the same"
        " connection, or whose answers would look like another's, were dropped",
        evidence=[
            ("insert_failed", failed, "/proc/net/stat/nf_conntrack insert_failed, between the looks"),
            ("clashes resolved", state.moved("clashres") or 0, "/proc/net/stat/nf_conntrack clashres"),
        ],
        confirm=["conntrack -S"],
        fix="use fully-random in masquerade and snat rules, and single-request-reopen in /etc/resolv.conf",
    )


def _case(name: str, why: str, fires: int = 0, *, unjudged: bool = False, **moved: int) -> Example:
    first = {"insert_failed": 100, "clashres": 50, "chainlength": 0}
    host = HostBuilder().conntrack_state(count=10, at=1.0, first=first)
    if not unjudged:
        host.conntrack_state(second_at=2.0, second={name: value + moved.get(name, 0) for name, value in first.items()})
    return Example(name=name, why=why, tables=host.build(), fires=fires, unjudged=unjudged)


def examples() -> Iterator[Example]:
    yield _case("two failures", "packets are lost", 1, insert_failed=2)
    yield _case("one failure", "it happens on any busy host", insert_failed=1)
    yield _case("chains that are too long", "ct-buckets-small", insert_failed=41, chainlength=40)
    yield _case("clashes beside them", "both are counted", 1, insert_failed=42, chainlength=40)
    yield _case("clashes resolved", "nothing was lost", clashres=40)
    yield _case("failures long ago", "totals are not judged")
    yield _case("set back", "the counters are those of a new namespace", insert_failed=-100)
    yield _case("one sample", "there is nothing to compare", unjudged=True)
