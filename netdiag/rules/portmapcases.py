"""Examples for cni-portmap-stale: what shows that a container is gone to which nobody sent anything yet. Pure."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.model.cni import Cni, CniAllocation
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, daddr, nat, port, rule, table, verdict
from netdiag.rules.shape import Example


def _bridged(host: HostBuilder) -> None:
    """A bridge of CNI with two containers."""
    host.link("cni0", kind="bridge").address("cni0", "10.88.0.1/16")
    for number in range(2):
        host.link(f"veth{number}", kind="veth", master="cni0", link_netnsid=number)


def _node(*mapped: tuple[str, int, str]) -> HostBuilder:
    """A node with a bridge of CNI; each mapping is a chain, a port of the host, and a container's address."""
    host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").address("eth0", "192.0.2.3/24")
    _bridged(host)
    names = [f"CNI-DN-{name}" for name, _, _ in mapped]
    own = [
        chain(name, rule(port(6, number), nat("dnat", to, 80), compat=True))
        for name, (_, number, to) in zip(names, mapped, strict=True)
    ]
    ports = chain("CNI-HOSTPORT-DNAT", *(rule(verdict("jump", name)) for name in names))
    first = chain("PREROUTING", rule(verdict("jump", ports.name)), hook="prerouting", priority="dstnat", type="nat")
    return host.nft(table(first, ports, *own, name="nat", family="ip"))


def _case(name: str, why: str, host: HostBuilder, *given: str, severity: str | None, **more: Any) -> Example:
    rows = tuple(CniAllocation(network="pods", address=one, container_id=one) for one in given)
    tables = replace(host.build(), cni=Cni(allocations=rows)) if given else host.build()
    fires: dict[str, Any] = {"fires": 1, "severity": severity} if severity else {}
    return Example(name=name, why=why, tables=tables, **(fires | more))


def cases() -> Iterator[Example]:
    """Addresses that are given out, and ports that are mapped twice."""
    one = _node(("a", 8080, "10.88.0.5"))
    says = ("to 10.88.0.5, and nobody is there: its address is given out to no container",)
    yield _case("given back", "nobody asked for it yet", one, "10.88.0.9", severity="warning", says=says)
    past = _node(("a", 8080, "10.88.0.5")).neighbour("10.88.0.5", dev="cni0", state="stale")
    yield _case("given back a moment ago", "the neighbour is of the past", past, "10.88.0.9", severity="warning")
    yield _case("given out", "an idle container", one, "10.88.0.9", "10.88.0.5", severity=None)
    yield _case("others of another network", "this one may have another plugin", one, "10.99.0.9", severity=None)
    yield _case("others of the other family", "the same", one, "fd00::9", severity=None)
    there = _node(("a", 8080, "10.88.0.5")).neighbour("10.88.0.5", dev="cni0")
    yield _case("not given out, and it answers", "by hand", there, "10.88.0.9", severity=None)
    twice = _node(("a", 8080, "10.88.0.5"), ("b", 8080, "10.88.0.9")).neighbour("10.88.0.9", dev="cni0")
    behind = ("10.88.0.5, and nobody is there: the port was given to 10.88.0.9 since",)
    yield _case("mapped again behind it", "the old one gets the packets", twice, severity="warning", says=behind)
    both = _node(("a", 8080, "10.88.0.5"), ("b", 8080, "10.88.0.9"))
    both.neighbour("10.88.0.9", dev="cni0").neighbour("10.88.0.5", dev="cni0")
    yield _case("mapped twice, both answer", "somebody shares a port", both, severity=None)
    two = _node(("a", 8080, "10.88.0.5"), ("b", 8081, "10.88.0.9")).neighbour("10.88.0.9", dev="cni0")
    yield _case("two ports", "the healthy node", two, severity=None)
    three = _node(("a", 8080, "10.88.0.5"), ("b", 8081, "10.88.0.6"), ("c", 8082, "10.88.0.9"))
    three.neighbour("10.88.0.9", dev="cni0")
    yield _case("three mappings, two containers", "one of two is gone", three, severity="info", fires=2)
    heard = _node(("a", 8080, "10.88.0.5"), ("b", 8080, "10.88.0.9")).neighbour("10.88.0.5", dev="cni0")
    yield _case("the first of two answers", "the second may be gone", heard, severity=None)
    apart = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").address("eth0", "192.0.2.3/24")
    _bridged(apart)
    apart.neighbour("10.88.0.9", dev="cni0")
    rules = [
        rule(daddr(f"192.0.2.{number}"), port(6, 8080), nat("dnat", f"10.88.0.{to}", 80))
        for number, to in ((2, 5), (3, 9))
    ]
    first = chain("prerouting", *rules, hook="prerouting", priority="dstnat", type="nat")
    apart.nft(table(first, name="cni_hostport", family="ip"))
    yield _case("one port of two addresses of the host", "each has its container", apart, severity=None)
