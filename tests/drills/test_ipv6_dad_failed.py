"""Somebody else on the link has the IPv6 address already."""

import socket

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

RULE = "ipv6-dad-failed"
ADDRESS = "2001:db8::1/64"


def segment(lab: Lab) -> Host:
    """two hosts and a switch, with duplicate address detection as the kernel has it"""
    switch = lab.switch()
    host, other = lab.host("edge1", dad=True), lab.host("edge2", dad=True)
    lab.plug(host, "eth0", switch, "192.0.2.1/24")
    lab.plug(other, "eth0", switch, "192.0.2.2/24")
    other.ip(f"address add {ADDRESS} dev eth0 nodad")
    return host


def alone(lab: Lab) -> Host:
    """The host has the address, and nobody else."""
    host = segment(lab)
    taken_back(lab, host)
    lab.wait(lambda: "tentative" not in shown(host, "eth0"), what="the address is in use")
    return host


def taken_by_another(lab: Lab, host: Host) -> None:
    """Another host takes it before this one is configured anew."""
    lab.hosts["edge2"].ip(f"address add {ADDRESS} dev eth0 nodad")
    host.ip(f"address del {ADDRESS} dev eth0\naddress add {ADDRESS} dev eth0")


def binds(lab: Lab, host: Host) -> bool:
    """A service of the host can be started on its address."""

    def program() -> bool:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as one:
            try:
                one.bind((ADDRESS.partition("/")[0], 443))
            except OSError:
                return False
        return True

    return host.call(program)


def loop(lab: Lab) -> Host:
    """Both ends of one cable in one namespace."""
    host = lab.host("edge1", dad=True)
    lab.link(host, "v0", host, "v1", a_addresses=ADDRESS)
    lab.wait(lambda: "tentative" not in shown(host, "v0"), what="the first end has its address")
    return host


def shown(host: Host, ifname: str) -> str:
    return host.run("ip", "-6", "address", "show", "dev", ifname, "to", ADDRESS.partition("/")[0]).stdout


def failed(ifname: str, host: Host) -> bool:
    return "dadfailed" in shown(host, ifname)


def taken_back(lab: Lab, host: Host) -> None:
    lab.hosts["edge2"].ip(f"address del {ADDRESS} dev eth0")
    host.ip(f"address flush to {ADDRESS} dev eth0\naddress add {ADDRESS} dev eth0")


def nodad(lab: Lab) -> Host:
    """A failover pair: both have the address, this one without detection."""
    host = segment(lab)
    host.ip(f"address add {ADDRESS} dev eth0 nodad")
    return host


def spare_partner(lab: Lab) -> Host:
    """The address is the other host's, and only there."""
    return segment(lab)


test_drill = drill_test(
    Drill(
        name="another host has it",
        rule=RULE,
        build=alone,
        break_=taken_by_another,
        settle=lambda lab, host: failed("eth0", host),
        repair=taken_back,
        carries=binds,
        severity="critical",
        expect={"kind": "address", "address": "2001:db8::1", "ifname": "eth0"},
        twin=nodad,
    ),
    Drill(
        name="another interface of this host has it",
        rule=RULE,
        build=loop,
        break_=lambda lab, host: host.ip(f"address add {ADDRESS} dev v1"),
        settle=lambda lab, host: failed("v1", host),
        repair=lambda lab, host: host.ip(f"address del {ADDRESS} dev v1"),
        severity="critical",
        expect={"kind": "address", "address": "2001:db8::1", "ifname": "v1"},
        twin=spare_partner,
    ),
)


def test_the_fix_line_works_once_nobody_else_has_it(lab: Lab) -> None:
    host = segment(lab)
    host.ip(f"address add {ADDRESS} dev eth0")
    lab.wait(lambda: failed("eth0", host), what="detection has failed")
    (finding,) = host.report("--rule", RULE)["findings"]
    lab.hosts["edge2"].ip(f"address del {ADDRESS} dev eth0")
    assert host.report("--rule", RULE)["findings"], "the kernel does not try again by itself"
    host.run("bash", "-ec", finding["fix"])
    lab.wait(lambda: "tentative" not in shown(host, "eth0"), what="the address is in use")
    assert host.report("--rule", RULE)["findings"] == []
