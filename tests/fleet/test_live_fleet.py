"""A mesh of three real hosts, collected into a folder and judged by ``netdiag fleet check``; then broken between hosts.

fra-a 192.0.2.1 -- switch -- fra-b 192.0.2.2
                     |
                ams-c 192.0.2.3            wg0: 10.64.0.1, .2, .3
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Host, Lab
from tests.lab.daemons import Peer, key_pair

NAMES = ("fra-a", "fra-b", "ams-c")


def build(lab: Lab) -> list[Host]:
    switch = lab.switch()
    hosts = [lab.host(name) for name in NAMES]
    keys = [key_pair(host) for host in hosts]
    for number, host in enumerate(hosts, 1):
        lab.plug(host, "eth0", switch, f"192.0.2.{number}/24")
    for number, host in enumerate(hosts, 1):
        peers = [
            Peer(public_key=keys[n - 1][1], allowed_ips=[f"10.64.0.{n}/32"], endpoint=f"192.0.2.{n}:51820")
            for n in (1, 2, 3)
            if n != number
        ]
        lab.wireguard(host, "wg0", keys[number - 1][0], 51820, peers)
        host.ip(f"address add 10.64.0.{number}/24 dev wg0\nlink set wg0 mtu 1420 up")
    for target in (2, 3):
        lab.wait(lambda t=target: not hosts[0].run("ping", "-c1", "-W1", f"10.64.0.{t}", check=False).returncode, 8)  # type: ignore[misc]
    lab.wait(lambda: not hosts[1].run("ping", "-c1", "-W1", "10.64.0.3", check=False).returncode, 8)
    return hosts


def sweep(hosts: list[Host], folder: Path) -> dict[str, Any]:
    """Collect every host into the folder and judge it, both by the real program."""
    for host in hosts:
        code, _, said = host.netdiag("collect", "-o", f"/run/{host.name}.netdiag", "--interval", "0")
        assert code == 0, said
        content = host.call(lambda name=host.name: Path(f"/run/{name}.netdiag").read_bytes())  # type: ignore[misc]
        (folder / f"{host.name}.netdiag").write_bytes(content)
    code, out, said = hosts[0].netdiag("fleet", "check", "--json", str(folder))
    assert code in (0, 1, 2), said
    report: dict[str, Any] = json.loads(out)
    return report


@pytest.mark.slow
def test_between_hosts(lab: Lab, tmp_path: Path) -> None:
    hosts = build(lab)
    tmp_path.chmod(0o755)
    healthy = sweep(hosts, tmp_path)
    assert healthy["schema"] == "netdiag.fleet-report/1"
    assert [h["name"] for h in healthy["hosts"]] == sorted(NAMES)
    assert healthy["verdict"] == "ok", healthy["findings"]

    hosts[2].ip("address del 10.64.0.3/24 dev wg0\naddress add 10.64.0.2/24 dev wg0")
    first = sweep(hosts, tmp_path)["findings"][0]
    assert first["rule"] == "wg-mesh-duplicate-ip" and first["subject"]["hosts"] == ["ams-c", "fra-b"]

    (tmp_path / "broken.netdiag").write_bytes(b"no zip")
    told = sweep(hosts, tmp_path)
    assert [row["name"] for row in told["unreached"]] == ["broken.netdiag"]


def test_a_folder_without_snapshots_is_refused(lab: Lab, tmp_path: Path) -> None:
    code, _, said = lab.host("fra-a").netdiag("fleet", "check", str(tmp_path))
    assert code == 65 and len(said.splitlines()) == 1
