"""The walk on small hosts: each verdict, and what decides it."""

import json
from typing import Any

import jsonschema

from netdiag.index.view import HostIndex
from netdiag.model.coverage import Coverage
from netdiag.model.walk import PathPacket, PathReport
from netdiag.path.host import PathHost
from netdiag.path.trail import Packet
from netdiag.path.walk import walk
from netdiag.render.json import pretty
from netdiag.render.path import render_path
from netdiag.rules.build import HostBuilder
from netdiag.schema import published


def asked(
    host: HostBuilder, dst: str, *, iif: str | None = None, coverage: tuple[Coverage, ...] = (), **fields: Any
) -> PathReport:
    """What becomes of a packet on a small host."""
    seen = PathHost(HostIndex(host.build()), coverage)
    family = "inet6" if ":" in dst else "inet"
    said = PathPacket(family=family, dst=dst, iif=iif, src=fields.get("src"))
    return walk(seen, Packet(family=family, dst=dst, iif=host.ifindex(iif) if iif else 0, **fields), said)


def uplink() -> HostBuilder:
    host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").neighbour("192.0.2.1", dev="eth0")
    return host.route("default", via="192.0.2.1", dev="eth0")


def router() -> HostBuilder:
    host = uplink().link("eth1").address("eth1", "10.0.0.1/24").neighbour("10.0.0.9", dev="eth1")
    for name in ("eth0", "eth1"):
        host.sysctl(f"net.ipv4.conf.{name}.forwarding", 1)
    return host


def test_a_packet_leaves_by_the_default_route() -> None:
    report = asked(uplink(), "198.51.100.1")
    assert (report.verdict, report.dev, report.via, report.src) == ("sent", "eth0", "192.0.2.1", "192.0.2.2")
    assert report.reason == "table main: default via 192.0.2.1 dev eth0 proto boot"
    assert report.answer is not None and report.answer.verdict == "delivered"
    assert [step.layer for step in report.steps if step.decisive] == ["rule", "route"]


def test_own_addresses_are_delivered() -> None:
    assert asked(uplink(), "192.0.2.2").verdict == "delivered"
    assert asked(router(), "192.0.2.2", iif="eth1", src="10.0.0.9").verdict == "delivered"


def test_without_a_route_it_is_refused() -> None:
    host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24")
    report = asked(host, "198.51.100.1")
    assert (report.verdict, report.dev) == ("refused", None)
    assert "no route to 198.51.100.1" in report.reason


def test_a_blackhole_drops() -> None:
    report = asked(uplink().route("198.51.100.0/24", type="blackhole"), "198.51.100.1")
    assert (report.verdict, report.route_type) == ("dropped", "blackhole")


def test_unreachable_and_prohibit_refuse() -> None:
    for kind in ("unreachable", "prohibit"):
        assert asked(uplink().route("198.51.100.0/24", type=kind), "198.51.100.1").verdict == "refused"


def test_a_router_forwards_and_a_host_does_not() -> None:
    report = asked(router(), "198.51.100.1", iif="eth1", src="10.0.0.9")
    assert (report.verdict, report.dev, report.via) == ("forwarded", "eth0", "192.0.2.1")
    assert report.answer is not None
    assert (report.answer.verdict, report.answer.dev, report.answer.asymmetric) == ("forwarded", "eth1", False)
    off = asked(router().sysctl("net.ipv4.conf.eth1.forwarding", 0), "198.51.100.1", iif="eth1", src="10.0.0.9")
    assert off.verdict == "dropped"
    assert "forwarding" in off.reason


def test_a_strict_filter_drops_what_came_the_wrong_way() -> None:
    host = router().sysctl("net.ipv4.conf.eth1.rp_filter", 1)
    report = asked(host, "192.0.2.2", iif="eth1", src="198.51.100.7")
    assert (report.verdict, report.steps[-1].layer) == ("dropped", "sysctl")
    assert "the way back to 198.51.100.7 leaves by eth0" in report.reason


def test_a_silent_gateway_drops() -> None:
    host = uplink().neighbour("192.0.2.7", dev="eth0", state="failed")
    assert asked(host, "192.0.2.7").verdict == "dropped"


def test_too_long_is_refused_and_without_df_cut() -> None:
    host = uplink().route("198.51.100.0/24", via="192.0.2.1", dev="eth0", metrics={"mtu": 1400})
    report = asked(host, "198.51.100.1", size=1401)
    assert (report.verdict, report.mtu) == ("refused", 1400)
    assert "EMSGSIZE" in report.reason
    assert asked(host, "198.51.100.1", size=1400).verdict == "sent"
    assert asked(host, "198.51.100.1", size=1401, df=False).verdict == "sent"


def test_what_was_not_read_is_not_guessed() -> None:
    coverage = tuple(
        Coverage(collector=name, status="denied" if name == "routes" else "ok")
        for name in ("links", "addresses", "routes", "rules", "sysctls", "nexthops", "neighbours")
    )
    report = asked(uplink(), "198.51.100.1", coverage=coverage)
    assert report.verdict == "unknown"
    assert "routes: denied" in report.reason


def test_a_blackhole_discipline_swallows() -> None:
    host = HostBuilder().link("eth0", qdisc="blackhole").address("eth0", "192.0.2.2/24")
    report = asked(host, "192.0.2.1")
    assert (report.verdict, report.steps[-1].layer) == ("dropped", "qdisc")


def test_reports_are_as_published() -> None:
    validator = jsonschema.Draft202012Validator(published("netdiag.path-1"))
    for host, dst in ((uplink(), "198.51.100.1"), (uplink(), "192.0.2.2"), (HostBuilder(), "198.51.100.1")):
        document = json.loads(pretty(asked(host, dst)))
        assert [error.message for error in validator.iter_errors(document)] == []
        assert {"from", "to"} <= set(document["packet"])


def test_the_text_marks_what_decides_and_ends_with_the_verdict() -> None:
    host = uplink().route("default", via="192.0.2.9", dev="eth0", priority=50)
    text = render_path(asked(host, "198.51.100.1"), color=False, width=80, explain=True)
    assert "* route     table main: default via 192.0.2.1 dev eth0 proto boot -> unicast" in text
    assert "not taken: default via 192.0.2.9 dev eth0 proto boot metric 50: its metric 50 is higher" in text
    assert text.splitlines()[-1] == "verdict: sent on eth0 via 192.0.2.1"


def test_a_rule_that_does_not_match_says_what_the_packet_has() -> None:
    host = uplink().rule(10, fwmark=7, fwmask=0xFFFFFFFF, table=100).rule(11, src="10.0.0.0", src_len=8, table=100)
    steps = [step for step in asked(host, "198.51.100.1").steps if step.decision.startswith("not matched")]
    assert [step.why for step in steps] == ["its mark is 0x0", "it has no source yet"]


def test_sources_that_lost_are_named_with_the_rule_of_rfc_6724() -> None:
    host = HostBuilder().link("eth0").address("eth0", "2001:db8:1::2/64").address("eth0", "fe80::2/64")
    host.link("eth1").address("eth1", "2001:db8:2::2/64").route("default", via="2001:db8:1::1", dev="eth0")
    step = next(step for step in asked(host, "2001:db8:f::1").steps if step.decision.startswith("source"))
    assert step.decision == "source 2001:db8:1::2"
    assert step.lost == (
        "source ::1: rule 2: its scope fits worse",
        "source fe80::2: rule 2: its scope fits worse",
        "source 2001:db8:2::2: rule 5: it is on another interface",
    )
