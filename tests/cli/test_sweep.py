"""``netdiag sweep``: what it refuses before any host is asked, and how it ends."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Netdiag

pytestmark = pytest.mark.timed


@pytest.fixture
def known(tmp_path: Path) -> str:
    path = tmp_path / "known_hosts"
    path.write_text("")
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ((), 64, "--inventory SPEC is missing"),
        (("--resume",), 64, "nothing to resume"),
        (("--inventory", "hosts.toml"), 64, "an inventory is one of file:..., ansible:..."),
        (("--inventory", "file:{tmp}/none"), 65, "no such file"),
        (("--inventory", "file:{tmp}/hosts", "--known-hosts", "{tmp}/none"), 65, "none"),
        (
            ("--inventory", "file:{tmp}/hosts", "--known-hosts", "{tmp}/known_hosts", "--ship", "{tmp}/hosts"),
            65,
            "make pyz",
        ),
        (("--inventory", "file:{tmp}/hosts", "--vault", "https://v"), 64, "go together"),
        (("--inventory", "file:{tmp}/hosts", "--deadline", "0"), 64, "deadline"),
    ],
)
def test_what_is_refused(
    netdiag: Netdiag, known: str, tmp_path: Path, arguments: tuple[str, ...], status: int, said: str
) -> None:
    (tmp_path / "hosts").write_text("fra-a\n")
    ran = netdiag("sweep", *(word.format(tmp=tmp_path) for word in arguments), "-o", str(tmp_path / "store"))
    assert ran.status == status and said in ran.err and len(ran.err.splitlines()) == 1 and ran.out == ""
    assert not (tmp_path / "store").exists()


def test_every_host_is_told_and_a_fleet_without_one_has_no_verdict(
    netdiag: Netdiag, known: str, tmp_path: Path
) -> None:
    (tmp_path / "hosts").write_text("fra-a address=127.0.0.1 port=1 role=edge\nfra-b address=127.0.0.1 port=1\n")
    store = str(tmp_path / "store")
    asked = ("sweep", "-o", store, "--known-hosts", known, "--deadline", "5")
    ran = netdiag(*asked, "--inventory", f"file:{tmp_path / 'hosts'}", "--json")
    told = json.loads(ran.out)
    assert ran.status == 3 and told["schema"] == "netdiag.sweep-report/1" and told["finished"]
    assert [(row["name"], row["status"], row["labels"]) for row in told["hosts"]] == [
        ("fra-a", "unreached", {"role": "edge"}),
        ("fra-b", "unreached", {}),
    ]
    ledger = next(Path(store).glob("sweep-*/sweep.jsonl"))
    *lines, _ = ledger.read_bytes().splitlines()
    ledger.write_bytes(b"\n".join(lines[:2]))  # killed after one host
    ran = netdiag(*asked, "--resume")
    assert ran.status == 3 and ran.err.startswith("netdiag: going on with ") and "1 of 2 hosts" in ran.err
    assert ran.out.startswith("2 hosts: 0 collected, 2 unreached, 0 refused\nunreached: 127.0.0.1 port 1: ")
    report = json.loads(netdiag("fleet", "check", store, "--json").out)
    assert [row["name"] for row in report["unreached"]] == ["fra-a", "fra-b"] and report["verdict"] == "unknown"
    assert netdiag(*asked, "--resume").status == 64


def test_a_terminated_sweep_says_how_far_it_was_and_can_go_on(netdiag: Netdiag, known: str, tmp_path: Path) -> None:
    """One host refuses, one takes the connection and keeps silent; a person watches on a terminal."""
    store = str(tmp_path / "store")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        (tmp_path / "hosts").write_text(f"fra-a address=127.0.0.1 port=1\nfra-b address=127.0.0.1 port={port}\n")
        command = ["sweep", "--inventory", f"file:{tmp_path / 'hosts'}", "-o", store, "--known-hosts", known]
        ours, theirs = pty.openpty()
        run = subprocess.Popen(
            [sys.executable, "-m", "netdiag", *command, "--deadline", "50"],
            stderr=theirs, stdout=subprocess.PIPE, env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
        os.close(theirs)
        shown = b""
        while b"1 of 2 hosts: 0 collected, 1 unreached, 0 refused; 1 at work" not in shown:
            shown += os.read(ours, 4096)
        run.send_signal(signal.SIGTERM)
        assert run.wait(20) == 143 and run.stdout is not None and run.stdout.read() == b""
        os.close(ours)
    (folder,) = Path(store).iterdir()
    assert [path.name for path in folder.iterdir()] == ["sweep.jsonl"]
    ran = netdiag("sweep", "-o", store, "--known-hosts", known, "--resume", "--json")
    assert ran.status == 3 and "1 of 2 hosts" in ran.err
    assert [row["status"] for row in json.loads(ran.out)["hosts"]] == ["unreached", "unreached"]
