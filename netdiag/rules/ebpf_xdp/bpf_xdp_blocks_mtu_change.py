"""What it checks
  A native XDP program has lowered the largest MTU that an interface takes: the card's own, or, of a veth pair, that of
  the end opposite to the one with the program.

Why it matters
  "ip link set mtu 9000" answers "mtu greater than device maximum" as long as the program is attached; of a veth pair,
  on the end where no program is to be seen. Whoever rolls out jumbo frames stumbles over it, and a script that does
  not look at the answer leaves half of a path at the old MTU.

Confirm
  ip -d link show dev IFNAME          (maxmtu; prog/xdp there or at the other end)

Fix
  Detach the program (ip link set dev IFNAME xdp off), change the MTU at both ends, attach it again; or build it for
  multi-buffer packets (SEC "xdp.frags"), which lifts the limit. While it is detached its filter is off.

Not flagged
  Programs in generic mode or offloaded, and multi-buffer ones, which limit nothing. It is an info: nothing is wrong
  until somebody changes the MTU. For an interface that lacks its program for its MTU see bpf-xdp-mtu-too-big.

References
  drivers/net/veth.c veth_xdp_set() (max_mtu of the peer); Documentation/networking/af_xdp.rst "XDP multi-buffer"
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link, Xdp
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-xdp-blocks-mtu-change",
    title="an XDP program keeps an interface from a larger MTU",
    severity="info",
    reads=("links", "peer_links"),
)
JUMBO = 9000
"""Bytes: an interface that takes as much is not in anybody's way."""


def check(view: HostView) -> Iterator[Draft]:
    for link in view.links:
        at = _program(view, link)
        if at is None or link.max_mtu is None or not link.mtu <= link.max_mtu < JUMBO:
            continue
        where = f"at its other end, {at}," if at != link.ifname else "there"
        yield RULE.found(
            subject=subject("link", ifname=link.ifname),
            message=f"{link.ifname} takes no MTU above {link.max_mtu} as long as the XDP program {where} is attached",
            evidence=[
                ("native XDP program at", at, f"RTM_GETLINK {at} IFLA_XDP"),
                (f"{link.ifname} largest MTU", link.max_mtu, f"RTM_GETLINK {link.ifname} IFLA_MAX_MTU"),
            ],
            confirm=[f"ip -d link show dev {quoted(link.ifname)}"],
            fix=f"# before a change of the MTU: ip link set dev {quoted(at)} xdp off",
        )


def _program(view: HostView, link: Link) -> str | None:
    """Interface with the native program that limits this one."""
    if link.kind != "veth":
        return link.ifname if _native(link) else None
    far = view.stack.veth_peer(link.ifindex)
    return far.ifname if far is not None and _native(far) else None


def _native(link: Link) -> bool:
    return link.xdp is not None and link.xdp.mode in ("native", "multi")


def examples() -> Iterator[Example]:
    def case(name: str, why: str, fires: int = 0, *, mode: str | None = "native", **link: Any) -> Example:
        host = HostBuilder().link("eth0", xdp=Xdp(mode=mode) if mode else None, **({"max_mtu": 3520} | link))
        return Example(name=name, why=why, tables=host.build(), fires=fires)

    yield case("native on a card", "the driver says how far it goes", 1)
    yield case("generic", "it takes what the interface takes", mode="generic")
    yield case("no program", "a card that is made so", mode=None)
    yield case("multi-buffer", "the driver took the limit back", max_mtu=65535)
    yield case("jumbo frames fit", "just enough", max_mtu=JUMBO)
    yield case("one byte less", "just not", 1, max_mtu=JUMBO - 1)
    yield case("limit not told", "nothing to compare", max_mtu=None)
    yield case("both modes", "one of them is native", 1, mode="multi")
    yield case("this end of a veth", "it is the other end that is limited", kind="veth")
    pair = HostBuilder().link("v0", kind="veth", max_mtu=3520)
    pair.peer("v0", xdp=Xdp(mode="native"))
    yield Example(name="the other end of a veth", why="seen on 6.18", tables=pair.build(), fires=1, says=("eth0",))
    yield case("as long as it may be", "no room above", 1, mtu=3520)
    bare = HostBuilder().link("v0", kind="veth", max_mtu=3520)
    bare.peer("v0")
    yield Example(name="the other end of a veth, without", why="something else limits it", tables=bare.build())
