"""The short way to a report gives what the real program gives, and its pause lets traffic fall between the samples."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab import Host, Lab


def cabled(lab: Lab) -> Host:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    peer.ip("link set dev eth0 mtu 9000")
    return host


def comparable(report: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from run to run: times, and rows such as a neighbour learnt in between."""
    coverage = [{key: row[key] for key in ("collector", "status")} for row in report["coverage"]]
    return {**report, "taken_at": "", "coverage": coverage}


def test_it_is_the_report_of_the_real_program(lab: Lab) -> None:
    host = cabled(lab)
    short = host.report("--interval", "0")
    assert short["host"]["name"] == "edge1"
    assert comparable(short) == comparable(host.check("--interval", "0")) == comparable(host.report("--interval", "0"))


def test_arguments_reach_the_engine(lab: Lab) -> None:
    host = cabled(lab)
    report = host.report("--hostname", "other", "--rule", "link-mtu-peer-mismatch")
    assert report["host"]["name"] == "other"
    assert {finding["rule"] for finding in report["findings"]} <= {"link-mtu-peer-mismatch"}
    with pytest.raises(ValueError, match="--format"):
        host.report("--format", "json")


def test_the_work_between_two_samples_is_done_once(lab: Lab) -> None:
    host = cabled(lab)
    calls: list[int] = []
    host.report("--interval", "1", during=lambda: calls.append(1))
    assert calls == [1]


def test_no_second_sample_is_an_error(lab: Lab) -> None:
    with pytest.raises(TimeoutError, match="is the interval 0"):
        cabled(lab).report("--interval", "0", during=lambda: None)


def test_a_failure_between_the_samples_is_the_tests_own(lab: Lab) -> None:
    with pytest.raises(ZeroDivisionError):
        cabled(lab).report("--interval", "1", during=lambda: 1 // 0)
