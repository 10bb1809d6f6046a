"""Hosts with a second routing daemon, a script for one, an address translator, or an upgrade that stopped half way."""

import socket
import threading
from pathlib import Path

from tests.drills import bgp
from tests.lab import Host, Lab
from tests.lab.taps import name_process
from tests.zoo import ping
from tests.zoo.providers import FORWARDING, SESSION
from tests.zoo.workers import hold_tun

FRR_BGP, FRR_OSPF = 186, 188
"""rtm_protocol of what zebra installs for bgpd and ospfd."""


def _uplink(lab: Lab, name: str, **sysctls: str) -> Host:
    """A host with a gateway in both families."""
    host, gateway = lab.host(name, sysctls=FORWARDING | sysctls), lab.host("gateway", sysctls=FORWARDING)
    ours, theirs = ["192.0.2.10/24", "2001:db8::10/64"], ["192.0.2.1/24", "2001:db8::1/64"]
    lab.link(host, "eth0", gateway, "eth0", a_addresses=ours, b_addresses=theirs)
    ping(host, "192.0.2.1", "2001:db8::1")
    return host


def _router(address: str, static: str, session: str) -> str:
    """BIRD's configuration with one session and some static routes."""
    return f"router id {address}; protocol device {{}} protocol static {{ {static} }} {session}"


def _session(neighbour: str, local: int, remote: int) -> str:
    channel = "ipv4 { import all; export where source = RTS_STATIC; };"
    return f"protocol bgp up1 {{ local as {local}; neighbor {neighbour} as {remote}; {SESSION} {channel} }}"


def _dead_socket() -> None:
    """A control socket whose daemon is gone."""
    with socket.socket(socket.AF_UNIX) as old:
        old.bind("/run/bird.ctl")


def _zebra() -> None:
    """What zebra shows of itself: its name, and the socket by which bgpd and ospfd reach it."""
    name_process("zebra")
    Path("/run/frr").mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as api:
        api.bind("/run/frr/zserv.api")
        api.listen()
        threading.Event().wait()


def frr_beside_bird(lab: Lab) -> Host:
    """FRR for the fabric, BIRD for the upstream: each with routes of its own, some prefixes from both, by metric."""
    host = _uplink(lab, "fra-edge7")
    far = lab.hosts["gateway"]
    lab.birdd(far, _router("192.0.2.1", "ipv4; route 198.18.0.0/16 blackhole;", _session("192.0.2.10", 65001, 65002)))
    kernel = "protocol kernel { metric 200; ipv4 { export all; }; } "
    lab.birdd(host, kernel + _router("192.0.2.10", "ipv4;", _session("192.0.2.1", 65002, 65001)))
    lab.wait(lambda: bgp.established(host, 1), 20, "the session stands")
    host.fork(_zebra)
    lab.wait(lambda: "zserv" in host.run("ss", "-xlH").stdout, 5, "zebra listens")
    host.ip(
        f"route add default via 192.0.2.1 proto {FRR_BGP} metric 20\n"
        f"route add 10.20.0.0/16 via 192.0.2.1 proto {FRR_OSPF} metric 20\n"
        f"route add 198.18.0.0/16 via 192.0.2.1 proto {FRR_BGP} metric 20"
    )
    host.sh(f"ip -6 route add default via 2001:db8::1 proto {FRR_BGP} metric 20")
    return host


def exabgp_announcer(lab: Lab) -> Host:
    """A resolver that ExaBGP announces from a health check: the address on lo, no routing daemon to be asked."""
    host = _uplink(lab, "ams-dns1")
    host.ip("route add default via 192.0.2.1\naddress add 203.0.113.53/32 dev lo")
    lab.hosts["gateway"].ip("route add 203.0.113.53/32 via 192.0.2.10")
    listener = lab.listen_tcp(lab.hosts["gateway"], "192.0.2.1", 179)

    def announce() -> None:
        name_process("exabgp")
        with socket.create_connection(("192.0.2.1", 179), 5) as session:
            session.sendall(b"\xff" * 16 + b"\x00\x13\x04")
            threading.Event().wait()

    host.fork(announce)
    lab.wait(lambda: listener.packets > 0, 5, "it speaks to the router")
    lab.listen_udp(host, "203.0.113.53", 53)
    return host


def clat_host(lab: Lab) -> Host:
    """464XLAT: no IPv4 on the wire, a default by a translator's tun, and the whole IPv4 behind 64:ff9b::/96."""
    host, router = lab.host("phone1", sysctls={"net.ipv6.conf.all.forwarding": "1"}), lab.host("router")
    lab.link(host, "eth0", router, "eth0", a_addresses="2001:db8:4::10/64", b_addresses="2001:db8:4::1/64")
    host.sh("ip -6 route add default via 2001:db8:4::1")
    hold_tun(host, "clat")
    host.ip("link set clat mtu 1472 up\naddress add 192.0.0.4/32 dev clat")
    host.ip("route add default dev clat mtu 1472 metric 2048")
    host.sh("ip -6 route add 2001:db8:4::46:4/128 dev clat; ip -6 neigh add proxy 2001:db8:4::46:4 dev eth0")
    host.sysctl({"net.ipv6.conf.eth0.proxy_ndp": 1})
    ping(host, "2001:db8:4::1")
    return host


def half_upgraded(lab: Lab) -> Host:
    """An upgrade that stopped half way: BIRD's old socket lies where nobody listens, the new one works, legacy and new
    firewall tables are loaded side by side with nothing but counters in the old ones."""
    host = _uplink(lab, "fra-edge8")
    host.ip("route add default via 192.0.2.1\naddress add 203.0.113.8/32 dev lo")
    far = lab.hosts["gateway"]
    host.call(_dead_socket)
    lab.birdd(far, _router("192.0.2.1", "ipv4;", _session("192.0.2.10", 65001, 65002)))
    static = "ipv4; route 203.0.113.8/32 blackhole;"
    lab.birdd(host, _router("192.0.2.10", static, _session("192.0.2.1", 65002, 65001)))
    lab.wait(lambda: bgp.established(host, 1), 20, "the session stands")
    rules = "type filter hook input priority 0; policy accept; tcp dport 23 drop;"
    lab.nft(host, f"table inet filter {{ chain input {{ {rules} }}; }}")
    host.sh("iptables-legacy -P INPUT ACCEPT; iptables-legacy -A INPUT -p tcp --dport 22")
    lab.listen_tcp(host, "203.0.113.8", 443)
    return host


ANIMALS = (frr_beside_bird, exabgp_announcer, clat_host, half_upgraded)
