"""Probes between real hosts: a path MTU that is told, one that is not, a way of two hops, ports, and a tunnel.

a 10.1.0.1 --1500-- r --1400-- b 10.2.0.1     fd01::/64, fd02::/64
"""

import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema

import netdiag.schema
from netdiag.cli.main import run
from tests.lab import Host, Lab
from tests.lab.daemons import Peer, key_pair

SCHEMA = json.loads(Path(netdiag.schema.__path__[0], "netdiag.probe-1.schema.json").read_text(encoding="utf-8"))


def asked(host: Host, *words: str) -> tuple[int, Any, str]:
    """The program inside the host, without starting a new Python for each packet."""

    def inside() -> tuple[int, str, str]:
        sys.stdout, sys.stderr = (io.TextIOWrapper(io.BytesIO()) for _ in range(2))
        status = run(["probe", *words, "--json"])
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        return status, sys.stdout.buffer.getvalue().decode(), sys.stderr.buffer.getvalue().decode()  # type: ignore[attr-defined]

    status, out, err = host.call(inside)
    document = json.loads(out) if out else None
    if document is not None:
        jsonschema.validate(document, SCHEMA)
    return status, document, err


def result(host: Host, *words: str) -> tuple[int, Any]:
    status, document, err = asked(host, *words)
    assert document is not None, err
    return status, document["results"][0]


def build(lab: Lab) -> tuple[Host, Host, Host]:
    a, b = lab.host("a"), lab.host("b")
    r = lab.host("r", sysctls={"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"})
    near, far = ["10.1.0.254/24", "fd01::ff/64"], ["10.2.0.254/24", "fd02::ff/64"]
    lab.link(a, "eth0", r, "eth0", a_addresses=["10.1.0.1/24", "fd01::1/64"], b_addresses=near)
    lab.link(r, "eth1", b, "eth0", a_addresses=far, b_addresses=["10.2.0.1/24", "fd02::1/64"], mtu=1400)
    a.ip("route add default via 10.1.0.254\nroute add default via fd01::ff")
    b.ip("route add default via 10.2.0.254\nroute add default via fd02::ff")
    r.ip("route add unreachable 10.3.0.0/24")
    lab.wait(lambda: not a.run("ping", "-6", "-c1", "-W1", "fd02::1", check=False).returncode, 8)
    return a, r, b


def test_probes_between_hosts(lab: Lab) -> None:
    a, r, b = build(lab)
    quick = ("--timeout", "0.1", "--rate", "100")

    for address, hop in (("10.2.0.1", "10.1.0.254"), ("fd02::1", "fd01::ff")):
        status, found = result(a, "mtu", address, *quick)
        assert (status, found["mtu"], found["interface_mtu"], found["verdict"]) == (0, 1400, 1500, "ok"), found
        assert found["told"] == [{"by": hop, "mtu": 1400}] and found["sent"] <= 6
        status, found = result(a, "trace", address, *quick)
        assert (status, [row["by"] for row in found["hops"]]) == (0, [[hop], [address]]), found
        assert [row["back"] for row in found["hops"]] == [1, 2]
    status, found = result(a, "trace", "10.2.0.1", "--proto", "icmp", "--size", "1450", *quick)
    assert status == 1 and found["hops"][-1]["mtu"] == 1400

    lab.nft(
        r, "table ip f { chain o { type filter hook output priority 0; icmp type destination-unreachable drop; }; }"
    )
    status, found = result(a, "mtu", "10.2.0.1", *quick)
    assert (status, found["mtu"], found["verdict"], found["vanished"]) == (1, 1400, "degraded", 1401), found
    r.run("nft", "flush", "ruleset")

    status, found = result(a, "reach", "10.2.0.1", "--count", "2", *quick)
    assert (status, found["answered"], found["verdict"]) == (0, 2, "ok")
    status, found = result(a, "reach", "10.3.0.1", "--count", "1", *quick)
    assert status == 1 and "says 10.1.0.254" in found["says"]
    for proto in ("tcp", "udp"):
        status, found = result(a, "reach", "10.2.0.1", "--proto", proto, "--port", "7", "--count", "1", *quick)
        assert (status, found["verdict"]) == (1, "degraded") and "nobody listens" in found["says"]
    lab.listen_tcp(b, "10.2.0.1", 7)
    lab.listen_udp(b, "10.2.0.1", 7, echo=True)
    for proto in ("tcp", "udp"):
        assert result(a, "reach", "10.2.0.1", "--proto", proto, "--port", "7", "--count", "1", *quick)[0] == 0

    status, found = result(a, "reach", "10.2.0.1", "--from", "10.99.0.1", *quick)
    assert (status, found["verdict"], found["sent"]) == (3, "unknown", 0)
    status, document, said = asked(a, "reach", "10.2.0.1", "--dry-run")
    assert (status, document["results"], document["plan"]["packets"]) == (0, [], 5)
    status, document, said = asked(a, "reach", "224.0.0.1")
    assert status == 64 and "more than one host" in said
    status, out, said = a.netdiag("probe", "reach", "10.2.0.1", "--count", "1")
    assert out.startswith("sends ICMP echo requests to 10.2.0.1: at most 1, 5 a second, within 1.2 seconds\nOK ")


def test_a_tunnel_that_answers_and_one_that_does_not(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, "eth0", b, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    keys = {host.name: key_pair(host) for host in (a, b)}
    for host, other, number in ((a, b, 1), (b, a, 2)):
        peer = Peer(
            public_key=keys[other.name][1],
            allowed_ips=[f"10.0.0.{3 - number}/32"],
            endpoint=f"192.0.2.{3 - number}:51820",
        )
        lab.wireguard(host, "wg0", keys[host.name][0], 51820, [peer])
        host.ip(f"address add 10.0.0.{number}/24 dev wg0\nlink set wg0 mtu 1420 up")
    status, found = result(a, "wireguard", "10.0.0.2")
    assert (status, found["verdict"], found["handshook"]) == (0, "ok", True), found
    assert found["public_key"] == keys["b"][1] and found["received_bytes"] > 0

    b.ip("link set wg0 down")

    def silent() -> Any:
        from netdiag.cli.probe import _devices
        from netdiag.probes import wireguard

        (tunnel,) = wireguard.tunnels(_devices(), "wg0")
        began = time.monotonic()
        said = wireguard.run(tunnel, _devices, wait=1.0)
        return said.verdict, said.says, time.monotonic() - began < 5

    verdict, says, in_time = a.call(silent)
    assert verdict == "failed" and "does not answer" in says and in_time
    status, _, said = asked(a, "wireguard", "10.9.0.1")
    assert status == 64 and "no address that a peer is allowed" in said
