"""One harness for all drills: build a real host, see netdiag find nothing; break it, see the fault named first;
repair it, see netdiag find nothing again; and see it stay silent on the healthy look-alike.

A drill is data plus three small functions (README.md beside this file shows one). Nothing here waits for a guessed
time: every expectation is polled until it holds or `PATIENCE` is over, and then the report itself is the message.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.drills import losses
from tests.lab import Host, Lab

Report = dict[str, Any]
Finding = dict[str, Any]

PATIENCE = 12.0
"""Seconds for a state to show: more than the kernel's one second of link watch and three of neighbour probes."""

PAUSE = 0.2
"""Seconds between two reports: each takes about as long."""

CONFIRM_SECONDS = 3.0
"""A confirm command may run on (`tcpdump`, `ip monitor`); what it printed by then counts."""

_ALARMS = ("critical", "warning")
_EMPTY = {"none", "no", "0", "nothing", "absent"}
_COMMANDS = {"ip", "bridge", "tc", "sysctl", "nft", "wg", "ethtool", "iptables", "ip6tables", "conntrack", "bpftool"}
_UNUSABLE = re.compile(
    r"command not found|: not found|Usage:|Unknown command|unrecognized option|invalid option|"
    r'Object "[^"]*" is unknown|Command "[^"]*" is unknown|is garbage|syntax error|line is not complete|'
    r"^Error: argument ",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True)
class Drill:
    """One fault, injected into a real host and taken back."""

    rule: str
    """Catalogue id that must be named first."""
    build: Callable[[Lab], Host]
    """Make a healthy world; the host it gives is the one netdiag looks at."""
    break_: Callable[[Lab, Host], object]
    """Inject the fault."""
    repair: Callable[[Lab, Host], object] | None
    """Take it back. None: run the finding's own `fix` line on the host, which proves that line as well."""
    severity: str | None = None
    """Exact severity of the finding; None: any at warning or above."""
    expect: Mapping[str, object] = field(default_factory=dict)
    """Keys that the first finding's subject must have."""
    explains: tuple[str, ...] = ()
    """Rules that must stand under the first finding, explained by it."""
    settle: Callable[[Lab, Host], object] | None = None
    """A condition to wait for after the break and before the first look (`not host.running("eth0")`)."""
    during: Callable[[Lab, Host], object] | None = None
    """Traffic or trouble between the two samples of the counters. It is done for every report of the drill, the
    healthy ones too: the same traffic must be harmless there."""
    check_args: tuple[str, ...] = ("--interval", "0")
    """Options of `netdiag check`; with `during` the interval is above 0 by itself."""
    twin: Callable[[Lab], Host] | None = None
    """Build a healthy look-alike, in a lab of its own, on which netdiag must stay silent."""
    tolerate: tuple[str, ...] = ()
    """Rules whose alarms are part of the healthy world and not of the fault. Say why beside it."""
    carries: Callable[[Lab, Host], object] | None = None
    """Traffic that the fault stops: true where it gets through. It must before the fault and after the repair, and must
    not under it: then the severity is earned. A callable may take a second."""
    dear: bool = False
    """Whether ``carries`` takes longer: it is asked with NETDIAG_LONG and NETDIAG_LOSSES only."""
    pings: bool = True
    """Whether pings between the hosts leave the fault as it is (make severity). Not so where a neighbour that is known
    makes another of it."""
    shows: bool = True
    """Whether confirm commands print the evidence as it is said; not so where they tell an age as a point in time."""
    name: str = ""
    """Tells several drills of one rule apart."""


def run_drill(drill: Drill, lab: Lab) -> None:
    """Run one drill in an empty lab; AssertionError says which step failed and shows the report."""
    host = drill.build(lab)
    _silent(drill, lab, host, "the healthy host")
    _traffic(drill, lab, host, True)
    before = losses.through(lab) if losses.asked() and drill.pings else set()

    drill.break_(lab, host)
    if drill.settle is not None:
        settled = drill.settle
        lab.wait(lambda: settled(lab, host), PATIENCE, f"{drill.rule}: the broken state has settled")
    report = _poll(drill, lab, host, "the broken host", lambda r: wrong_with_alarm(drill, r))
    first = report["findings"][0]
    _traffic(drill, lab, host, False)
    _note(drill, lab, report, before)
    thorough = _thorough(drill)
    for finding in report["findings"] if thorough else [first]:
        if finding is first or finding["severity"] in _ALARMS:
            confirmed(host, finding, shows=thorough and drill.shows)

    if drill.repair is not None and thorough and one_command(first["fix"]):
        _fixed(drill, lab, host, first)
    else:
        if drill.repair is None:
            host.run("bash", "-ec", first["fix"])
        else:
            drill.repair(lab, host)
        _silent(drill, lab, host, "the repaired host")
        _traffic(drill, lab, host, True)

    if drill.twin is not None:
        with Lab() as other:
            _silent(drill, other, drill.twin(other), "the healthy twin")


