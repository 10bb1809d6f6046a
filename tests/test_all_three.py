"""One host with WireGuard, BIRD and eBPF: what netdiag shows beside wg, birdc and bpftool, broken in two ways at once,
and what it says when one of its sources hangs, is stopped, may not be asked or is not installed.

        fd00 / 10.9.0.1 wg0 ))) ((( wg0 10.9.0.2
                          |           |
     edge1  192.0.2.1  eth0 --------- eth0  192.0.2.2  edge2
       BIRD, XDP, tc        BGP              BIRD
"""

import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from tests.drills import bgp, bpfworld
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make
from tests.lab.daemons import Peer, birdc, key_pair

STATIC = "protocol static more { ipv4; route 198.51.100.0/24 via 192.0.2.2; }"
NETDIAG = str(Path(sys.executable).with_name("netdiag"))


def build(lab: Lab) -> tuple[Host, int]:
    """The host with a session that stands, and the pid of its BIRD."""
    host, far = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", far, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    (own, own_public), (other, other_public) = key_pair(host), key_pair(far)
    to_far = Peer(public_key=other_public, allowed_ips=["10.9.0.2/32"], endpoint="192.0.2.2:51820")
    lab.wireguard(host, "wg0", own, 51820, [to_far])
    lab.wireguard(far, "wg0", other, 51820, [Peer(public_key=own_public, allowed_ips=["10.9.0.1/32"])])
    for number, one in enumerate((host, far), 1):
        one.ip(f"address add 10.9.0.{number}/24 dev wg0\nlink set dev wg0 up")
    host.run("ping", "-c1", "-W5", "10.9.0.2")
    lab.birdd(far, bgp.conf("edge2", bgp.session("down1", "edge1")))
    daemon = lab.birdd(host, bgp.conf("edge1", bgp.session("up1", "edge2"), STATIC))
    lab.wait(lambda: bgp.established(host, 1), 20, "the session stands")
    host.ip("address add 203.0.113.1/32 dev lo")  # the session announces it
    bpfworld.program(host, "gate", b"gate", verdict=-1)
    bpfworld.tc(host, "eth0", "gate", 1)

    def xdp() -> None:
        one = make.program(make.XDP, b"pass", verdict=2)
        make.pin(make.link(one, socket.if_nametoindex("eth0"), 37), "pass")

    host.call(xdp)
    return host, daemon.process.pid


def roots(report: dict[str, Any]) -> list[str]:
    """Rules of the findings that nothing explains, above info."""
    return [row["rule"] for row in report["findings"] if row["explained_by"] is None and row["severity"] != "info"]


def status(report: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {row["collector"]: (row["status"], row["detail"]) for row in report["coverage"]}


def shown(host: Host, *words: str) -> list[dict[str, Any]]:
    code, out, err = host.netdiag("show", *words, "--json")
    assert code == 0, err
    rows: list[dict[str, Any]] = json.loads(out)
    return rows


def test_healthy_then_broken_twice(lab: Lab) -> None:
    host, _ = build(lab)
    lab.wait(lambda: not roots(host.report()), 6, "nothing is wrong")
    keys = host.run("wg", "show", "wg0", "peers").stdout.split()
    assert [row["peer"] for row in shown(host, "wireguard") if "peer" in row] == keys
    assert len(shown(host, "bgp")) == birdc(host, "show protocols").count("BGP")
    (net,) = json.loads(host.run("bpftool", "-j", "net").stdout)
    theirs = {row["id"] for row in net["xdp"] + net["tc"]}
    assert {row["prog_id"] for row in shown(host, "bpf", "--dev", "eth0")} == theirs
    host.ip("link set dev wg0 down\nroute del 198.51.100.0/24")
    expected = ["bird-route-not-in-fib", "wg-iface-down"]
    lab.wait(lambda: sorted(roots(host.report())[:2]) == expected, 6, "both faults stand first")
    code, out, _ = host.netdiag("check", "--interval", "0")
    assert code == 2 and out.index("bird-route-not-in-fib") < out.index("coverage")


def test_a_source_that_hangs_costs_its_own_rows(lab: Lab) -> None:
    host, bird = build(lab)
    os.kill(bird, signal.SIGSTOP)
    try:
        report = host.report("--interval", "0")
    finally:
        os.kill(bird, signal.SIGCONT)
    told = status(report)
    assert told["bird"][0] in ("timeout", "failed") and "/run/bird/bird.ctl" in told["bird"][1]
    assert told["routes"][0] == told["wireguard"][0] == told["bpf"][0] == "ok"
    assert report["verdict"] != "unknown"
    gaps = {row["rule"] for row in report["not_evaluated"]}
    assert "bgp-not-established" in gaps and "wg-iface-down" not in gaps


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "stat").read_text().rsplit(")", 1)[1].split() if entry.name.isdigit() else []
        except (OSError, IndexError):
            continue
        if words and int(words[1]) == pid:
            found.append(int(entry.name))
    return found


most: dict[int, int] = {}


def _few_left(pid: int) -> bool:
    count = len(_children(pid))
    most[pid] = max(count, most.get(pid, 0))
    return most[pid] > 8 and 0 < count <= 6


def test_a_collector_that_is_stopped(lab: Lab) -> None:
    host, _ = build(lab)
    running = host.spawn(NETDIAG, "check", "--json", "--interval", "2", "--deadline", "6", output="/run/report.json")
    try:
        # The few that are still there when the others are done wait between their two looks.
        lab.wait(lambda: _few_left(running.pid), 10, "collectors between two looks")
        for child in _children(running.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGSTOP)
        running.wait(15)
    finally:
        running.kill()
    report = json.loads(host.read("/run/report.json"))
    late = {name for name, (word, _) in status(report).items() if word == "timeout"}
    assert late & {"counters", "wireguard"} and not late & {"links", "routes", "rules"}
    assert running.returncode in (0, 1, 2)
    reasons = [row["reason"] for row in report["not_evaluated"]]
    assert any("timeout" in reason for reason in reasons)


def test_as_nobody_and_without_the_library(lab: Lab) -> None:
    host, _ = build(lab)
    ran = host.sh(
        f"setpriv --reuid 65534 --regid 65534 --clear-groups {NETDIAG} check --json --interval 0", check=False
    )
    told = status(json.loads(ran.stdout))
    assert told["links"][0] == told["routes"][0] == "ok"
    assert told["bpf"][0] == "partial" and "CAP_SYS_ADMIN" in told["bpf"][1]
    assert told["wireguard"][0] in ("denied", "absent") and told["bird"][0] == "denied"
    doctor = host.sh(f"setpriv --reuid 65534 --regid 65534 --clear-groups {NETDIAG} doctor", check=False).stdout
    assert "CAP_SYS_ADMIN" in doctor
    before = shown(host, "bpf", "--dev", "eth0")
    host.sh("mount -t tmpfs none /usr/lib/python3/dist-packages")
    without = shown(host, "bpf", "--dev", "eth0")
    ages = ("age",)
    assert [{k: v for k, v in row.items() if k not in ages} for row in without] == [
        {k: v for k, v in row.items() if k not in ages} for row in before
    ]
    assert "python3-bpfcc" in host.netdiag("doctor")[1]
