"""``netdiag check``: statuses, formats, where the report goes."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from netdiag.schema import published
from tests.cli.conftest import Netdiag

pytestmark = pytest.mark.timed

VERDICTS = [("ok", 0), ("warning", 1), ("critical", 2), ("unknown", 3)]


@pytest.mark.parametrize(("said", "status"), VERDICTS)
def test_status_is_the_verdict(
    netdiag: Netdiag, host: list[object], verdict: Callable[[str], None], said: str, status: int
) -> None:
    verdict(said)
    assert netdiag("check").status == status
    assert netdiag("check", "--json").status == status
    assert netdiag("check", "--exit-zero").status == (3 if status == 3 else 0)


def test_json_is_a_valid_report(netdiag: Netdiag, file: str) -> None:
    ran = netdiag("check", "--json", file)
    document = json.loads(ran.out)
    jsonschema.validate(document, published("netdiag.report-1"))
    assert document["host"]["name"] == "edge1"
    assert ran.out.endswith("}\n") and ran.err == ""
    assert netdiag("check", "--format", "json", file).out == ran.out


def test_formats_agree_or_are_refused(netdiag: Netdiag, file: str) -> None:
    assert netdiag("check", "--json", "--format", "markdown", file).status == 64
    assert netdiag("check", "--format", "xml", file).status == 64
    assert netdiag("check", "--format", "markdown", file).out.startswith("# edge1: ")


def test_text_always_has_a_coverage_line(netdiag: Netdiag, file: str) -> None:
    out = netdiag("check", file).out
    assert out.startswith("edge1  ")
    assert "coverage: 5 collectors ok; denied: wireguard (needs CAP_NET_ADMIN)" in out


def test_hostname(netdiag: Netdiag, host: list[object], file: str) -> None:
    assert netdiag("check", "--hostname", "fra-edge1", file).out.startswith("fra-edge1  ")
    assert netdiag("check", "--hostname", "fra-edge1").out.startswith("fra-edge1  ")
    assert netdiag("check", "--hostname", "").status == 64
    evil = os.fsdecode(b"a\x1b[31m\xff")
    ran = netdiag("check", "--json", "--hostname", evil, file)
    assert json.loads(ran.out)["host"]["name"] == "a\x1b[31m\\xff"


def test_options_reach_the_collectors(netdiag: Netdiag, host: list[object]) -> None:
    netdiag("check", "--interval", "0", "--deadline", "5")
    (options,) = host
    assert (getattr(options, "interval", None), getattr(options, "deadline", None)) == (0.0, 5.0)


def test_standard_input(file: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "netdiag", "check", "--json", "-"],
        input=Path(file).read_bytes(),
        capture_output=True,
        timeout=60,
    )
    assert done.returncode in (0, 1, 2), done.stderr
    assert json.loads(done.stdout)["host"]["name"] == "edge1"


def test_report_goes_into_a_file(netdiag: Netdiag, verdict: Callable[[str], None], file: str, tmp_path: Path) -> None:
    verdict("warning")
    path = tmp_path / "report.json"
    path.write_text("old")
    ran = netdiag("check", file, "--json", "-o", str(path))
    assert (ran.status, ran.out, ran.err) == (1, "", "")
    assert json.loads(path.read_text())["schema"] == "netdiag.report/1"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == ["edge1.netdiag", "report.json"]


def test_dash_is_standard_output(netdiag: Netdiag, file: str) -> None:
    assert netdiag("check", file, "-o", "-").out == netdiag("check", file).out


@pytest.mark.parametrize("path", ["/dev/null", "/", "/no/such/folder/x", "fifo", "symlink"])
def test_output_that_is_no_regular_file_is_refused_before_the_work(
    netdiag: Netdiag, host: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    os.symlink("nowhere", "symlink")
    for verb in ("check", "collect"):
        ran = netdiag(verb, "-o", path)
        assert ran.status == 64
        assert ran.err.count("\n") == 1 and ran.err.startswith(f"netdiag: {path}: ")
    assert host == []


def test_colour(
    netdiag: Netdiag, host: list[object], verdict: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict("critical")
    assert "\x1b[" not in netdiag("check").out  # not a terminal
    assert "\x1b[1;31m" in netdiag("check", "--color", "always").out
    assert "\x1b[1;31m" in netdiag("--color", "always", "check").out
    monkeypatch.setattr("netdiag.cli._output.on_terminal", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in netdiag("check").out
    assert "\x1b[" not in netdiag("check", "--color", "never").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in netdiag("check").out
    assert "\x1b[" in netdiag("check", "--color", "always").out


def test_verbose_before_and_after_the_verb(
    netdiag: Netdiag, host: list[object], verdict: Callable[[str], None]
) -> None:
    verdict("critical")
    assert "evidence:" not in netdiag("check").out
    assert "evidence:" in netdiag("check", "-v").out
    assert netdiag("-v", "check").out == netdiag("check", "-v").out


def test_one_rule_or_all_but_one(netdiag: Netdiag, file: str) -> None:
    from netdiag.rules import discover

    name, *_ = discover()
    assert netdiag("check", file, "--rule", name).status in (0, 1, 2)
    assert netdiag("check", file, "--skip", name, "--skip", name).status in (0, 1, 2)
    ran = netdiag("check", file, "--rule", name[:-1])
    assert (ran.status, ran.out) == (64, "")
    assert f"no such rule: {name[:-1]} (did you mean {name}" in ran.err
    assert netdiag("check", file, "--skip", "zzzzzzzzzz").err == (
        "netdiag: no such rule: zzzzzzzzzz; netdiag rules lists them\n"
    )


def test_a_snapshot_and_the_host_give_the_same_findings(netdiag: Netdiag, host: list[object], tmp_path: Path) -> None:
    path = str(tmp_path / "now.netdiag")
    assert netdiag("collect", "-o", path).status == 0
    live, loaded = (json.loads(netdiag("check", "--json", *given).out) for given in ((), (path,)))
    assert live == loaded
