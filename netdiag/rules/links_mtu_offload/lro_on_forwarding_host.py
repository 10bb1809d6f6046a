"""What it checks
  Large receive offload (rx-lro) on an interface that forwards, itself or through the bridge, bond or VLAN on it.

Why it matters
  LRO merges received packets and forgets where one ended. A host that only receives does not mind; one that passes them
  on, to a guest or a next hop, sends packets that are longer than the MTU: they are dropped, or answered by "packet too
  big" that nobody understands, and throughput falls to a trickle.

Confirm
  ethtool -k IFNAME | grep large-receive-offload
  ip -d link show dev IFNAME

Fix
  ethtool -K IFNAME lro off: some drivers reset the card for it. Where it is [fixed], the hypervisor or the module's
  options decide it. GRO, which keeps the packets' lengths, does the same work and may stay.

Not flagged
  End hosts, which forward nothing: LRO is right there. GRO and rx-gro-hw. The usual case, in which the kernel switches
  LRO off by itself when forwarding is enabled or the interface joins a bridge: only where it stayed on, or came back.

References
  net/core/dev.c dev_disable_lro(); net/ipv4/devinet.c inet_forward_change(); Documentation/networking/
  netdev-features.rst
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.ethtool import Ethtool, EthtoolDevice
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="lro-on-forwarding-host",
    title="an interface that forwards merges packets (LRO)",
    severity="warning",
    reads=("links", "ethtool"),
    explains=("xdp-blocked-by-lro",),
)
LRO = "rx-lro"


def check(view: HostView) -> Iterator[Draft]:
    table = view.ethtool
    for row in table.devices:
        link = view.link(row.ifindex)
        if link is None or not link.up or link.kind is not None or not table.has(row.features, LRO):
            continue
        why = _forwards(view, link)
        if why is None:
            continue
        fixed = table.has(row.features_fixed, LRO) or table.has(row.features_hw, LRO) is False
        yield RULE.found(
            subject=subject("link", ifname=link.ifname),
            message=f"{link.ifname} merges received packets (LRO) though {why}",
            evidence=[
                (LRO, "on [fixed]" if fixed else "on", f"ETHTOOL_MSG_FEATURES_GET {link.ifname}"),
                ("forwards", why, f"RTM_GETLINK {link.ifname} IFLA_INET_CONF, IFLA_MASTER"),
            ],
            confirm=[f"ethtool -k {quoted(link.ifname)}", f"ip -d link show dev {quoted(link.ifname)}"],
            fix=f"ethtool -K {quoted(link.ifname)} lro off"
            + ("  # fixed here: the hypervisor or the driver's options decide it" if fixed else ""),
        )


def _forwards(view: HostView, link: Link) -> str | None:
    """Why packets from this interface are passed on; None where they are not."""
    seen, todo = {link.ifindex}, [link]
    while todo:
        one = todo.pop()
        if one.kind == "bridge":
            return f"it is a port of bridge {one.ifname}"
        if one.inet_conf.get("forwarding") or one.inet6_conf.get("forwarding"):
            return "it forwards" if one is link else f"{one.ifname} on it forwards"
        for upper in view.stack.uppers(one.ifindex):
            if upper.ifindex not in seen:
                seen.add(upper.ifindex)
                todo.append(upper)
    return None


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, *, on: bool = True, **more: Any) -> Example:
    words = (1,) if on else (0,)
    device = EthtoolDevice(
        ifindex=host.ifindex("eth0"), ifname="eth0", features=words, features_hw=(more.pop("hw", 1),)
    )
    table = Ethtool(devices=(device,), feature_names=("rx-lro", "rx-gro-hw"))
    return Example(name=name, why=why, tables=replace(host.build(), ethtool=table), fires=fires, **more)


def examples() -> Iterator[Example]:
    router = HostBuilder().link("eth0", inet_conf={"forwarding": 1})
    about = subject("link", ifname="eth0")
    yield _case("router", "the plain fault", router, 1, subject=about, severity="warning", says=("it forwards",))
    yield _case("fixed", "the hypervisor's", router, 1, hw=0, says=("[fixed]", "hypervisor"))
    yield _case("six", "IPv6 forwards as well", HostBuilder().link("eth0", inet6_conf={"forwarding": 1}), 1)
    bridged = HostBuilder().link("br0", kind="bridge").link("eth0", master="br0")
    yield _case("bridge port", "guests get what it merged", bridged, 1, says=("port of bridge br0",))
    bond = (
        HostBuilder().link("br0", kind="bridge").link("bond0", kind="bond", master="br0").link("eth0", master="bond0")
    )
    yield _case("leg of a bridged bond", "two floors up", bond, 1)
    plain = HostBuilder().link("bond0", kind="bond").link("eth0", master="bond0")
    yield _case("leg of an end host's bond", "it may", plain)
    yield _case("end host", "LRO is right there", HostBuilder().link("eth0"))
    yield _case("off", "as the kernel leaves it", router, on=False)
    yield _case("down", "it receives nothing", HostBuilder().link("eth0", up=False, inet_conf={"forwarding": 1}))
    router = HostBuilder().link("eth0", inet_conf={"forwarding": 1})
    yield _case("says who forwards", "the card itself", router, 1, says=("though it forwards",))
    bond = HostBuilder().link("eth0", kind="bond", inet_conf={"forwarding": 1})
    yield _case("a bond", "its legs are told", bond)
    gone = HostBuilder().link("eth0", inet_conf={"forwarding": 1})
    made = _case("an interface that has gone", "nothing to name", gone)
    yield Example(name=made.name, why=made.why, tables=replace(made.tables, links=made.tables.links[:1]))
