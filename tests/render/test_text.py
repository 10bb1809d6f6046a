"""The report as the on-call sees it."""

import re
import unicodedata

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netdiag.model.coverage import Coverage, NotEvaluated
from netdiag.model.finding import Report
from netdiag.render.text import SCREEN, render_text
from tests.render.reports import COVERAGE, HOSTILE, broken, clean, finding, hostile, report, under

SGR = re.compile(r"\x1b\[[0-9;]*m")


def screen_rows(text: str, width: int = 80) -> int:
    """Rows of a terminal that the text takes."""
    return sum(max(1, -(-len(line) // width)) for line in SGR.sub("", text).splitlines())


BROKEN = """\
edge1  CRITICAL  2 critical, 2 warning, 1 info  2026-11-23T17:32:00Z

CRITICAL wg-mtu-exceeds-underlay  wireguard-peer wg0 gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA=
  wg0 sends 1560-byte packets into a 1500-byte path to 192.0.2.2
  confirm: ip link show dev wg0
           ip route get 192.0.2.2
  fix:     ip link set dev wg0 mtu 1440
  netdiag explain wg-mtu-exceeds-underlay
  explains 2 findings:
    warning  pmtud-blackhole  10.0.0.7 acknowledges nothing longer than 1440...
    critical bgp-flap  the session to 10.0.0.2 has fallen 14 times since 03:10

warning  mtu-too-low-disables-ipv6  eth3 has mtu 1200, less than 1280: no IPv...
info     txqlen-small  eth0 has a queue of 10 packets
-v opens every finding, with its evidence

coverage: 4 collectors ok; denied: wireguard (needs CAP_NET_ADMIN); absent: bird
  (no control socket)
not evaluated: 3 rules: bird: absent (no control socket) [2], wireguard: denied
  (needs CAP_NET_ADMIN) [1]
"""


def test_broken_host() -> None:
    assert render_text(broken()) == BROKEN


def test_clean_host_says_what_was_read() -> None:
    assert render_text(clean()) == (
        "edge1  OK  nothing wrong found  2026-11-23T17:32:00Z  kernel 6.8.0\n"
        "read: links 12, addresses 30, routes 2104, rules 6\n"
        "coverage: 4 collectors ok\n"
    )


def test_no_verdict_names_what_was_not_read() -> None:
    gap = Coverage(collector="links", status="timeout", detail="rtnetlink did not answer in 30 s")
    text = render_text(report(verdict="unknown", coverage=(gap, *COVERAGE[1:])))
    assert text.startswith("edge1  NO VERDICT  not read: links (timeout: rtnetlink did not answer in 30 s)\n")
    assert "coverage: 3 collectors ok; denied: wireguard" in text


def test_confirm_and_fix_are_never_broken() -> None:
    command = (
        "ip route replace default via 192.0.2.1 dev eth0 proto static metric 100 mtu lock 1400 advmss 1360 table 100"
    )
    text = render_text(report(finding("r", "warning", "eth0", "m", confirm=(command,), fix=command)))
    assert text.count(command + "\n") == 2


def test_color_only_adds_escape_sequences() -> None:
    for verbose in (False, True):
        coloured = render_text(broken(), color=True, verbose=verbose)
        assert "\x1b[1;31m" in coloured
        assert SGR.sub("", coloured) == render_text(broken(), verbose=verbose)


def test_verbose_shows_everything() -> None:
    text = render_text(broken(), verbose=True)
    for found in broken().findings:
        assert text.count(f"netdiag explain {found.rule}") == 1
        assert found.message in text and found.id in text
        for row in found.evidence:
            assert f"evidence: {row.fact} = {row.value}  [{row.source}]" in text
    assert all(row.collector in text for row in broken().coverage)
    assert all(row.rule in text for row in broken().not_evaluated)


def test_suppressed_findings_are_counted_and_come_last() -> None:
    silenced = finding("a-rule", "critical", "eth0", "known", suppressed="NET-1 until 2026-12-31")
    text = render_text(report(silenced, finding("b-rule", "warning", "eth1", "new")))
    assert "WARNING  1 warning, 1 suppressed" in text
    assert text.index("b-rule") < text.index("a-rule")
    assert "suppressed: NET-1 until 2026-12-31" in render_text(report(silenced), verbose=True)


def test_findings_that_do_not_fit_are_counted() -> None:
    found = [finding(f"rule-{n}", "critical" if n < 3 else "warning", f"eth{n}", "broken") for n in range(40)]
    text = render_text(report(*found))
    assert screen_rows(text) <= SCREEN
    shown = len(re.findall(r"^(?:critical|warning|CRITICAL) ", text, re.MULTILINE))
    hidden = re.search(r"^\.\.\. (\d+) more: (\d+) warning \(-v shows everything\)$", text, re.MULTILINE)
    assert hidden is not None and shown + int(hidden[1]) == 40
    assert "CRITICAL rule-0" in text and "critical rule-2" in text


def test_explained_findings_that_do_not_fit_are_counted() -> None:
    children = [finding(f"child-{n:02}", "warning", f"eth{n}", "lost") for n in range(30)]
    text = render_text(report(*under(finding("cause", "critical", "wg0", "broken"), *children)))
    assert "explains 30 findings:" in text and "... 25 more explained (-v)" in text
    assert screen_rows(text) <= SCREEN


def test_warnings_are_not_pushed_out_by_notes() -> None:
    notes = [finding(f"note-{n}", "info", f"eth{n}", "worth knowing") for n in range(30)]
    serious = [finding(f"bad-{n}", "warning", f"eth{n}", "broken") for n in range(3)]
    text = render_text(report(*serious, *notes))
    assert all(f"WARNING bad-{n}" in text for n in range(2)) and "bad-2" in text
    assert screen_rows(text) <= SCREEN


def test_long_reasons_do_not_push_findings_away() -> None:
    gaps = tuple(NotEvaluated(rule=f"rule-{n}", reason=f"reason number {n} is a long one") for n in range(50))
    rows = tuple(Coverage(collector=f"collector-{n}", status="failed", detail="for some reason") for n in range(50))
    text = render_text(report(finding("r", "warning", "eth0", "m"), coverage=rows, not_evaluated=gaps))
    assert screen_rows(text) <= SCREEN
    assert "(netdiag show coverage)" in text and "not evaluated: 50 rules" in text


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("color", [False, True])
def test_hostile_strings(verbose: bool, color: bool) -> None:
    text = SGR.sub("", render_text(hostile(), verbose=verbose, color=color))
    for line in text.split("\n"):
        assert line.isprintable()
        assert not line.startswith(("|", " |")), "a line break in a name must not start a line"
    assert HOSTILE not in text


FINDINGS = st.lists(
    st.builds(
        finding,
        st.from_regex(r"[a-z]{3,10}(-[a-z]{2,8}){0,4}", fullmatch=True),
        st.sampled_from(["critical", "warning", "info"]),
        st.from_regex(r"[a-z]{2,6}[0-9]{1,6}", fullmatch=True),
        st.text(st.characters(codec="ascii", min_codepoint=32), max_size=200),
        confirm=st.lists(st.from_regex(r"ip [a-z ]{5,150}", fullmatch=True), max_size=4).map(tuple),
        fix=st.from_regex(r"ip [a-z ]{5,300}", fullmatch=True),
        suppressed=st.none() | st.just("NET-1"),
    ),
    max_size=40,
    unique_by=lambda found: found.id,
)


@settings(max_examples=80, deadline=None)
@given(FINDINGS, st.integers(0, 5), st.integers(60, 200))
def test_first_screen_fits_and_nothing_is_hidden(found: list[object], children: int, width: int) -> None:
    ordered = sorted(found, key=lambda f: ["critical", "warning", "info"].index(f.severity))  # type: ignore[attr-defined]
    tied = under(ordered[0], *ordered[1 : 1 + children]) + tuple(ordered[1 + children :]) if ordered else ()  # type: ignore[arg-type]
    whole: Report = report(*tied)  # type: ignore[arg-type]
    text = render_text(whole, width=width)
    if not any(_rows_alone(root, width) > 14 for root in whole.findings[:1]):
        assert screen_rows(text, width) <= SCREEN
    everything = render_text(whole, width=width, verbose=True)
    assert all(one.id in everything for one in whole.findings)
    assert all(unicodedata.category(character) != "Cc" or character == "\n" for character in text)


def _rows_alone(root: object, width: int) -> int:
    alone = msgspec.structs.replace(root, explains=(), explained_by=None)  # type: ignore[type-var]
    return screen_rows(render_text(report(alone), width=width), width) - 6  # type: ignore[arg-type]
