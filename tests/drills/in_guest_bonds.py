"""Bonds, VLANs and a CPU's input queue: what the test machine's kernel has not, or what belongs to the whole kernel.

Run by test_bonds_and_vlans.py beside it, in the guest. Not collected by itself.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from tests.drills import losses
from tests.drills.harness import Drill, confirm, run_drill
from tests.lab import Host, Lab

LACP = "mode 802.3ad lacp_rate fast miimon 100"


def cables(lab: Lab, bond: str = LACP) -> tuple[Host, Host]:
    """edge1 bond0 [eth0 eth1] ==== [p0 p1] switch"""
    host, switch = lab.host("edge1"), lab.host("switch")
    for number in range(2):
        lab.link(host, f"eth{number}", switch, f"p{number}", up=False)
    host.ip(f"link add bond0 type bond {bond}\nlink set dev eth0 master bond0\nlink set dev eth1 master bond0")
    host.ip("address add 192.0.2.1/24 dev bond0\nlink set dev bond0 up")
    return host, switch


def lag(switch: Host, name: str, *ports: str) -> None:
    """A LACP group on the switch's side."""
    switch.ip(f"link add {name} type bond {LACP}")
    switch.ip("\n".join(f"link set dev {port} down\nlink set dev {port} master {name}" for port in ports))
    switch.ip(f"link set dev {name} up")


def findings(host: Host) -> list[dict[str, Any]]:
    return [row for row in host.report("--interval", "0")["findings"] if row["severity"] != "info"]


def until(lab: Lab, host: Host, rule: str | None, seconds: float = 40.0) -> dict[str, Any]:
    """The first alarm, once it is this rule's; an empty one once there is none."""
    seen: list[list[dict[str, Any]]] = [[]]

    def there() -> bool:
        seen[0] = findings(host)
        return (seen[0][0]["rule"] if seen[0] else None) == rule

    try:
        lab.wait(there, seconds)
    except TimeoutError:
        raise AssertionError(
            f"{rule}: {seen[0]}\n{host.sh('ip -d link; cat /proc/net/bonding/* || true').stdout}"
        ) from None
    for alarm in seen[0][1:]:
        assert alarm["explained_by"], alarm
    return seen[0][0] if seen[0] else {}


def test_lacp_and_a_leg(lab: Lab) -> None:
    host, switch = cables(lab)
    lag(switch, "lag0", "p0", "p1")
    until(lab, host, None)
    if losses.thorough():
        switch.ip("address add 192.0.2.2/24 dev lag0")
        lab.wait(lambda: losses.goes(host, "192.0.2.2"), 20, "the group carries")
    switch.ip("link set dev p1 down")
    found = until(lab, host, "bond-single-leg")
    assert (found["severity"], found["subject"]) == ("warning", {"kind": "link", "ifname": "bond0"})
    for command in found["confirm"]:
        confirm(host, command)
    switch.ip("link set dev p1 up")
    until(lab, host, None)
    switch.ip("link set dev p1 nomaster\nlink set dev p1 up")
    lag(switch, "lag1", "p1")
    found = until(lab, host, "bond-lacp-agg-split")
    assert found["subject"] == {"kind": "link", "ifname": "bond0"}
    switch.ip("link del lag0\nlink del lag1\nlink set dev p0 up\nlink set dev p1 up")
    found = until(lab, host, "bond-lacp-no-partner")
    assert found["severity"] in ("warning", "critical")
    for command in found["confirm"]:
        confirm(host, command)
    if losses.thorough():
        assert not all([answers_by(switch, port) for port in ("p0", "p1")]), "one leg alone carries"
        losses.lost(found, "what comes by the other leg")


def answers_by(switch: Host, port: str) -> bool:
    """Whether the host answers what the switch sends it by this port."""
    switch.ip(f"address add 192.0.2.2/24 dev {port}")
    try:
        return any(losses.goes(switch, "192.0.2.1") for _ in range(3))
    finally:
        switch.ip(f"address del 192.0.2.2/24 dev {port}")


def test_a_bond_that_does_not_look(lab: Lab) -> None:
    host, switch = cables(lab, "mode active-backup miimon 100")
    switch.ip("link set dev p0 up\nlink set dev p1 up")
    if losses.thorough():
        switch.ip("link add br0 type bridge\nlink set dev p0 master br0\nlink set dev p1 master br0")
        switch.ip("address add 192.0.2.2/24 dev br0\nlink set dev br0 up")
        lab.wait(lambda: losses.goes(host, "192.0.2.2"), 20, "the switch answers")
    until(lab, host, None)
    host.ip("link set dev bond0 type bond miimon 0")
    found = until(lab, host, "bond-miimon-zero")
    assert found["severity"] == "warning"
    switch.ip("link set dev p0 down")
    lab.wait(lambda: findings(host)[0]["severity"] == "critical", 20, "the dead leg is used")
    if losses.thorough():
        assert not any(losses.goes(host, "192.0.2.2") for _ in range(3))
        losses.lost(findings(host)[0], "a dead leg")
    host.run("bash", "-ec", found["fix"])
    switch.ip("link set dev p0 up")
    until(lab, host, None)


