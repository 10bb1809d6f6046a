"""Guests' interfaces that came or went while the host was read: what is found on them alone is no alarm."""

import pytest

from netdiag.engine import judge
from netdiag.index.motion import moving
from netdiag.model.finding import Finding
from netdiag.model.snapshot import Snapshot
from netdiag.rules import discover
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, nat, port, rule, table
from tests.rules.test_examples import META, complete_coverage


def seen(host: HostBuilder, before: str, after: str) -> HostBuilder:
    """Two samples of the counters with these interfaces."""
    first, second = (tuple(host.link_counters(name) for name in names.split()) for names in (before, after))
    return host.counters(before={"links": first}, after={"links": second})


def found(host: HostBuilder, name: str) -> Finding:
    module = discover()[name]
    snapshot = Snapshot(meta=META, tables=host.build(), coverage=complete_coverage())
    (finding,) = judge(snapshot, modules={name: module}).findings
    return finding


def down() -> HostBuilder:
    return HostBuilder().link("eth0").tap("tap0", up=False)


@pytest.mark.parametrize(
    ("before", "after", "severity"),
    [
        ("eth0 tap0", "eth0 tap0", "critical"),
        ("eth0", "eth0 tap0", "info"),
        ("eth0 tap0", "eth0", "info"),
        ("tap0", "eth0 tap0", "critical"),
    ],
)
def test_on_the_interface(before: str, after: str, severity: str) -> None:
    finding = found(seen(down(), before, after), "tap-down-vmm-eio")
    assert finding.severity == severity
    assert finding.message.endswith("tap0 came or went while it was read: look again") == (severity == "info")


def test_without_a_second_sample() -> None:
    assert found(down(), "tap-down-vmm-eio").severity == "critical"


def lost(*names: str) -> HostBuilder:
    """Addresses that table local does not have."""
    host = HostBuilder().link("eth0")
    for number, name in enumerate(names):
        host.tap(name).address(name, f"10.0.{number}.1/30")
    return host.without_routes(table=255).address("eth0", "192.0.2.1/24")


@pytest.mark.parametrize(("after", "severity"), [("eth0 tap0 tap1", "info"), ("eth0 tap0", "critical")])
def test_on_what_suffers(after: str, severity: str) -> None:
    """A finding about a route, which only tells whom it costs something: all of them are new, or one is not."""
    tables = lost("tap0", "tap1")
    assert found(seen(tables, "eth0", after), "rule-local-missing-or-moved").severity == severity


def test_only_guests_interfaces_move() -> None:
    """And bridges of engines; a card or a tunnel that goes is missed."""
    host = HostBuilder().link("eth0").link("wg0", kind="wireguard").link("br0", kind="bridge").tap("tap0")
    assert moving(seen(host, "tap0", "eth0 wg0 br0").build()) == {"br0", "tap0"}
    gone = seen(HostBuilder().tap("tap0"), "tap0", "")
    assert moving(gone.vanished("tap0").build()) == {"tap0"}


@pytest.mark.parametrize(("after", "severity"), [("eth0 tap0", "warning"), ("eth0 tap0 tap9", "info")])
def test_on_who_is_not_there(after: str, severity: str) -> None:
    """A rule that misses a guest: the one that just comes, whatever its interface, may be that one."""
    dnat = rule(port(6, 8080), nat("dnat", "10.0.0.9", 80))
    host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
    host.tap("tap0").route("10.0.0.2/32", dev="tap0").tap("tap9")
    host.nft(table(chain("pre", dnat, hook="prerouting", priority="dstnat", type="nat"), name="nat"))
    seen(host, "eth0 tap0", after).vanished("tap9")
    assert found(host, "nf-orphan-dnat-to-dead").severity == severity
