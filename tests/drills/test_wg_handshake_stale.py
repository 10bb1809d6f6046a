"""A peer that stops answering, told by a scripted daemon beside a real interface; and peers that are only idle."""

from tests.drills.harness import Drill, drill_test
from tests.drills.wireguardworld import Told, key_of, scripted
from tests.lab import Host, Lab

ALIVE, DEAD = "A" * 42 + "E=", "B" * 42 + "E="
LONG = 250
"""Seconds: stale for certain, and yet after the boot of a machine that was just started for these tests."""


def build(lab: Lab) -> Host:
    """wg0, a tun of a scripted daemon, with two peers that are well."""
    host, far = lab.host("a"), lab.host("b")
    lab.link(host, "eth0", far, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    host.ip("tuntap add dev wg0 mode tun\nlink set dev wg0 mtu 1420 up\naddress add 10.9.0.1/24 dev wg0")
    tell(host, age=100)
    return host


def tell(host: Host, *, age: float, keepalive: int = 25, tx_each: int = 0, rx_each: int = 0) -> None:
    fine = Told(public_key=ALIVE, age=20, allowed_ips=["10.9.0.3/32"], rx=9000, tx=9000)
    dead = Told(public_key=DEAD, age=age, keepalive=keepalive, rx=500, tx=500, tx_each=tx_each, rx_each=rx_each)
    scripted(host, "wg0", [fine, dead])


def idle(lab: Lab) -> Host:
    """The second peer is idle: nobody sends and no keepalive."""
    host = build(lab)
    tell(host, age=LONG, keepalive=0)
    return host


def fresh(lab: Lab, host: Host) -> None:
    tell(host, age=100)


KEEPALIVE = Drill(
    rule="wg-handshake-stale",
    shows=False,
    name="keepalive",
    build=build,
    break_=lambda lab, host: tell(host, age=LONG),
    repair=fresh,
    severity="warning",
    expect={"kind": "wireguard-peer", "ifname": "wg0", "public_key": DEAD},
    check_args=("--interval", "0.05"),  # one look leaves open whether the twin's second peer is idle or dead
    twin=idle,
)
TRAFFIC = Drill(
    rule="wg-handshake-stale",
    shows=False,
    name="traffic without answer",
    build=build,
    break_=lambda lab, host: tell(host, age=LONG, keepalive=0, tx_each=296),
    repair=fresh,
    severity="warning",
    expect={"kind": "wireguard-peer", "ifname": "wg0", "public_key": DEAD},
    check_args=("--interval", "0.05"),
    twin=idle,
)
DEAF = Drill(
    rule="wg-handshake-stale",
    shows=False,
    name="it calls and does not hear",
    build=build,
    break_=lambda lab, host: tell(host, age=LONG, tx_each=92, rx_each=148),
    repair=fresh,
    severity="warning",
    expect={"kind": "wireguard-peer", "ifname": "wg0", "public_key": DEAD},
    check_args=("--interval", "0.05"),
    twin=idle,
)
test_drill = drill_test(KEEPALIVE, TRAFFIC, DEAF)


def test_one_look_at_an_idle_peer_is_no_answer(lab: Lab) -> None:
    host = idle(lab)
    gaps = {gap["rule"]: gap["reason"] for gap in host.report("--interval", "0")["not_evaluated"]}
    assert "1 peer with old keys and no persistent keepalive" in gaps["wg-handshake-stale"]


def test_keys_of_the_script_are_keys(lab: Lab) -> None:
    """wg(8) reads the scripted daemon as it reads a real one."""
    host = build(lab)
    assert DEAD in host.run("wg", "show", "wg0", "peers").stdout
    assert len(key_of(host)) == len(DEAD)


def test_a_gateway_that_is_gone_explains_it(lab: Lab) -> None:
    host, far = lab.host("a"), lab.host("b")
    lab.link(host, "eth0", far, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    host.ip("tuntap add dev wg0 mode tun\nlink set dev wg0 mtu 1420 up\nroute add default via 192.0.2.254")
    scripted(host, "wg0", [Told(public_key=DEAD, age=LONG, keepalive=25, endpoint="198.51.100.9:51820")])
    host.run("ping", "-c1", "-W1", "198.51.100.9", check=False)

    def explained() -> bool:
        findings = host.report()["findings"]
        rules = {finding["id"]: finding["rule"] for finding in findings}
        causes = {rules[finding["id"]]: rules.get(finding["explained_by"]) for finding in findings}
        first: str = findings[0]["rule"]
        return first == "neigh-gateway-failed" and causes["wg-handshake-stale"] == first

    lab.wait(explained, 6, "the gateway stands first, the peer under it")
