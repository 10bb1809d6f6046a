"""A BGP session that is restarted between the snapshots of one host; ``netdiag fleet check`` judges their folder."""

import json
import time
from pathlib import Path
from typing import Any

from tests.drills.bgp import stands, world
from tests.lab import Host, Lab


def collected(host: Host, folder: Path, number: int) -> dict[str, Any]:
    """One more snapshot in the folder, and what is said of all of them."""
    code, _, said = host.netdiag("collect", "-o", f"/run/{number}.netdiag", "--interval", "0")
    assert code == 0, said
    (folder / f"{number}.netdiag").write_bytes(host.call(lambda: Path(f"/run/{number}.netdiag").read_bytes()))
    code, out, said = host.netdiag("fleet", "check", "--json", str(folder))
    assert code in (0, 1, 2), said
    report: dict[str, Any] = json.loads(out)
    return report


def later(lab: Lab, seconds: float) -> None:
    until = time.monotonic() + seconds
    lab.wait(lambda: time.monotonic() > until, seconds + 2)


def test_a_session_that_is_restarted_between_snapshots(lab: Lab, tmp_path: Path) -> None:
    host = world(lab)
    tmp_path.chmod(0o755)
    report: dict[str, Any] = {}
    for number in range(3):
        if number:  # a second is the least that tells two changes apart
            later(lab, 1.5)
            host.run("birdc", "restart", "up1")
            lab.wait(lambda: stands(host, "up1"), 10, "the session is back")
        report = collected(host, tmp_path, number)
        told = [row for row in report["findings"] if row["rule"] == "bgp-flapping"]
        assert len(told) == (number == 2), number
    assert report["findings"][0]["rule"] == "bgp-flapping" and report["verdict"] == "warning", report["findings"][:3]
    assert report["findings"][0]["subject"] == {"kind": "bgp-session", "name": "up1", "hosts": ["edge1"]}