def test_vlans(lab: Lab) -> None:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0")
    host.ip(
        "link add link eth0 name eth0.5 type vlan id 5\naddress add 192.0.2.1/24 dev eth0.5\nlink set dev eth0.5 up"
    )
    until(lab, host, None)
    host.ip("link set dev eth0 down")
    found = until(lab, host, "vlan-parent-down")
    assert found["subject"] == {"kind": "link", "ifname": "eth0.5"}
    host.run("bash", "-ec", found["fix"])
    until(lab, host, None)
    peer.ip(
        "link add link eth0 name eth0.5 type vlan id 5\naddress add 192.0.2.2/24 dev eth0.5\nlink set dev eth0.5 up"
    )
    assert not losses.thorough() or full(peer)
    host.ip("link set dev eth0 mtu 1400")  # and with it the VLAN's, in this kernel
    assert "mtu 1400" in host.run("ip", "link", "show", "dev", "eth0.5").stdout
    (small,) = [row for row in host.report("--interval", "0")["findings"] if row["rule"] == "vlan-parent-mtu-small"]
    assert (small["severity"], small["subject"]["ifname"]) == ("info", "eth0.5")
    if losses.thorough():
        assert losses.goes(peer, "192.0.2.1") and not full(peer)
        losses.lost(small, "full frames of the others on the VLAN")
    host.run("bash", "-ec", small["fix"])
    assert host.read("/sys/class/net/eth0/mtu").strip() == "1500"


def full(peer: Host) -> bool:
    """Whether a ping of 1500 bytes is answered."""
    asked = "ping -n -c1 -W1 -M do -s 1472 192.0.2.1"
    return not peer.run(*asked.split(), check=False).returncode


def thousands(lab: Lab, host: Host) -> None:
    lab.send_udp(host, "192.0.2.2", 9, count=1500)


def test_one_next_hop_behind_a_bond_that_hashes_hardware_addresses(lab: Lab) -> None:
    """Two legs, and everything goes over one: for want of other hardware addresses, not of flows."""
    host, switch = cables(lab, "mode balance-xor miimon 100 xmit_hash_policy layer2")
    switch.ip(
        "link add lag type bond mode balance-xor miimon 100\nlink set dev p0 master lag\nlink set dev p1 master lag"
    )
    switch.ip("address add 192.0.2.2/24 dev lag\nlink set dev lag up")

    def told() -> list[str]:
        found = host.report("--interval", "1", during=lambda: thousands(lab, host))["findings"]
        return [row["rule"] for row in found if row["rule"].startswith("bond-") or row["severity"] != "info"]

    lab.wait(lambda: told() == ["bond-hash-layer2-polarised"], 20, "it is told, and nothing else")


BACKLOG = Path("/proc/sys/net/core/netdev_max_backlog")


def build(lab: Lab) -> Host:
    assert "netdiag_script=" in Path("/proc/cmdline").read_text(), "this changes the whole kernel: guest only"
    BACKLOG.write_text("1000")
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    host.run("ethtool", "-K", "eth0", "tso", "off", "gso", "on")  # a burst of frames at once, as a card would send
    lab.listen_tcp(peer, "0.0.0.0", 8080)
    return host


def traffic(lab: Lab, host: Host) -> None:
    with contextlib.suppress(OSError, TimeoutError):
        lab.send_tcp(host, "192.0.2.2", 8080, size=400_000)


def test_backlog(lab: Lab) -> None:
    drill = Drill(
        rule="softnet-backlog-drop",
        build=build,
        break_=lambda lab, host: BACKLOG.write_text("1"),
        repair=lambda lab, host: BACKLOG.write_text("1000"),
        during=traffic,
        carries=whole,
        dear=True,
        expect={"kind": "host"},
    )
    run_drill(drill, lab)


def whole(lab: Lab, host: Host) -> bool:
    """Everything gets there at the first try."""
    before = sent_again(host)
    traffic(lab, host)
    return sent_again(host) == before


def sent_again(host: Host) -> int:
    """Segments of TCP."""
    names, values = [line.split() for line in host.read("/proc/net/snmp").splitlines() if line.startswith("Tcp:")]
    return int(values[names.index("RetransSegs")])
