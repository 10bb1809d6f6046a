"""The verbs beside check: what they print and what they write."""

import json
import stat
from pathlib import Path
from typing import ClassVar

import pytest

from netdiag.render.views import names
from netdiag.rules import discover
from netdiag.rules.shape import HEADINGS
from netdiag.snapshotfile import read_snapshot
from netdiag.sources.protocol import Unreadable
from tests.cli.conftest import Netdiag, whole
from tests.snapshotfile.hosts import same, small_snapshot


def test_collect_writes_a_snapshot(netdiag: Netdiag, host: list[object], tmp_path: Path) -> None:
    path = tmp_path / "a.netdiag"
    ran = netdiag("collect", "-o", str(path), "--interval", "0")
    assert (ran.status, ran.out, ran.err) == (0, "", "")
    assert same(read_snapshot(str(path)), whole(small_snapshot()))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_collect_into_a_pipe(host: list[object], capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    from netdiag.cli.main import run

    assert run(["collect", "-o", "-"]) == 0
    assert capfdbinary.readouterr().out.startswith(b"PK\x03\x04")


def test_show_every_table(netdiag: Netdiag, host: list[object], file: str) -> None:
    read = {"links", "addresses", "routes", "rules", "neighbours", "coverage"}
    for name in names():
        ran = netdiag("show", name, file, "--json")
        assert ran.status == (0 if name in read else 3), name
        assert (json.loads(ran.out) is None) == (ran.status == 3)
        assert netdiag("show", name).status == ran.status
    assert netdiag("show", "links", file).out.startswith("ifname")


def test_show_filters(netdiag: Netdiag, file: str) -> None:
    rows = json.loads(
        netdiag("show", "routes", file, "--json", "--dev", "eth1", "--family", "inet6", "--proto", "boot").out
    )
    assert [row["dst"] for row in rows] == ["default"]
    assert json.loads(netdiag("show", "routes", file, "--json", "--table", "local").out) == []
    assert netdiag("show", "routes", file, "--table", "local").out == ""
    ran = netdiag("show", "routes", file, "--dev", "eth7")
    assert ran.status == 64 and "no such interface: eth7 (did you mean eth" in ran.err


def test_show_tells_of_a_table_that_was_read_in_part(netdiag: Netdiag, monkeypatch: pytest.MonkeyPatch) -> None:
    from netdiag.model.coverage import Coverage
    from netdiag.model.snapshot import Snapshot

    rows = (Coverage(collector="links", status="inconsistent", detail="changed while it was read"),)
    snapshot = Snapshot(meta=small_snapshot().meta, tables=small_snapshot().tables, coverage=rows)
    monkeypatch.setattr("netdiag.collect.collect", lambda *_: snapshot)
    ran = netdiag("show", "links")
    assert ran.status == 0 and ran.err == "netdiag: links: inconsistent: changed while it was read\n"
    assert ran.out.startswith("ifname")


def test_rules(netdiag: Netdiag) -> None:
    listed = netdiag("rules").out.splitlines()
    assert listed[0].split()[:2] == ["id", "severity"] and listed[-1] == f"{len(discover(None))} rules"
    assert [line.split()[0] for line in listed[1:-1]] == list(discover(None))
    rows = json.loads(netdiag("rules", "--json").out)
    assert [row["id"] for row in rows] == list(discover(None))
    assert {"id", "severity", "domain", "title"} <= set(rows[0])


def test_explain_prints_exactly_the_page(netdiag: Netdiag) -> None:
    for name, module in discover(None).items():
        ran = netdiag("explain", name)
        assert (ran.status, ran.out, ran.err) == (0, module.page, "")
        assert all(f"{heading}\n" in ran.out for heading in HEADINGS)
    assert json.loads(netdiag("explain", name, "--json").out)["page"] == module.page


class FakeSource:
    """A host on which every read is answered from here; what is missing is absent."""

    files: ClassVar[dict[str, bytes]] = {
        "/proc/self/status": b"Name:\tnetdiag\nUid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000002000\n",
        "/proc/sys/kernel/unprivileged_bpf_disabled": b"2\n",
        "/proc/sys/net/core/bpf_jit_enable": b"1\n",
        "/proc/self/mountinfo": b"31 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
    }
    folders: ClassVar[dict[str, tuple[str, ...]]] = {"/proc/net": ("if_inet6", "snmp")}

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise Unreadable("absent", path)
        return self.files[path]

    def listdir(self, path: str) -> tuple[str, ...]:
        if path not in self.folders:
            raise Unreadable("denied" if path == "/sys/kernel/btf" else "absent", path)
        return self.folders[path]


def test_doctor(netdiag: Netdiag, host: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netdiag.cli._host.source", lambda *_: FakeSource())
    ran = netdiag("doctor", "--json")
    health = json.loads(ran.out)
    assert (ran.status, health["schema"], health["verdict_possible"], health["uid"]) == (
        0,
        "netdiag.doctor/1",
        True,
        1000,
    )
    assert health["capabilities"] == ["net_raw"]
    assert health["features"] == {"bpf": True, "bpf_jit": True, "btf": None, "cgroup2": True, "ipv6": True}
    assert health["packages"][0]["installed"] is False
    assert health["advice"] == [
        {"collector": "wireguard", "why": "needs CAP_NET_ADMIN", "remedy": "needs CAP_NET_ADMIN"}
    ]
    text = netdiag("doctor").out
    for line in (
        "verdict possible: yes",
        "capabilities: net_raw",
        "package python3-bpfcc: not installed (reads BPF programs, maps and attachments)",
        "to see wireguard: needs CAP_NET_ADMIN (needs CAP_NET_ADMIN)",
    ):
        assert f"{line}\n" in text


def test_doctor_without_a_verdict(netdiag: Netdiag, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netdiag.cli._host.source", lambda *_: FakeSource())
    monkeypatch.setattr("netdiag.collect.collect", lambda *_: small_snapshot())
    ran = netdiag("doctor")
    assert ran.status == 3 and "verdict possible: no: a required collector was not read\n" in ran.out


def test_capabilities_are_told_by_what_is_lacking_where_that_is_shorter() -> None:
    from netdiag.doctor import CAPABILITIES, Health
    from netdiag.render.doctor import doctor_text

    def told(*held: str) -> str:
        health = Health(
            netdiag="0.1.0",
            kernel="6.8.0",
            verdict_possible=True,
            collectors=(),
            uid=0,
            capabilities=held,
            features={},
            packages=(),
            advice=(),
        )
        return next(line for line in doctor_text(health).splitlines() if line.startswith("capabilities: "))

    assert told(*CAPABILITIES) == "capabilities: all"
    assert told(*CAPABILITIES[1:]) == "capabilities: all but chown"
    assert told() == "capabilities: none"


def test_a_table_that_was_read_in_part_names_the_capability() -> None:
    from netdiag.doctor import _advice
    from netdiag.model.coverage import Coverage

    rows = (
        Coverage(collector="bpf", status="partial", detail="programs: needs CAP_SYS_ADMIN; tcx: needs CAP_NET_ADMIN"),
        Coverage(collector="links", status="partial", detail="1 message could not be decoded"),
        Coverage(collector="routes", status="timeout"),
        Coverage(collector="bird", status="absent"),
    )
    told = {advice.collector: advice.remedy for advice in _advice(rows, ("net_admin",))}
    assert told == {"bpf": "needs CAP_SYS_ADMIN", "routes": "give more time with --deadline"}


def test_capabilities() -> None:
    from netdiag.doctor import capabilities_of

    every = capabilities_of("CapEff:\t000001ffffffffff\n")
    assert every is not None and len(every) == 41 and every[-1] == "checkpoint_restore"
    assert capabilities_of("CapEff:\t0000020000000000\n") == ("cap_41",)
    assert capabilities_of("CapEff:\t0\n") == ()
    assert capabilities_of("CapEff:\tx\n") is None
    assert capabilities_of("") is None
