"""Examples of src-addr-selection-wrong: sources that were others at the time of the baseline."""

from collections.abc import Iterator
from typing import Any

from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example


def sources_since() -> Iterator[Example]:
    """A private uplink, and the public address that its route named at the time of the baseline."""

    def host(src: str | None = None, *, via: str = "10.1.1.1", own: str = "203.0.113.7/32") -> HostBuilder:
        made = HostBuilder().link("eth0").address("eth0", "10.1.1.2/29").address("lo", own)
        return made.route("default", dev="eth0", via=via, prefsrc=src)

    def case(name: str, why: str, now: HostBuilder, then: HostBuilder, **more: Any) -> Example:
        return Example(name=f"since the baseline: {name}", why=why, tables=now.build(), baseline=then.build(), **more)

    named = host("203.0.113.7")
    says = ("the source 10.1.1.2 of eth0", "src 203.0.113.7")
    yield case("source lost", "it went the same way then", host(), named, fires=1, severity="critical", says=says)
    may: dict[str, Any] = {"fires": 1, "severity": "info"}
    yield case("never named", "behind somebody's NAT, perhaps", host(), host(), **may)
    yield case("another gateway", "which may translate", host(via="10.1.1.3"), named, **may)
    yield case("that address has gone", "another fault", host(own="203.0.113.8/32"), named, **may)
    yield case("named still", "as it should be", named, named)
    for table_ in ("routes", "rules", "addresses"):
        yield case(f"{table_} not read then", "it is not known", host(), named, late_then=(table_,), **may)
    six = [HostBuilder().link("eth0").address("eth0", "fd00::5/64").address("lo", "2001:db8:7::7/128") for _ in (0, 1)]
    for made, src in zip(six, ("fd00::5", "2001:db8:7::7"), strict=True):
        made.route("default", dev="eth0", via="fe80::1", prefsrc=src)
    yield case("IPv6", "the route names another one", six[0], six[1], fires=1, severity="critical")
    bare = [HostBuilder().link("eth0").address("eth0", "fd00::5/64").address("lo", "2001:db8:7::7/128") for _ in (0, 1)]
    bare[0].route("default", dev="eth0", via="fd00::1")
    bare[1].route("default", dev="eth0", via="fd00::1", prefsrc="2001:db8:7::7")
    words = ("the source fd00::5 of eth0", "the route names none, and it is the first of eth0", "src 2001:db8:7::7")
    seen: dict[str, Any] = {"fires": 1, "severity": "critical", "says": words}
    yield case("IPv6, source lost", "the uplink's comes first", bare[0], bare[1], **seen)
    yield case("IPv6, never named", "somebody translates it, perhaps", bare[0], bare[0], **may)
    for via in ("fd00::1", "fe80::1"):
        lost = HostBuilder().link("eth0").address("eth0", "fd00::5/64").address("lo", "2001:db8:7::7/128")
        tables = lost.route("default", dev="eth0", via=via).build()
        why = "routers hardly ever translate IPv6"
        yield Example(name=f"IPv6, by {via}", why=why, tables=tables, fires=1, severity="warning", says=words)
