"""A peer that has never answered a minute's worth of tries, told by a scripted daemon; and peers that wait or are new.

That a try of wireguard-go is 148 bytes, and counts, is seen on the real one: it needs a minute for a dozen.
"""

from tests.drills.harness import Drill, drill_test
from tests.drills.wireguardworld import Told, key_of, mesh, scripted
from tests.lab import Host, Lab

WELL, NEW = "A" * 42 + "E=", "B" * 42 + "E="


def build(lab: Lab) -> Host:
    """wg0, a tun of a scripted daemon: one peer that is well, and a new one with eleven tries."""
    host, far = lab.host("a"), lab.host("b")
    lab.link(host, "eth0", far, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    host.ip("tuntap add dev wg0 mode tun\nlink set dev wg0 mtu 1420 up\naddress add 10.9.0.1/24 dev wg0")
    tell(host, tries=11)
    return host


def tell(host: Host, *, tries: int, age: float | None = None, endpoint: str | None = "192.0.2.2:51821") -> None:
    well = Told(public_key=WELL, age=20, allowed_ips=["10.9.0.3/32"], rx=9000, tx=9000)
    new = Told(public_key=NEW, age=age, keepalive=25, tx=148 * tries, endpoint=endpoint)
    scripted(host, "wg0", [well, new])


def waiting(lab: Lab) -> Host:
    """The new peer waits for the other side to call."""
    host = build(lab)
    tell(host, tries=40, endpoint=None)
    return host


DRILL = Drill(
    rule="wg-never-handshaked",
    build=build,
    break_=lambda lab, host: tell(host, tries=12),
    repair=lambda lab, host: tell(host, tries=13, age=3),
    severity="warning",
    expect={"kind": "wireguard-peer", "ifname": "wg0", "public_key": NEW},
    twin=waiting,
)
test_drill = drill_test(DRILL)


def test_a_try_is_148_bytes(lab: Lab) -> None:
    host, _ = mesh(lab)
    stranger = key_of(host, "pubkey")
    host.run("wg", "set", "wg0", "peer", stranger, "endpoint", "192.0.2.2:9", "persistent-keepalive", "25")

    def sent() -> int:
        lines = host.run("wg", "show", "wg0", "transfer").stdout.splitlines()
        return next(int(line.split()[2]) for line in lines if line.startswith(stranger))

    lab.wait(lambda: sent() > 0, 5, "one try")
    assert sent() == 148
