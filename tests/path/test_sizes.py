"""How long a packet may be: path MTUs that were learnt, on small hosts and against a router that cuts."""

from typing import Any

import pytest

from netdiag.index.view import HostIndex
from netdiag.model.coverage import Coverage
from netdiag.model.pathmtu import PathMtu
from netdiag.model.walk import PathPacket, PathReport
from netdiag.path.host import PathHost
from netdiag.path.trail import Packet
from netdiag.path.walk import walk
from netdiag.rules.build import HostBuilder
from tests.lab import Host, Lab
from tests.path.test_tunnels import tunnel
from tests.path.test_walk import asked, router, uplink
from tests.path.world import read_everything

FAR = "198.51.100.1"


def learnt(host: HostBuilder, *, dev: str = "eth0", **fields: Any) -> HostBuilder:
    """The host after "fragmentation needed" came for a destination behind its gateway."""
    row: dict[str, Any] = {"dst": FAR, "mtu": 1400, "gateway": "192.0.2.1", "expires": 500.0, "table": 254}
    return host.path_mtus(PathMtu(family="inet", ifindex=host.ifindex(dev), **{**row, **fields}))


def test_what_was_learnt_binds_own_packets() -> None:
    report = asked(learnt(uplink()), FAR, size=1401)
    assert (report.verdict, report.mtu) == ("refused", 1400)
    assert report.reason == f"1401 bytes do not fit (path MTU to {FAR} learnt by ICMP is 1400): EMSGSIZE"
    step = next(step for step in report.steps if "learnt" in step.object)
    assert step.why == "forgotten in 500 s"
    assert asked(learnt(uplink()), FAR, size=1400).verdict == "sent"
    cut = asked(learnt(uplink()), FAR, size=1401, df=False)
    assert [step.decision for step in cut.steps if "fragmented" in step.decision] == ["fragmented into 2"]


def test_what_was_learnt_elsewhere_or_forgotten_does_not() -> None:
    for fields in ({"dst": "198.51.100.2"}, {"gateway": "192.0.2.9"}, {"expires": 0.0}, {"table": 100}):
        report = asked(learnt(uplink(), **fields), FAR, size=1401)
        assert (report.verdict, report.mtu) == ("sent", 1500), fields


def test_a_router_heeds_it_only_if_told_to_or_if_it_is_locked() -> None:
    through = {"iif": "eth1", "src": "10.0.0.9", "size": 1401}
    report = asked(learnt(router()), FAR, **through)
    assert (report.verdict, report.mtu) == ("forwarded", 1500)
    assert any(step.decision == "not heeded" for step in report.steps)
    assert asked(learnt(router(), locked=True), FAR, **through).verdict == "refused"
    told = learnt(router()).sysctl("net.ipv4.ip_forward_use_pmtu", 1)
    assert asked(told, FAR, **through).verdict == "refused"


def test_the_packet_of_a_tunnel_is_cut_by_what_was_learnt() -> None:
    report = asked(learnt(tunnel(), dst="198.51.100.9"), "10.9.0.2")
    assert (report.mtu, report.mtu_reason) == (1340, "under wg0: path MTU to 198.51.100.9 learnt by ICMP is 1400")


def test_where_it_was_not_read_the_size_is_not_known() -> None:
    names = ("links", "addresses", "routes", "rules", "sysctls", "nexthops", "neighbours", "nft", "fdb", "bpf")
    coverage = (
        *(Coverage(collector=name, status="ok") for name in names),
        Coverage(collector="path_mtus", status="timeout"),
    )
    report = asked(uplink(), FAR, size=1400, coverage=coverage)
    assert report.verdict == "unknown"
    assert "path_mtus: timeout" in report.reason
    assert asked(uplink(), FAR, size=552, coverage=coverage).verdict == "sent"
    assert asked(uplink(), FAR, coverage=coverage).verdict == "sent"


def said(host: Host, dst: str, size: int, *, src: str | None = None) -> PathReport:
    """What the walk says on a lab host; with a source the packet arrives by ``left``."""
    tables, coverage = host.call(read_everything)
    seen = PathHost(HostIndex(tables), coverage)
    iif = "left" if src else None
    family = "inet6" if ":" in dst else "inet"
    index = seen.stack.by_name["left"].ifindex if src else 0
    packet = Packet(family=family, dst=dst, src=src, iif=index, size=size)
    return walk(seen, packet, PathPacket(family=family, dst=dst, src=src, iif=iif, size=size))


def answer(host: Host, dst: str, size: int) -> str:
    """What ping says of a packet of that length that must not be cut: who refuses it."""
    header = 48 if ":" in dst else 28
    told = host.run("ping", "-c1", "-W1", "-Mdo", "-s", str(size - header), dst, check=False)
    return told.stdout + told.stderr


@pytest.mark.lab
def test_a_narrow_cable_behind_a_router_is_learnt() -> None:
    """far -- mid -- host -- near: the cable to ``far`` takes 1300 bytes, and only ``mid`` has it."""
    with Lab() as lab:
        near, host, mid, far = (lab.host(name) for name in ("near", "host", "mid", "far"))
        for left, right, net, mtu in ((near, host, 0, 1500), (host, mid, 1, 1500), (mid, far, 2, 1300)):
            lab.link(
                left,
                "right",
                right,
                "left",
                a_addresses=[f"10.{net}.0.1/24", f"2001:db8:{net}::1/64"],
                b_addresses=[f"10.{net}.0.2/24", f"2001:db8:{net}::2/64"],
                mtu=mtu,
            )
        for one in (host, mid):
            one.sysctl({"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})
        near.ip("route add default via 10.0.0.2\nroute add default via 2001:db8:0::2")
        host.ip("route add 10.2.0.0/24 via 10.1.0.2\nroute add 2001:db8:2::/64 via 2001:db8:1::2")
        mid.ip("route add default via 10.1.0.1\nroute add default via 2001:db8:1::1")
        far.ip("route add default via 10.2.0.1\nroute add default via 2001:db8:2::1")
        for dst, src in (("10.2.0.2", "10.0.0.1"), ("2001:db8:2::2", "2001:db8::1")):
            assert said(host, dst, 1400).verdict == "sent"
            assert "1300" in answer(host, dst, 1400)
            answer(host, dst, 1300)  # used since: only then does IPv4 tell of it
            report = said(host, dst, 1301)
            assert (report.verdict, report.mtu) == ("refused", 1300)
            assert said(host, dst, 1300).verdict == "sent"
            heeded = ":" in dst
            assert said(host, dst, 1400, src=src).verdict == ("refused" if heeded else "forwarded")
            refuser = {True: "2001:db8::2", False: "10.1.0.2"}[heeded]
            assert f"From {refuser}" in answer(near, dst, 1400)
        near.ip("route flush cache")
        host.sysctl({"net.ipv4.ip_forward_use_pmtu": 1})
        assert said(host, "10.2.0.2", 1400, src="10.0.0.1").verdict == "refused"
        assert "From 10.0.0.2" in answer(near, "10.2.0.2", 1400)