def run_in_turn(drills: Sequence[Drill], lab: Lab) -> None:
    """Several faults of the first drill's host, one after the other, with a look at the healthy host before the first
    and after the last only: where a report takes seconds. The first one's `during` is harmless traffic for all."""
    first = drills[0]
    host = first.build(lab)

    def loud(report: Report) -> str:
        return next((words for drill in drills if (words := wrong_with_silence(drill, report))), "")

    _poll(first, lab, host, "the healthy host", loud)
    for drill in drills:
        _traffic(drill, lab, host, True)
        before = losses.through(lab) if losses.asked() else set()
        drill.break_(lab, host)
        report = _poll(drill, lab, host, "the broken host", lambda r, drill=drill: wrong_with_alarm(drill, r))
        _traffic(drill, lab, host, False)
        _note(drill, lab, report, before)
        confirmed(host, report["findings"][0], shows=drill.shows)
        if drill.repair is None:
            host.run("bash", "-ec", report["findings"][0]["fix"])
        else:
            drill.repair(lab, host)
    _poll(first, lab, host, "the repaired host", loud)


def wrong_with_alarm(drill: Drill, report: Report) -> str:
    """What is wrong with the report of a broken host; empty where it is as it must be."""
    findings: list[Finding] = report["findings"]
    if not findings:
        return "nothing was found"
    first = findings[0]
    if first["rule"] != drill.rule:
        return f"{first['rule']} stands first"
    if drill.severity is None and first["severity"] not in _ALARMS:
        return f"its severity is only {first['severity']}"
    if drill.severity is not None and first["severity"] != drill.severity:
        return f"its severity is {first['severity']}, not {drill.severity}"
    missing = {key: value for key, value in drill.expect.items() if first["subject"].get(key) != value}
    if missing:
        return f"its subject {first['subject']} lacks {missing}"
    roots = {finding["id"]: _root(finding, findings) for finding in findings}
    for finding in findings[1:]:
        if _alarming(finding, drill) and roots[finding["id"]] != first["id"]:
            return f"{finding['rule']} is not explained by it"
    under = {finding["rule"] for finding in findings[1:] if roots[finding["id"]] == first["id"]}
    unexplained = set(drill.explains) - under
    if unexplained:
        return f"it does not explain {sorted(unexplained)}"
    return ""


def wrong_with_silence(drill: Drill, report: Report) -> str:
    """What is wrong with the report of a healthy host: an alarm, or a rule that gave no answer at all."""
    for finding in report["findings"]:
        if _alarming(finding, drill) or finding["rule"] == drill.rule:
            return f"{finding['rule']} is reported"
    for gap in report["not_evaluated"]:
        if gap["rule"] == drill.rule:
            return f"{drill.rule} was not evaluated, so its silence proves nothing: {gap['reason']}"
    return ""


def _thorough(drill: Drill) -> bool:
    """Whether a drill also tries the fix as it stands, and the commands of every alarm: a fixed sample, and with
    NETDIAG_LONG all of them."""
    return "NETDIAG_LONG" in os.environ or zlib.crc32(f"{drill.rule} {drill.name}".encode()) % 8 == 0


def confirmed(host: Host, finding: Finding, *, shows: bool) -> None:
    """Run a finding's confirm commands: each can be pasted, and (``shows``) what they print holds some of the evidence.

    Where the fact is that a thing is absent, there is nothing that could be printed of it.
    """
    printed = " ".join(confirm(host, command) for command in finding["confirm"]).lower()
    values = [row["value"].lower() for row in finding["evidence"]]
    words = {word for value in values for word in re.findall(r"[\w.:/-]+", value)} - _EMPTY
    words |= {word.partition("/")[0] for word in words}
    if words & {"0.0.0.0", "::"}:
        words.add("default")
    absent = not words or not _EMPTY.isdisjoint(values)
    shown = any(re.search(rf"(?<![\w.]){re.escape(word)}(?!\w)", printed) for word in words)
    numbers = {int(word) for word in re.findall(r"\b\d{1,9}\b", printed)}
    shown = shown or any(word.isdigit() and int(word) <= n <= 2 * int(word) + 10 for word in words for n in numbers)
    assert absent or shown or not shows, (
        f"{finding['rule']}: nothing of {values} in what {finding['confirm']} print:\n{printed}"
    )


def one_command(fix: str) -> bool:
    """Whether a fix is one command of this host that needs no thought: no comment, no word to be filled in."""
    return (
        fix.split(" ")[0] in _COMMANDS
        and not any(part in fix for part in ("#", "...", ", "))
        and not re.search(r"\b[A-Z]{4,}\b", fix)
    )


def _fixed(drill: Drill, lab: Lab, host: Host, first: Finding) -> None:
    """Run the fix as it stands: the finding must go. (What else the drill broke may be left.)"""
    host.run("bash", "-ec", first["fix"])

    def still(report: Report) -> str:
        same = [f for f in report["findings"] if f["id"] == first["id"] and f["severity"] == first["severity"]]
        return f"it stays, though its fix was run: {first['fix']}" if same else ""

    _poll(drill, lab, host, "the host as fixed", still)


