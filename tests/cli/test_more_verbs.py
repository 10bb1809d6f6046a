"""ticket, diff, rules with filters, explain on a host."""

import json
import os
import stat
import zipfile
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from netdiag.snapshotfile import write_snapshot
from tests.cli.conftest import Netdiag, whole
from tests.snapshotfile.hosts import small_snapshot


def test_ticket_and_the_snapshot_beside_it(netdiag: Netdiag, file: str, tmp_path: Path) -> None:
    path = tmp_path / "INC-7.md"
    assert netdiag("ticket", "-i", "INC-7 <b>", "-o", str(path), file).status == 0
    text = path.read_text()
    assert text.startswith("Ticket INC-7 &lt;b&gt;\n\nThe snapshot behind it: INC-7.netdiag") and "# edge1: " in text
    assert zipfile.is_zipfile(tmp_path / "INC-7.netdiag")
    assert stat.S_IMODE(os.stat(tmp_path / "INC-7.netdiag").st_mode) == 0o600
    assert netdiag("check", str(tmp_path / "INC-7.netdiag"), "--json").out == netdiag("check", file, "--json").out
    assert netdiag("ticket", file).out.startswith("# edge1: ")
    assert netdiag("ticket", file, "-o", str(tmp_path / "x.netdiag")).status == 64


def test_ticket_of_one_finding_with_short_keys(netdiag: Netdiag, host: list[object], verdict: object) -> None:
    verdict("critical")  # type: ignore[operator]
    text = netdiag("ticket").out
    assert "gN65BkIK..." in text and "gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA=" not in text
    from tests.render.reports import broken

    root = broken().findings[0]
    alone = netdiag("ticket", "-i", root.id).out
    assert "Ticket" not in alone and root.rule in alone and "pmtud-blackhole" in alone and "txqlen-small" not in alone


@pytest.fixture
def other(tmp_path: Path) -> str:
    """The same host with an interface of another name and one more setting."""
    snapshot = whole(small_snapshot())
    first, *rest = snapshot.tables.links
    links = (msgspec.structs.replace(first, mtu=first.mtu + 1), *rest)
    path = str(tmp_path / "other.netdiag")
    write_snapshot(replace(snapshot, tables=replace(snapshot.tables, links=links)), path)
    return path


def test_diff(netdiag: Netdiag, file: str, other: str) -> None:
    same = netdiag("diff", file, file)
    assert (same.status, same.err) == (0, "") and same.out.endswith("nothing differs\n")
    ran = netdiag("diff", file, other, "--json")
    assert ran.status == 1
    document = json.loads(ran.out)
    assert document["schema"] == "netdiag.diff/1"
    (change,) = document["tables"]["links"]["changed"]
    assert change["new"]["mtu"] == change["old"]["mtu"] + 1
    assert "mtu: " in netdiag("diff", file, other).out
    assert netdiag("diff", file).status == 64
    assert netdiag("diff", file, "/no/such").status == 65


def test_rules_by_domain_and_table(netdiag: Netdiag) -> None:
    every = {row["id"] for row in json.loads(netdiag("rules", "--json").out)}
    some = json.loads(netdiag("rules", "--json", "--domain", "routing").out)
    assert {row["domain"] for row in some} == {"routing"} and {row["id"] for row in some} < every
    reading = json.loads(netdiag("rules", "--json", "--reads", "bird").out)
    assert reading and all("bird" in row["reads"] + row["consults"] for row in reading)
    told = {row["id"] for row in json.loads(netdiag("rules", "--json", "--reads", "intent").out)}
    assert "sysctl-expected-differs" in told
    assert netdiag("rules", "--domain", "rooting").status == 64
    assert netdiag("rules", "--reads", "birds").status == 64


def test_rules_that_cannot_be(netdiag: Netdiag) -> None:
    ran = netdiag("rules", "--all", "--json")
    rows = [row for row in json.loads(ran.out) if row.get("decidable") is False]
    assert rows and all(row["because"] for row in rows)
    assert "not decidable, because: " in netdiag("rules", "--all").out
    assert "not decidable" not in netdiag("rules").out


def test_explain_on_a_host(netdiag: Netdiag, complete: str, tmp_path: Path) -> None:
    name = "route-expected-missing"
    page = netdiag("explain", name).out
    intent = tmp_path / "intent.toml"
    intent.write_text("[[route]]\ndst = '198.18.0.0/15'\n")
    ran = netdiag("explain", name, complete, "--intent", str(intent))
    assert ran.status == 0 and ran.out.startswith(page) and "On edge1 (" in ran.out
    assert "ip route add 198.18.0.0/15" in ran.out
    assert "not evaluated: " in netdiag("explain", name, complete).out
    assert json.loads(netdiag("explain", name, complete, "--json").out)["report"]["host"]["name"] == "edge1"
