"""IPv6 addresses that are there and cannot be used, or should not be: tentative for ever, deprecated, unique local."""

import errno
import socket

from tests.drills.harness import Drill, confirm, drill_test
from tests.lab import Host, Lab

FAR = "2001:db8:ffff::77"


def build(lab: Lab) -> Host:
    """A host with one global address and a router."""
    host, router = lab.host("edge1"), lab.host("gw")
    lab.link(host, "eth0", router, "eth0", b_addresses="2001:db8:1::1/64")
    router.ip("address add fe80::1/64 dev eth0 nodad")
    host.ip("address add fe80::2/64 dev eth0 nodad\naddress add 2001:db8:1::2/64 dev eth0 nodad")
    host.ip("route add default via fe80::1 dev eth0")
    return host


def refused(host: Host, address: str) -> bool:
    """Whether a service cannot bind the address."""

    def bind() -> bool:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as service:
            try:
                service.bind((address, 7777))
            except OSError as trouble:
                return trouble.errno == errno.EADDRNOTAVAIL
        return False

    return host.call(bind)


def slow(lab: Lab, host: Host) -> None:
    host.sysctl({"net.ipv6.conf.eth0.accept_dad": 1, "net.ipv6.conf.eth0.dad_transmits": 60})
    host.ip("address add 2001:db8:1::3/64 dev eth0")
    assert refused(host, "2001:db8:1::3")


def quick(lab: Lab, host: Host) -> None:
    host.sysctl({"net.ipv6.conf.eth0.accept_dad": 0, "net.ipv6.conf.eth0.dad_transmits": 1})
    host.ip("address del 2001:db8:1::3/64 dev eth0\naddress add 2001:db8:1::3/64 dev eth0 nodad")


def tunnel(lab: Lab, host: Host) -> None:
    """The address is deprecated, and a mesh has another one: packets to the world now carry that."""
    host.ip("address change 2001:db8:1::2/64 dev eth0 preferred_lft 0\nlink add t0 type veth peer name t1")
    host.ip("link set t0 up\nlink set t1 up\naddress add fd00:9::1/64 dev t0 nodad")
    assert "src fd00:9::1" in host.run("ip", "-6", "route", "get", FAR).stdout


test_drill = drill_test(
    Drill(
        rule="ipv6-tentative-stuck",
        build=build,
        break_=slow,
        repair=quick,
        severity="warning",
        expect={"kind": "address", "address": "2001:db8:1::3", "ifname": "eth0"},
    ),
    Drill(
        rule="addr-deprecated-source",
        build=build,
        break_=tunnel,
        repair=None,
        severity="warning",
        expect={"kind": "address", "address": "2001:db8:1::2", "ifname": "eth0"},
    ),
)


def test_only_a_unique_local_address(lab: Lab) -> None:
    host = build(lab)
    assert not host.report("--interval", "0", "--rule", "ula-gua-scope-mixup")["findings"]
    host.ip("address del 2001:db8:1::2/64 dev eth0\naddress add fd00:1::2/64 dev eth0 nodad")
    report = host.report("--interval", "0", "--skip", "dns-nameserver-unroutable")  # a lab has the machine's resolver
    assert [(row["rule"], row["severity"]) for row in report["findings"]] == [("ula-gua-scope-mixup", "info")]
    for command in report["findings"][0]["confirm"]:
        confirm(host, command)
