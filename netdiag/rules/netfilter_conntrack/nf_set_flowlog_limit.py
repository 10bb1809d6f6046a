"""What it checks
  A set that rules fill from packets (flag dynamic: meters, block lists, flow logs) holds as many elements as it may.

Why it matters
  What the rule would add is not added any more, and the rule stops there without a word: new sources are neither
  counted, limited nor blocked, while those that came first still are.

Confirm
  nft list set FAMILY TABLE SET

Fix
  Make the set again with a larger size, or give its elements a timeout; nft flush set FAMILY TABLE SET empties it at
  once, and forgets who was listed.

Not flagged
  Sets that only a person or program fills. Sets whose elements have a timeout are an info: they come down by
  themselves. Sets that netdiag did not read whole, unless what was read reaches the size. Dormant tables.

References
  nft(8) "SETS" and "METERS"; net/netfilter/nft_set_hash.c nft_rhash_update(), net/netfilter/nft_dynset.c
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.nft import NftElement, NftSet, NftTable
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, plain, rule, table
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="nf-set-flowlog-limit",
    title="a set that packets fill is full",
    severity="warning",
    reads=("nft",),
)


def check(view: HostView) -> Iterator[Draft]:
    for one in view.nft.tables:
        for full in () if one.dormant else one.sets:
            if full.size and "dynamic" in full.flags and len(full.elements) >= full.size:
                yield _draft(one, full)


def _users(one: NftTable, name: str) -> str | None:
    """The first chain with a rule that fills the set."""
    for at in one.chains:
        if any(step.name == "dynset" and step.set == name for row in at.rules for step in row.expressions):
            return at.name
    return None


def _draft(one: NftTable, full: NftSet) -> Draft:
    by = _users(one, full.name)
    name = f"{one.family} {one.name} {full.name}"
    passing = "timeout" in full.flags or full.timeout_ms is not None
    where = f"{one.family} {quoted(one.name)} {quoted(full.name)}"
    return RULE.found(
        subject=subject("nft-chain", family=one.family, table=one.name, chain=by, set=full.name),
        message=f"the set {name} is full ({full.size} elements): what {'chain ' + by if by else 'packets'} would add to"
        " it is left out" + (", until some time out" if passing else ""),
        severity="info" if passing else "warning",
        evidence=[
            (f"elements of {name}", len(full.elements), "NFT_MSG_GETSETELEM"),
            (f"size of {name}", full.size, "NFT_MSG_GETSET NFTA_SET_DESC_SIZE"),
        ],
        confirm=[f"nft list set {where}"],
        fix=f"nft flush set {where}",
    )


def examples() -> Iterator[Example]:
    def case(
        name: str, why: str, *, count: int = 3, fires: int = 0, severity: Any = None, dormant: bool = False, **f: Any
    ) -> Example:
        elements = tuple(NftElement(key=f"c00002{number:02x}") for number in range(count))
        known: dict[str, Any] = {"flags": ("dynamic",), "size": 3, "key_len": 4, "elements": elements}
        one = NftSet(name="seen", handle=1, **(known | f))
        at = chain("c", rule(plain("dynset", set="seen", op="add", sreg=0)), hook="input")
        tables = HostBuilder().nft(table(at, sets=(one,), dormant=dormant)).build()
        return Example(name=name, why=why, tables=tables, fires=fires, severity=severity)

    yield case("full", "the plain fault", fires=1, severity="warning")
    yield case("one left", "just below", count=2)
    yield case("with a timeout", "it comes down again", fires=1, severity="info", flags=("dynamic", "timeout"))
    yield case("default timeout", "the same", fires=1, severity="info", timeout_ms=60000)
    yield case("no size", "it grows", size=None)
    yield case("static", "whoever fills it is told", flags=())
    yield case("read in part", "what was read is enough to know", fires=1, complete=False)
    yield case("dormant", "not in force", dormant=True)