def _traffic(drill: Drill, lab: Lab, host: Host, passes: bool) -> None:
    """What the fault stops gets through, or does not."""
    if drill.carries is None or (drill.dear and not losses.thorough()):
        return
    carries = drill.carries
    word = "gets through" if passes else "is lost"
    lab.wait(lambda: bool(carries(lab, host)) is passes, PATIENCE, f"{drill.rule}: what the fault is about {word}")


def _note(drill: Drill, lab: Lab, report: Report, before: set[losses.Pair]) -> None:
    """Where somebody asked for it (make severity): what the fault loses."""
    if losses.asked():
        told = drill.carries is not None
        under = losses.through(lab) if drill.pings else set()
        losses.note(report["findings"], drill.explains, drill.name, told, before, under)


def confirm(host: Host, command: str, seconds: float | None = None) -> str:
    """Run a finding's confirm command: it must exist, be spelt right and print something. Gives what it printed.

    Its exit status is free, because the state that it shows is often an error. It is ended after ``seconds``.
    """
    seconds = CONFIRM_SECONDS if seconds is None else seconds
    ran = host.run("timeout", f"{seconds:g}", "bash", "-c", command, check=False, timeout=seconds + 10)
    printed = ran.stdout + ran.stderr
    assert ran.returncode not in (126, 127), f"confirm command cannot be run: {command}\n{printed}"
    assert not _UNUSABLE.search(printed), f"confirm command is misspelt: {command}\n{printed}"
    assert printed.strip(), f"confirm command prints nothing: {command}"
    return printed


def drill_test(*drills: Drill) -> Callable[..., None]:
    """A test function for pytest that runs the drills: `test_drill = drill_test(DRILL)`.

    A run of the whole suite takes the first drill of each rule and a fixed third of the others (tests/conftest.py);
    NETDIAG_LONG, `make test K=...` and a file that is named take all.
    """
    seen: set[str] = set()
    cases = []
    for drill in drills:
        more = drill.rule in seen and zlib.crc32(f"{drill.rule} {drill.name}".encode()) % 3 != 0
        seen.add(drill.rule)
        marks = [pytest.mark.more] if more else []
        cases.append(pytest.param(drill, id=drill.name or drill.rule, marks=marks))

    @pytest.mark.parametrize("drill", cases)
    def test(drill: Drill, lab: Lab) -> None:
        run_drill(drill, lab)

    return test


def take_report(drill: Drill, lab: Lab, host: Host) -> Report:
    """One report the way the drill wants it."""
    if drill.during is None:
        return host.report(*drill.check_args)
    during = drill.during
    args = tuple(drill.check_args)
    if args == ("--interval", "0"):
        args = ("--interval", "1")
    return host.report(*args, during=lambda: during(lab, host))


def describe(report: Report) -> str:
    """The report in a few lines, for a failing test's message."""
    lines = [f"verdict {report['verdict']}"]
    for finding in report["findings"]:
        under = "  under " + finding["explained_by"] if finding["explained_by"] else ""
        lines.append(f"  {finding['id'][:8]} {finding['severity']} {finding['rule']}: {finding['message']}{under}")
    lines += [f"  not evaluated: {gap['rule']}: {gap['reason']}" for gap in report["not_evaluated"]]
    unread = [row for row in report["coverage"] if row["status"] != "ok"]
    lines += [f"  coverage: {row['collector']} {row['status']} {row['detail']}" for row in unread]
    return "\n".join(lines)


def _silent(drill: Drill, lab: Lab, host: Host, which: str) -> None:
    _poll(drill, lab, host, which, lambda report: wrong_with_silence(drill, report))


def _poll(drill: Drill, lab: Lab, host: Host, which: str, wrong: Callable[[Report], str]) -> Report:
    """Take reports until `wrong` has no complaint; AssertionError with the last complaint and report if it never."""
    last: list[tuple[str, Report]] = []

    def good() -> bool:
        report = take_report(drill, lab, host)
        last[:] = [(wrong(report), report)]
        return not last[0][0]

    try:
        lab.wait(good, PATIENCE, pause=PAUSE)
    except TimeoutError:
        complaint, report = last[0]
        raise AssertionError(f"{drill.rule}, {which}: {complaint}\n{describe(report)}") from None
    return last[0][1]


def _alarming(finding: Finding, drill: Drill) -> bool:
    return finding["severity"] in _ALARMS and not finding["suppressed"] and finding["rule"] not in drill.tolerate


def _root(finding: Finding, findings: Sequence[Finding]) -> str:
    """The id at the end of a finding's chain of explanations."""
    by_id = {other["id"]: other for other in findings}
    seen: set[str] = set()
    while finding["explained_by"] in by_id and finding["id"] not in seen:
        seen.add(finding["id"])
        finding = by_id[finding["explained_by"]]
    return str(finding["id"])
