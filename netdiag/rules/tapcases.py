"""Examples of tap-route-missing: programs on taps, and several guests that lack one family. Nothing can fail."""

from collections.abc import Iterator
from dataclasses import replace

from netdiag.model.bpf import BpfAttachment
from netdiag.model.tc import INGRESS, Qdisc, Tc, TcAction, TcFilter
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc
from netdiag.rules.shape import Example


def _two() -> HostBuilder:
    host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
    return host.tap("tap0").tap("tap1").route("10.1.0.5/32", dev="tap0")


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def treated_cases() -> Iterator[Example]:
    """Programs on the taps, by what they can do."""
    critical: dict[str, object] = {"severity": "critical"}
    for verdicts, fires in (((-1,), 1), ((0, 2), 1), ((2,), 0), ((0, 7), 0), ((0, 4), 0), (None, 0)):
        host = _two().bpf(programs=[program(1, tag="aa" * 8), program(2, tag="bb" * 8, verdicts=verdicts)])
        host = tc(tc(host, "tap0", 1), "tap1", 2)
        more = critical if fires else {}
        yield _case(f"another program, of verdicts {verdicts}", "whether frames go on", host, fires, **more)
    for verdicts, fires in (((1, 2), 1), ((2, 4), 0)):
        host = _two().bpf(programs=[program(2, type="xdp", verdicts=verdicts)])
        host.bpf(attachments=[BpfAttachment(prog_id=2, hook="xdp", mode="generic", ifindex=host.ifindex("tap1"))])
        yield _case(f"XDP of verdicts {verdicts}", "whether frames go on", host, fires, **(critical if fires else {}))

    def three(*tags: str, name: str = "policy") -> HostBuilder:
        host = _two().tap("tap2").route("10.1.0.7/32", dev="tap2")
        host.bpf(programs=[program(number, name, tag * 8) for number, tag in enumerate(tags, 1)])
        for number in range(3):
            tc(host, f"tap{number}", number + 1)
        return host

    yield _case("a build for each tap", "constants of the tap", three("aa", "bb", "cc"), 1, **critical)
    yield _case("a build of its own alone", "it may redirect", three("aa", "bb", "aa"))
    yield _case("a build for each, without a name", "they may be anything", three("aa", "bb", "cc", name=""))
    vrf = _two().link("blue", kind="vrf").tap("tap1", master="blue")
    yield _case("in a VRF", "which is routed as well", vrf, 1, **critical)


def few_lack_cases() -> Iterator[Example]:
    """Two of several guests without an IPv6 route."""
    for count, ready, severity in ((8, False, "info"), (8, True, "warning"), (3, True, None)):
        host = HostBuilder().link("eth0")
        for number in range(count):
            host.tap(f"tap{number}").route(f"10.1.0.{number}/32", dev=f"tap{number}")
            if ready:
                host.address(f"tap{number}", "2001:db8::1/128")
            if number > 1:
                host.route(f"2001:db8::{number}/128", dev=f"tap{number}")
        more: dict[str, object] = {"severity": severity} if severity else {}
        name = f"two of {count} without IPv6, prepared: {ready}"
        yield _case(name, "how many have it", host, 2 if severity else 0, **more)


def beside_cases() -> Iterator[Example]:
    """A guest of one family beside a single one of both."""
    on = {"inet_conf": {"proxy_arp": 1}}
    for name, own, others, routes, severity in (
        ("both are prepared", on, on, ("2001:db8::5/128",), "warning"),
        ("neither is prepared", {}, {}, ("2001:db8::5/128",), None),
        ("the other is prepared alone", {}, on, ("2001:db8::5/128",), None),
        ("without IPv6, which nothing prepares", on, on, ("10.1.0.5/32",), None),
        ("of both", on, on, ("10.1.0.5/32", "2001:db8::5/128"), None),
    ):
        host = HostBuilder().link("eth0").tap("tap0", **own).tap("tap1", **others)  # type: ignore[arg-type]
        for route in routes:
            host.route(route, dev="tap0")
        host.route("10.1.0.6/32", dev="tap1").route("2001:db8::6/128", dev="tap1")
        more: dict[str, object] = {"severity": severity} if severity else {}
        yield _case(f"beside one guest, {name}", "half of its routes", host, 1 if severity else 0, **more)
    apart = HostBuilder().link("eth0").tap("tap0", **on).tap("tap1", **on)  # type: ignore[arg-type]
    apart.route("2001:db8::5/128", dev="tap0").route("10.1.0.6/32", dev="tap1")
    yield _case("beside one guest of the other family", "each has one", apart)
    six = HostBuilder().link("eth0").tap("tap0").tap("tap1").route("2001:db8::5/128", dev="tap0")
    yield _case("guests of IPv6", "no IPv4 is meant", six, 1, says=("ip -6 route add ADDRESS/128 dev tap1",))


def filtered_cases() -> Iterator[Example]:
    """A clsact on the tap without a route, by what hangs below it."""
    critical: dict[str, object] = {"severity": "critical"}
    for name, kinds, fires, block, late in (
        ("nothing", None, 1, None, False),
        ("a policer", ("police",), 1, None, False),
        ("a filter without an action", (), 1, None, False),
        ("a redirection", ("mirred",), 0, None, False),
        ("a policer and a redirection", ("police", "mirred"), 0, None, False),
        ("a shared block", None, 0, 7, False),
        ("nothing that was read", None, 0, None, True),
    ):
        host = _two().bpf(programs=[program(1, tag="aa" * 8, verdicts=(0,))])
        host = tc(tc(host, "tap0", 1), "tap1", 1).tap_filtered("tap0").tap_filtered("tap1")
        at = host.ifindex("tap1")
        roots = (Qdisc(ifindex=at, kind="clsact", handle=0xFFFF0000, parent=INGRESS, ingress_block=block),)
        actions = tuple(TcAction(kind=kind) for kind in kinds or ())
        row = TcFilter(ifindex=at, parent=0xFFFFFFF2, kind="u32", handle=1, priority=1, protocol=3, actions=actions)
        tables = replace(host.build(), qdiscs=Tc(qdiscs=roots, filters=(row,) if kinds is not None else ()))
        more: dict[str, object] = {"fires": 1, **critical} if fires else {}
        more |= {"late": ("qdiscs",), "unjudged": True} if late else {}
        told = f"a policy of eBPF, and beside it below clsact {name}"
        yield Example(name=told, why="whether frames go elsewhere", tables=tables, **more)  # type: ignore[arg-type]
