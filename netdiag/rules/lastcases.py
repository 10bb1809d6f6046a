"""Examples of several rules: hosts whose default routes stand in a table behind main, for all packets."""

from collections.abc import Iterator
from typing import Any

from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import Example

LAST = 90
"""The table; its rule stands behind those of main and default."""


def _host(built: Any = None, family: str = "inet") -> Any:
    host = (built or HostBuilder()).link("eth0").link("eth1").address("eth0", "10.0.0.1/24")
    host.address("eth0", "2001:db8::1/64").route("default", via="10.0.0.2", dev="eth0", table=LAST)
    host.route("default", via="2001:db8::2", dev="eth0", table=LAST)
    return host.rule(33000, table=LAST, family=family)


def _session() -> Any:
    return BirdHost().bgp("up1", neighbor_address="203.0.113.9")


def last_resort_refused() -> Iterator[Example]:
    """For rule-terminal-unreachable: a rule in front refuses."""

    def case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
        return Example(name=f"the last table: {name}", why=why, tables=host.build(), fires=fires, **more)

    says = ("and 90 with its default route via 10.0.0.2 dev eth0",)
    all_ = _host().rule(100, action="unreachable")
    yield case("everything", "the host is cut off", all_, 1, severity="critical", says=says)
    six = _host(family="inet6").rule(100, action="unreachable", family="inet6")
    yield case("everything of IPv6", "nothing of it is to leave beside a VPN", six)
    lan = _host().rule(90, table=254, suppress_prefixlength=0).rule(100, action="unreachable")
    yield case("everything but the LAN", "a kill switch that leaves the neighbours", lan)
    ban: dict[str, Any] = {"action": "prohibit", "dst": "203.0.113.0", "dst_len": 24}
    gone = ("ip rule del pref 90 from all to 203.0.113.0/24 prohibit",)
    session = _host(_session()).rule(90, **ban)
    yield case("a session", "its neighbour is refused", session, 1, severity="critical", says=gone)
    port: dict[str, Any] = {"ip_proto": 6, "dport_start": 179, "dport_end": 179}
    calls = BirdHost().bgp_down("up1", "Socket: No route to host", neighbor_address="203.0.113.9")
    dialled = _host(calls).rule(90, **ban, **port)
    yield case("a session, by its port", "it cannot be dialled", dialled, 1, severity="critical")
    stands = _host(_session()).rule(90, **ban, **port)
    yield case("a session by its port, and it stands", "the neighbour has dialled", stands, 1, severity="info")
    apart = _host(_session(), "inet6").rule(90, **ban)
    yield case("a session, and the table is of the other family", "nothing would take it", apart, 1, severity="info")
    dead = _host(_session()).rule(90, **ban).rule(95, action="unreachable", dst="203.0.113.9", dst_len=32)
    yield case("a session, refused twice", "nothing would take it", dead, 2, severity="info")
    yield from _main_by_name()


def _main_by_name() -> Iterator[Example]:
    """A rule of somebody's leads chosen packets to main, and another one refuses them first."""

    def case(name: str, why: str, rule: dict[str, Any], fires: int = 1, **more: Any) -> Example:
        host = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").route("default", via="10.0.0.2", dev="eth0")
        host.rule(100, action="unreachable", fwmark=1).rule(200, **({"table": 254} | rule))
        told = {"severity": "info"} | more
        return Example(name=f"main by name: {name}", why=why, tables=host.build(), fires=fires, **told)

    says = ("so that rule 200 (from all fwmark 0x1 lookup main) never gets a packet, though table main has 0.0.0.0/0",)
    yield case("the same mark", "somebody meant it to get through", {"fwmark": 1}, severity="critical", says=says)
    narrow: dict[str, Any] = {"fwmark": 1, "src": "10.0.0.0", "src_len": 24}
    yield case("a part of it", "the same", narrow, severity="critical")
    yield case("another mark", "it gets its packets", {"fwmark": 2})
    yield case("the LAN alone", "a kill switch may stand before it", {"fwmark": 1, "suppress_prefixlength": 0})
    yield case("everything", "that is the kernel's own rule", {})
    yield from _vrfs()


def _vrfs() -> Iterator[Example]:
    """What has no route in a VRF ends there (Cumulus Linux, SONiC): other packets do not meet that rule."""

    def case(name: str, why: str, *behind: dict[str, Any], table: bool = True, fires: int = 0) -> Example:
        host = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").route("default", via="10.0.0.2", dev="eth0")
        host.link("red", kind="vrf", info={"table": 10}).link("eth1", master="red").address("eth1", "10.1.0.1/24")
        host.route("default", via="10.1.0.2", dev="eth1", table=10)
        host.route("default", via="10.1.0.2", dev="eth1", table=60)
        if table:
            host.rule(1000, l3mdev=True)
        host.rule(2000, l3mdev=True, action="unreachable")
        for rule in behind:
            host.rule(3000, **rule)
        return Example(name=f"VRFs: {name}", why=why, tables=host.build(), fires=fires)

    yield case("alone", "the usual two rules")
    yield case("and a table for a mark", "packets of no VRF come to it", {"fwmark": 1, "table": 60})
    yield case("and main by name", "the same", {"fwmark": 1, "table": 254})
    yield case("without their tables", "the others have main", table=False, fires=1)


def last_resort_hidden() -> Iterator[Example]:
    """For route-blackhole-unexpected: a route of main refuses."""

    def case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
        return Example(name=f"the last table: {name}", why=why, tables=host.build(), fires=fires, **more)

    hole: dict[str, Any] = {"type": "blackhole", "family": "inet"}
    cut = _host(_session()).route("203.0.113.0/24", **hole)
    yield case("a session", "a hole in the default route", cut, 1, severity="critical")
    apart = _host(_session(), "inet6").route("203.0.113.0/24", **hole)
    yield case("a session, and the table is of the other family", "nothing would take it", apart)
    kill = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").route("default", via="10.0.0.2", dev="eth0")
    kill = kill.route("default", table=LAST, **hole).rule(90, fwmark=0, fwmask=1, table=LAST)
    yield case("a kill switch before main", "its table is a VPN's", kill)


def last_resort_dead() -> Iterator[Example]:
    """For rule-shadowed: a rule in front of main takes everything."""
    host = _host().route("default", via="10.1.0.2", dev="eth1", table=50).address("eth1", "10.1.0.1/24")
    why = "a catch-all in front of main is how one replaces both"
    yield Example(name="the last table", why=why, tables=host.rule(100, table=50).build())
    main = _host().address("eth1", "10.1.0.1/24").route("default", via="10.1.0.2", dev="eth1")
    yield Example(name="the last table behind main", why="main has a default route", tables=main.build(), fires=1)
