"""Every way to hold it wrong: one line, and the status that the contract says. click's own 2 never gets out."""

import io
import json
import os
import zipfile
from pathlib import Path

import pytest

from netdiag.cli import main
from netdiag.cli._errors import Terminated, nearest
from tests.cli.conftest import Netdiag

VERBS = main.verbs()


@pytest.mark.parametrize("arguments", [[], *([verb] for verb in VERBS)])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_everywhere(netdiag: Netdiag, arguments: list[str], flag: str) -> None:
    ran = netdiag(*arguments, flag)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith("Usage: netdiag")


def test_verbs_of_the_contract_are_there() -> None:
    assert set(VERBS) >= {"check", "collect", "record", "show", "rules", "explain", "doctor"}
    assert VERBS[0] == "check"


def test_version(netdiag: Netdiag) -> None:
    assert netdiag("--version").out == "netdiag 0.1.0\n"


def test_nothing_asked(netdiag: Netdiag) -> None:
    ran = netdiag()
    assert (ran.status, ran.out) == (64, "")
    assert ran.err.startswith("Usage: netdiag")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chekc"], "no such command: chekc (did you mean check"),
        (["--colour", "check"], "no such option"),
        (["--color", "blue", "check"], "is not one of"),
        (["check", "--intervall", "1"], "--interval"),
        (["check", "--interval", "nan"], "'nan' is not 0 or more seconds"),
        (["check", "--interval", "-1"], "is not 0 or more seconds"),
        (["check", "--interval", "soon"], "is not a number of seconds"),
        (["check", "--interval", "inf"], "is not 0 or more seconds"),
        (["check", "--deadline", "0"], "is not more than 0 seconds"),
        (["check", "--interval", "5", "--deadline", "5"], "does not fit"),
        (["check", "--intents", "x"], "no such option"),
        (["check", "a", "b"], "unexpected extra argument"),
        (["collect"], "missing option '-o'"),
        (["record"], "missing option '-o'"),
        (["show"], "missing argument"),
        (["show", "routez"], "no such table: routez (did you mean routes"),
        (["show", "links", "--proto", "bird"], "--proto means nothing for links"),
        (["show", "routes", "--table", "mian"], "--table: 'mian'"),
        (["show", "routes", "--proto", "256"], "--proto: '256'"),
        (["show", "routes", "--family", "ipx"], "is not one of"),
        (["explain"], "missing argument"),
        (["explain", "no-such-rule-at-all"], "no such rule: no-such-rule-at-all"),
        (["--replay", "x", "check", "y"], "exclude each other"),
    ],
)
def test_usage_is_64(netdiag: Netdiag, host: list[object], arguments: list[str], said: str) -> None:
    ran = netdiag(*arguments)
    assert (ran.status, ran.out) == (64, "")
    assert said in ran.err and ran.err.startswith("netdiag: ") and ran.err.count("\n") == 1


def newer(octets: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(octets)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content.replace(b"netdiag.snapshot/1", b"netdiag.snapshot/2"))
    return out.getvalue()


def test_refused_input_is_65(netdiag: Netdiag, file: str, tmp_path: Path) -> None:
    cases = {
        "missing": (None, "no such file"),
        "text": (b"hello", "not a zip file"),
        "empty": (b"", "empty"),
        "newer": (newer(Path(file).read_bytes()), "written by a newer netdiag: netdiag.snapshot/2"),
        "short": (Path(file).read_bytes()[:-100], "not a readable snapshot"),
    }
    for name, (octets, said) in cases.items():
        path = tmp_path / name
        if octets is not None:
            path.write_bytes(octets)
        for arguments in (["check", str(path)], ["show", "links", str(path)]):
            ran = netdiag(*arguments)
            assert (ran.status, ran.out) == (65, ""), arguments
            assert ran.err.startswith(f"netdiag: {path}: ") and said in ran.err and ran.err.count("\n") == 1
    assert "is a directory" in netdiag("check", str(tmp_path)).err


def test_recordings_that_are_none_are_65(netdiag: Netdiag, tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "recording.json").write_text('{"schema": "netdiag.recording/2"}')
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for name in ("odd", "empty", "file", "missing"):
        ran = netdiag("--replay", str(tmp_path / name), "check")
        assert (ran.status, ran.out) == (65, ""), name
        assert ran.err.startswith(f"netdiag: {tmp_path / name}: ") and ran.err.count("\n") == 1


def test_unreadable_directory_is_65(netdiag: Netdiag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recording.json").write_text("{}")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", denied)
    ran = netdiag("--replay", str(tmp_path), "check")
    assert ran.status == 65 and "Permission denied" in ran.err and ran.err.count("\n") == 1


def test_names_in_errors_are_escaped(netdiag: Netdiag) -> None:
    ran = netdiag("check", "\x1b[2J\nnetdiag: all is well")
    assert ran.err == "netdiag: \\x1b[2J\\x0anetdiag: all is well: no such file or directory\n"


def test_a_bug_is_70_and_one_line(netdiag: Netdiag, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object, **__: object) -> None:
        raise KeyError("eth0")

    monkeypatch.setattr("netdiag.collect.collect", bug)
    ran = netdiag("check")
    assert (ran.status, ran.out) == (70, "")
    assert ran.err == "netdiag: internal error: KeyError: 'eth0'; this is a bug, -v shows where\n"
    ran = netdiag("check", "-v")
    assert ran.status == 70 and "Traceback" in ran.err and ran.err.endswith("internal error: KeyError: 'eth0'\n")
    assert netdiag("-v", "check").err.count("Traceback") == 1


def test_ctrl_c_and_sigterm(netdiag: Netdiag, monkeypatch: pytest.MonkeyPatch) -> None:
    for stop, status in ((KeyboardInterrupt, 130), (Terminated, 143)):

        def stopped(*_: object, stop: type[BaseException] = stop, **__: object) -> None:
            raise stop

        monkeypatch.setattr("netdiag.collect.collect", stopped)
        ran = netdiag("check")
        assert (ran.status, ran.out, ran.err) == (status, "", "")


def test_record_needs_a_directory_of_its_own(netdiag: Netdiag, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("x")
    ran = netdiag("record", "-o", str(tmp_path))
    assert ran.status == 64 and "is not empty" in ran.err
    assert "is not a directory" in netdiag("record", "-o", str(tmp_path / "kept")).err
    assert netdiag("record", "-o", "/proc/no").status == 64
    assert os.listdir(tmp_path) == ["kept"]


def test_nearest() -> None:
    assert nearest("rutes", ["routes", "rules"]) == " (did you mean routes, rules?)"
    assert nearest("mtu", ["link-mtu-peer-mismatch", "carrier-flap"]) == " (did you mean link-mtu-peer-mismatch?)"
    assert nearest("zzz", ["routes"]) == ""
    assert nearest("", ["routes"]) == ""


def test_json_of_a_table_that_was_not_read_is_null(netdiag: Netdiag, file: str) -> None:
    ran = netdiag("show", "sysctls", file, "--json")
    assert (ran.status, json.loads(ran.out), ran.err) == (3, None, "netdiag: sysctls: not collected\n")
