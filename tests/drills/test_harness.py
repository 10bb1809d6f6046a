"""The harness itself, on reports made by hand: what it must refuse is refused, with the reason in its message."""

from __future__ import annotations

from typing import Any

import pytest

from tests.drills import harness
from tests.drills.harness import Drill, confirm, wrong_with_alarm, wrong_with_silence
from tests.lab import Lab

DRILL = Drill(
    rule="route-default-missing",
    build=lambda lab: lab.host("a"),
    break_=lambda lab, host: None,
    repair=lambda lab, host: None,
    expect={"kind": "host"},
    explains=("bgp-not-established",),
    tolerate=("carrier-flap",),
)


def finding(rule: str, number: str, severity: str = "critical", under: str | None = None) -> dict[str, Any]:
    subject = {"kind": "host"}
    return {
        "id": number,
        "rule": rule,
        "severity": severity,
        "subject": subject,
        "explained_by": under,
        "suppressed": None,
    }


def report(*findings: dict[str, Any], gaps: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"findings": list(findings), "not_evaluated": [{"rule": rule, "reason": "denied"} for rule in gaps]}


CAUSE = finding("route-default-missing", "1")
EFFECT = finding("bgp-not-established", "2", under="1")
FARTHER = finding("bgp-import-zero", "3", "warning", under="2")


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ((CAUSE, EFFECT, FARTHER), ""),
        ((CAUSE, EFFECT, finding("anything", "4", "info")), ""),
        ((CAUSE, EFFECT, finding("carrier-flap", "4")), ""),
        ((), "nothing was found"),
        ((EFFECT, CAUSE), "bgp-not-established stands first"),
        ((CAUSE | {"severity": "info"}, EFFECT), "its severity is only info"),
        ((CAUSE | {"subject": {"kind": "link"}}, EFFECT), "lacks {'kind': 'host'}"),
        ((CAUSE, EFFECT, finding("neigh-gateway-failed", "4")), "neigh-gateway-failed is not explained"),
        ((CAUSE, EFFECT, finding("neigh-gateway-failed", "4", under="9")), "neigh-gateway-failed is not explained"),
        ((CAUSE,), "it does not explain ['bgp-not-established']"),
        ((CAUSE, EFFECT | {"explained_by": None}), "bgp-not-established is not explained"),
    ],
)
def test_a_broken_host(found: tuple[dict[str, Any], ...], complaint: str) -> None:
    wrong = wrong_with_alarm(DRILL, report(*found))
    assert (complaint in wrong) if complaint else not wrong


@pytest.mark.parametrize(
    ("seen", "complaint"),
    [
        (report(), ""),
        (report(finding("anything", "4", "info"), finding("carrier-flap", "5")), ""),
        (report(gaps=("bgp-import-zero",)), ""),
        (report(finding("anything", "4", "warning")), "anything is reported"),
        (report(CAUSE | {"severity": "info"}), "route-default-missing is reported"),
        (report(gaps=("route-default-missing",)), "its silence proves nothing: denied"),
    ],
)
def test_a_healthy_host(seen: dict[str, Any], complaint: str) -> None:
    wrong = wrong_with_silence(DRILL, seen)
    assert (complaint in wrong) if complaint else not wrong


def test_an_exact_severity() -> None:
    exact = Drill(
        rule="x", build=DRILL.build, break_=DRILL.break_, repair=None, severity="info"
    )  # an alarm would be a fault of the rule here
    assert wrong_with_alarm(exact, report(finding("x", "1", "info"))) == ""
    assert "not info" in wrong_with_alarm(exact, report(finding("x", "1", "warning")))


@pytest.mark.parametrize(
    "command",
    ["ip -br link show dev lo", "ip route get 192.0.2.1", "printf $'a\\x41\\n'", "echo seen; sleep 3600"],
)
def test_confirm_commands_that_may_stand(lab: Lab, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "sleep" in command:
        monkeypatch.setattr(harness, "CONFIRM_SECONDS", 0.2)
    confirm(lab.host("a"), command)


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("no-such-command --now", "cannot be run"),
        ("ip lnik show", "misspelt"),
        ("ip link show dev", "misspelt"),
        ("ip route show table 100 scope nosuch", "misspelt"),
        ("true", "prints nothing"),
    ],
)
def test_confirm_commands_that_must_not(lab: Lab, command: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        confirm(lab.host("a"), command)
