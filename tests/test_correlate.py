"""netdiag.correlate: causes above symptoms, chains as chains, never a cycle, independent faults apart."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from netdiag.correlate import arrange
from netdiag.model.finding import Confidence, Draft, Finding, Severity, Subject, family_of, finding_id, subject

ETH0 = subject("link", ifname="eth0")
GATEWAY = subject("neighbour", dst="192.0.2.1", ifname="eth0")
SESSION = subject("bgp-session", name="up1")


def draft(
    rule: str,
    about: Subject,
    *,
    severity: Severity = "warning",
    confidence: Confidence = "certain",
    touches: tuple[Subject, ...] = (),
    breaks: tuple[Subject, ...] = (),
) -> Draft:
    finding = Finding(
        id=finding_id(rule, about, None),
        rule=rule,
        severity=severity,
        confidence=confidence,
        subject=about,
        message=rule,
        evidence=(),
        confirm=(),
        fix="",
    )
    return Draft(finding=finding, touches=touches, breaks=breaks)


CHAIN = [
    draft("session-down", SESSION, severity="critical", touches=(GATEWAY,)),
    draft("gateway-failed", GATEWAY, severity="critical", touches=(ETH0,), breaks=(SESSION,)),
    draft("link-broken", ETH0, breaks=(GATEWAY,)),
]
EXPLAINS = {"link-broken": ("gateway-*", "session-*"), "gateway-failed": ("session-*",)}


def shape(findings: tuple[Finding, ...]) -> list[tuple[str, str | None]]:
    names = {finding.id: finding.rule for finding in findings}
    return [(f.rule, names.get(f.explained_by or "")) for f in findings]


def test_a_chain_comes_out_as_a_chain() -> None:
    found = arrange(CHAIN, EXPLAINS)
    assert shape(found) == [
        ("link-broken", None),
        ("gateway-failed", "link-broken"),
        ("session-down", "gateway-failed"),
    ]


LONG = [
    draft("port-down", subject("link", ifname="eth0"), breaks=(subject("link", ifname="bond0"),)),
    draft("bond-down", subject("link", ifname="bond0"), breaks=(subject("route", dst="0.0.0.0/0", table=254),)),
    draft("default-gone", subject("route", dst="0.0.0.0/0", table=254), breaks=(subject("link", ifname="wg0"),)),
    draft("tunnel-dead", subject("link", ifname="wg0"), breaks=(SESSION,)),
    draft("session-down", SESSION, severity="critical"),
]
ALL_BELOW = {one.finding.rule: tuple(other.finding.rule for other in LONG[n + 1 :]) for n, one in enumerate(LONG)}


@given(st.permutations(LONG), st.integers(0, 31))
def test_a_chain_of_five_has_one_root_and_each_hangs_under_the_nearest(drafts: list[Draft], healthy: int) -> None:
    """Whatever the order in which the rules spoke; and where links of the chain are missing, what is left hangs
    together as far as somebody says so."""
    assert shape(arrange(drafts, ALL_BELOW)) == [
        (one.finding.rule, LONG[n - 1].finding.rule if n else None) for n, one in enumerate(LONG)
    ]
    left = [one for one in drafts if not healthy >> LONG.index(one) & 1]
    for name, cause in shape(arrange(left, ALL_BELOW)):
        at = next(n for n, one in enumerate(LONG) if one.finding.rule == name)
        above = at > 0 and LONG[at - 1] in left
        assert cause == (LONG[at - 1].finding.rule if above else None)


def test_a_cause_is_as_severe_as_what_it_explains() -> None:
    assert arrange(CHAIN, EXPLAINS)[0].severity == "critical"


def test_explains_is_the_inverse_of_explained_by() -> None:
    found = arrange(CHAIN, EXPLAINS)
    for finding in found:
        assert set(finding.explains) == {other.id for other in found if other.explained_by == finding.id}


def test_the_same_rules_on_other_objects_stay_apart() -> None:
    other = draft("gateway-failed", subject("neighbour", dst="198.51.100.1", ifname="eth1"), severity="critical")
    found = arrange([*CHAIN, other], EXPLAINS)
    assert [f.rule for f in found if f.explained_by is None] == ["link-broken", "gateway-failed"]


def test_a_guess_explains_nothing() -> None:
    guess = draft("link-broken", ETH0, severity="info", confidence="possible")
    found = arrange([CHAIN[1], guess], EXPLAINS)
    assert all(finding.explained_by is None for finding in found)


def test_two_rules_that_explain_each_other_do_not_loop() -> None:
    pair = [draft("a", ETH0), draft("b", ETH0)]
    found = arrange(pair, {"a": ("b",), "b": ("a",)})
    assert [f.explained_by is None for f in found] == [True, False]


def test_information_is_told_by_how_likely_it_is_the_trouble() -> None:
    """The rule's own gravity, then certainty, then breadth; where traffic is lost, certainty, then breadth."""
    lo = subject("link", ifname="lo")
    low = draft("a-setting", ETH0, severity="info")
    broad = draft("b-setting", GATEWAY, severity="info", breaks=(lo,))
    guess = draft("z-grave", SESSION, severity="info", confidence="possible")
    below = draft("c-below", lo, severity="info")
    usual: dict[str, Any] = {"a-setting": "info", "b-setting": "info", "z-grave": "critical", "c-below": "info"}
    found = arrange([low, broad, guess, below], {"b-setting": ("c-*",)}, usual)
    assert [one.rule for one in found] == ["z-grave", "b-setting", "a-setting", "c-below"]
    lost = [draft("a", ETH0, severity="critical", confidence="likely"), draft("z", GATEWAY, severity="critical")]
    assert [one.rule for one in arrange(lost, {}, {"a": "critical", "z": "warning"})] == ["z", "a"]


