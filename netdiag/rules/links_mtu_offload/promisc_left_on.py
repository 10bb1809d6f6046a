"""What it checks
  An interface that somebody set promiscuous by hand (ip link set ... promisc on), though it is no port of a bridge or
  bond and nobody captures on it.

Why it matters
  It takes every frame of its network segment up into the kernel, to be thrown away there: wasted CPU, misleading
  counters, and often the trace of a debugging session that was left.

Confirm
  ip -d link show dev IFNAME          (PROMISC, promiscuity)
  cat /proc/net/packet                (who captures)

Fix
  ip link set dev IFNAME promisc off

Not flagged
  Never more than an info. Ports of bridges, bonds and Open vSwitch, the lower devices of macvlans: those need it and do
  not show this flag, or are known by what lies on them. A capture that runs: tcpdump raises promiscuity, not this flag,
  and a packet socket on the interface explains it.

References
  net/core/dev.c dev_change_flags(), dev_get_flags() (gflags); packet(7) PACKET_MR_PROMISC
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import IFF_BROADCAST, IFF_LOWER_UP, IFF_PROMISC, IFF_UP
from netdiag.model.sockets import AF_PACKET
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="promisc-left-on",
    title="an interface was left promiscuous",
    severity="info",
    confidence="likely",
    reads=("links",),
    consults=("sockets",),
)


def check(view: HostView) -> Iterator[Draft]:
    if not view.read_whole("sockets"):
        return
    sockets = view.sockets
    capturing = set(sockets.ifindex[sockets.family == AF_PACKET].tolist())
    for link in view.links:
        if not link.flags & IFF_PROMISC or not link.up or link.loopback:
            continue
        if link.kind == "bridge" or view.stack.uppers(link.ifindex) or {0, link.ifindex} & capturing:
            continue
        yield RULE.found(
            subject=subject("link", ifname=link.ifname),
            message=f"{link.ifname} is promiscuous by hand, and nobody captures on it",
            evidence=[
                ("flags", "PROMISC", f"RTM_GETLINK {link.ifname} IFF_PROMISC"),
                ("promiscuity", link.promiscuity, f"RTM_GETLINK {link.ifname} IFLA_PROMISCUITY"),
                ("packet sockets on it", 0, "/proc/net/packet"),
            ],
            confirm=[f"ip -d link show dev {quoted(link.ifname)}", "cat /proc/net/packet"],
            fix=f"ip link set dev {quoted(link.ifname)} promisc off",
        )


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, *, capture: int | None = None) -> Example:
    tables = host.build()
    if capture is not None:
        columns: dict[str, Any] = {}
        for column in tables.sockets.COLUMNS:
            like = getattr(tables.sockets, column)
            columns[column] = np.zeros((1, *like.shape[1:]), like.dtype)
        columns["family"][:] = AF_PACKET
        columns["ifindex"][:] = capture
        tables = replace(tables, sockets=type(tables.sockets)(**columns))
    return Example(name=name, why=why, tables=tables, fires=fires)


def _link(**more: Any) -> HostBuilder:
    return HostBuilder().link("eth0", flags=IFF_PROMISC | IFF_UP | IFF_LOWER_UP | IFF_BROADCAST, **more)


def examples() -> Iterator[Example]:
    yield _case("left on", "the plain case", _link(), 1)
    yield _case("captured", "somebody listens there", _link(), capture=2)
    yield _case("captured everywhere", "a socket for all interfaces", _link(), capture=0)
    yield _case("captured elsewhere", "that is no reason", _link(), 1, capture=9)
    yield _case("bridge port", "it needs that", HostBuilder().link("br0", kind="bridge").link("e", master="br0"))
    ovs = HostBuilder().link("ovs-system")
    port = ovs.link("eth0", master="ovs-system", flags=IFF_PROMISC | IFF_UP | IFF_LOWER_UP)
    yield _case("Open vSwitch", "its ports are promiscuous", port)
    yield _case("macvlan's parent", "its children need it", _link().link("mv0", kind="macvlan", link="eth0"))
    yield _case("promiscuity without the flag", "a program did that", HostBuilder().link("eth0", promiscuity=1))
    yield _case("down", "it takes nothing", HostBuilder().link("eth0", up=False, flags=IFF_PROMISC))
    flags = IFF_PROMISC | IFF_UP | IFF_LOWER_UP
    yield _case("a bridge", "it learns", HostBuilder().link("br0", kind="bridge", flags=flags))
    lo = HostBuilder().link("lo", type=772, ifindex=1, flags=flags | 0x8)
    yield _case("loopback", "there is nothing else to take", lo)
