"""What it checks
  A card that cannot run XDP in its driver as long as it merges received packets (rx-lro, or rx-gro-hw of virtio), while
  XDP is wanted there: it runs in the slow generic mode, or another card of the same driver has it and this one has not.

Why it matters
  Attaching fails with EOPNOTSUPP ("Can't set XDP while host is implementing LRO/CSUM, disable LRO/CSUM first"), and a
  loader that falls back or gives up leaves the interface slow or unprotected without anybody noticing.

Confirm
  ip -d link show dev IFNAME                                  (xdp, xdpgeneric)
  ethtool -k IFNAME | grep -E 'large-receive|rx-gro-hw'

Fix
  ethtool -K IFNAME lro off (virtio: rx-gro-hw off, or start the machine with guest_tso4=off,guest_tso6=off on its
  virtio-net device), then let the loader attach again. It costs some receive throughput.

Not flagged
  Cards on which nothing shows that XDP is wanted. Cards that run XDP in the driver. Drivers that are not known to run
  XDP at all, as long as no card of this host runs it by the same one (vmxnet3 before Linux 6.6). Devices made by
  software, whose XDP is generic by nature.

References
  drivers/net/virtio_net.c virtnet_xdp_set(); mlx5e_xdp_allowed(), ixgbe_xdp_setup(); net/core/dev.c dev_xdp_attach()
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.ethtool import Ethtool, EthtoolDevice
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Xdp
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="xdp-blocked-by-lro",
    title="a card cannot run XDP because it merges packets",
    severity="warning",
    confidence="likely",
    reads=("links", "ethtool"),
    explains=("bpf-xdp-generic-fallback",),
)
BLOCKING = {"virtio_net": ("rx-lro", "rx-gro-hw"), "mlx5_core": ("rx-lro",), "ixgbe": ("rx-lro",)}
"""Features by driver that keep it from running XDP."""


def check(view: HostView) -> Iterator[Draft]:
    table = view.ethtool
    links = {row.ifindex: view.link(row.ifindex) for row in table.devices}
    native = {
        row.driver for row in table.devices if (x := getattr(links[row.ifindex], "xdp", None)) and x.mode == "native"
    }
    for row in table.devices:
        link = links[row.ifindex]
        if link is None or link.kind is not None or not link.up or row.driver is None or row.bus_info is None:
            continue
        runs = ("rx-lro",) if row.driver in native else ()
        on = [name for name in BLOCKING.get(row.driver, runs) if table.has(row.features, name)]
        generic = link.xdp is not None and link.xdp.mode == "generic"
        if not on or not (generic or (link.xdp is None and row.driver in native)):
            continue
        yield RULE.found(
            subject=subject("link", ifname=link.ifname),
            message=f"{link.ifname} {'runs XDP in the slow generic mode' if generic else 'has no XDP program'}: its "
            f"driver {row.driver} refuses one while {on[0]} is on",
            evidence=[
                (on[0], "on", f"ETHTOOL_MSG_FEATURES_GET {link.ifname}"),
                ("XDP", link.xdp.mode if link.xdp else "none", f"RTM_GETLINK {link.ifname} IFLA_XDP"),
            ],
            confirm=[f"ethtool -k {quoted(link.ifname)}", f"ip -d link show dev {quoted(link.ifname)}"],
            fix=f"ethtool -K {quoted(link.ifname)} {'lro' if on[0] == 'rx-lro' else on[0]} off  # then attach again",
            breaks=[subject("bpf-attachment", ifname=link.ifname, hook="xdp")],
        )


def _case(name: str, why: str, fires: int = 0, *, xdp: str | None = None, beside: bool = False, **more: Any) -> Example:
    wanted = {key: more.pop(key) for key in ("subject", "says") if key in more}
    bits = more.pop("features", 1)
    host = HostBuilder().link(
        "eth0", xdp=Xdp(mode=xdp) if xdp else None, kind=more.pop("kind", None), up=more.pop("up", True)
    )
    host.link("eth1", xdp=Xdp(mode=more.pop("mode", "native")) if beside else None)
    fields: dict[str, Any] = {"driver": "virtio_net", "bus_info": "0000:00:03.0"} | more
    rows = [
        EthtoolDevice(ifindex=host.ifindex(name), ifname=name, features=(words,), **fields)
        for name, words in (("eth0", bits), ("eth1", 0))
    ]
    table = Ethtool(devices=tuple(rows), feature_names=("rx-lro", "rx-gro-hw"))
    return Example(name=name, why=why, tables=replace(host.build(), ethtool=table), fires=fires, **wanted)


def examples() -> Iterator[Example]:
    yield _case("generic", "the loader fell back", 1, xdp="generic", says=("rx-lro", "lro off"))
    yield _case("sibling has it", "the loader gave up", 1, beside=True, subject=subject("link", ifname="eth0"))
    yield _case("virtio's rx-gro-hw", "its newer name", 1, xdp="generic", features=2, says=("rx-gro-hw off",))
    yield _case("rx-gro-hw of another", "does not matter there", xdp="generic", features=2, driver="bnxt_en")
    yield _case("of mlx5", "its LRO does", 1, xdp="generic", driver="mlx5_core")
    yield _case("a driver without XDP", "LRO is not what keeps it from it", xdp="generic", driver="vmxnet3")
    yield _case("a driver that runs it elsewhere", "so it can", 1, xdp="generic", beside=True, driver="other")
    yield _case("off", "something else", xdp="generic", features=0)
    yield _case("nothing expected", "no XDP anywhere")
    yield _case("native", "it runs", xdp="native", beside=True)
    yield _case("tap", "generic by nature", xdp="generic", kind="tun")
    yield _case("sibling runs generic", "nobody asked for native", beside=True, mode="generic")
    yield _case("down", "it carries nothing", beside=True, up=False)
    yield _case("driver not told", "nobody knows what it refuses", beside=True, driver=None)
    yield _case("no hardware", "nothing on a bus", beside=True, bus_info=None)
    made = _case("gone", "nothing to name", beside=True)
    left = tuple(link for link in made.tables.links if link.ifname != "eth0")
    yield Example(name=made.name, why=made.why, tables=replace(made.tables, links=left))