RULES = ("a", "b", "c", "d")
OBJECTS = [subject("link", ifname=name) for name in ("eth0", "eth1", "eth2")]
SOME: Any = st.lists(st.sampled_from(OBJECTS), max_size=2).map(tuple)
DRAFTS: Any = st.lists(
    st.builds(
        draft,
        st.sampled_from(RULES),
        st.sampled_from(OBJECTS),
        severity=st.sampled_from(("critical", "warning", "info")),
        touches=SOME,
        breaks=SOME,
    ),
    unique_by=lambda d: d.finding.id,
)


@given(DRAFTS, st.dictionaries(st.sampled_from(RULES), st.lists(st.sampled_from(RULES)).map(tuple)), st.randoms())
def test_whatever_the_rules_claim(drafts: list[Draft], explains: dict[str, tuple[str, ...]], random: Any) -> None:
    found = arrange(drafts, explains)
    assert sorted(f.id for f in found) == sorted(d.finding.id for d in drafts), "nothing is lost or doubled"
    position = {finding.id: number for number, finding in enumerate(found)}
    roots = [finding for finding in found if finding.explained_by is None]
    assert [f.id for f in found[: len(roots)]] == [f.id for f in roots], "roots come first"
    for finding in found:
        if finding.explained_by is not None:
            assert position[finding.explained_by] < position[finding.id], "a cause stands above its symptom"
    shuffled = list(drafts)
    random.shuffle(shuffled)
    assert arrange(shuffled, explains) == found, "the order of the rules does not matter"


def test_a_fault_of_one_family_explains_nothing_of_the_other() -> None:
    four, six = ("neighbour", "192.0.2.9"), ("neighbour", "2001:db8::9")
    sessions = [
        draft("session-down", subject("bgp-session", name=name), touches=(ETH0, subject(kind, dst=dst, ifname="eth0")))
        for name, (kind, dst) in (("up4", four), ("up6", six))
    ]
    unknown = draft("session-down", subject("bgp-session", name="up"), touches=(ETH0,))
    both = draft(
        "session-down", subject("bgp-session", name="two"), touches=(*sessions[0].touches, *sessions[1].touches)
    )
    for family, below in (
        ("inet6", {"up6", "up", "two"}),
        ("inet", {"up4", "up", "two"}),
        (None, {"up4", "up6", "up", "two"}),
    ):
        cause = draft("address-lost", subject("address", address="fe80::1", ifname="eth0"), breaks=(ETH0,))
        cause = replace(cause, family=family)
        found = arrange([cause, *sessions, unknown, both], {"address-lost": ("session-*",)})
        assert {str(one.subject["name"]) for one in found if one.explained_by} == below, family


def test_what_has_its_own_cause_is_explained_by_its_full_name_alone() -> None:
    cause = draft("link-broken", ETH0, severity="critical")
    below = replace(draft("session-refused", SESSION, touches=(ETH0,)), own_cause=True)
    for pattern, explained in (("session-*", False), ("*", False), ("session-refused", True)):
        assert bool(arrange([cause, below], {"link-broken": (pattern,)})[1].explained_by) == explained


def test_the_family_of_objects_is_that_of_all_their_addresses() -> None:
    for things, family in (
        ((ETH0,), None),
        ((GATEWAY,), "inet"),
        ((ETH0, subject("route", dst="::/0", table=254)), "inet6"),
        ((GATEWAY, subject("prefix", prefix="2001:db8::/32")), None),
        ((subject("rule", priority=9, family="inet6"),), "inet6"),
        ((subject("address", address="192.0.2.1/24", ifname="eth0"),), "inet"),
        ((subject("nft-chain", family="bridge", table="t", chain="c"),), None),
    ):
        assert family_of(things) == family
