"""What it checks
  A real network card that runs at half duplex, slower than both ends offer, or slower than another leg of its bond.

Why it matters
  Half duplex on a switched network is a failed negotiation: one end believes in collisions, the other does not, and
  under load the line loses most of its packets. A 25G port that came up with 1G is a bottleneck that no counter names.
  LACP puts legs of different speeds into different aggregators.

Confirm
  ethtool IFNAME                      (Speed, Duplex, advertised by both)

Fix
  Let both ends negotiate (ethtool -s IFNAME autoneg on), or set both to the same; then replace cable or optic: a broken
  pair lets 1000baseT fall back to 100. Changing it takes the link down for some seconds.

Not flagged
  Virtual cards (virtio, veth, tap, vmxnet3, ena ...), whose speed is invented. An unknown speed, a card without a link.
  A fast card on a slow switch: nothing says that more was meant.

References
  include/uapi/linux/ethtool_netlink.h ETHTOOL_MSG_LINKMODES_GET; IEEE 802.3 clause 28
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.ethtool import Ethtool, EthtoolDevice
from netdiag.model.finding import Draft, subject
from netdiag.rules import cards
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="speed-duplex-mismatch",
    title="a card runs slower than it should",
    severity="warning",
    reads=("links", "ethtool"),
)
_MODE = re.compile(r"^(\d+)base")


def fastest(modes: tuple[str, ...]) -> int:
    """Mb/s of the fastest link mode; 0 where there is none."""
    return max((int(found[1]) for mode in modes if (found := _MODE.match(mode))), default=0)


def check(view: HostView) -> Iterator[Draft]:
    for row in view.ethtool.devices:
        link = view.link(row.ifindex)
        if link is None or not cards.hardware(row) or not link.lower_up or row.speed is None:
            continue
        both = fastest(tuple(set(row.advertised) & set(row.partner)))
        beside = _beside(view, row, row.speed)
        if row.duplex == "half":
            what = "runs at half duplex"
        elif both > row.speed:
            what = f"runs at {row.speed} Mb/s though both ends offer {both}"
        elif beside is not None:
            what = f"runs at {row.speed} Mb/s, {beside.ifname} in the same bond at {beside.speed}"
        else:
            continue
        yield RULE.found(
            subject=subject("link", ifname=row.ifname),
            message=f"{row.ifname} {what}",
            evidence=[
                ("speed", f"{row.speed} Mb/s", f"ETHTOOL_MSG_LINKMODES_GET {row.ifname}"),
                ("duplex", row.duplex, f"ETHTOOL_MSG_LINKMODES_GET {row.ifname}"),
                ("negotiated", row.autoneg, f"ETHTOOL_MSG_LINKMODES_GET {row.ifname}"),
            ],
            confirm=[f"ethtool {quoted(row.ifname)}"],
            fix=f"ethtool -s {quoted(row.ifname)} autoneg on  # on both ends; then replace the cable or optic",
        )


def _beside(view: HostView, row: EthtoolDevice, speed: int) -> EthtoolDevice | None:
    """A faster leg of the same bond."""
    master = view.stack.master(row.ifindex)
    if master is None or master.kind != "bond":
        return None
    legs = {port.ifindex for port in view.stack.ports(master.ifindex) if port.lower_up}
    faster = [o for o in view.ethtool.devices if o.ifindex in legs and o.speed is not None and o.speed > speed]
    return faster[0] if faster else None


def _case(
    name: str, why: str, fires: int = 0, *, carrier: bool = True, other: int | None = None, **more: Any
) -> Example:
    wanted = {key: more.pop(key) for key in ("subject", "says") if key in more}
    host = HostBuilder().link("bond0", kind=more.pop("master", "bond")).link("eth0", carrier=carrier, master="bond0")
    host.link("eth1", master="bond0", carrier=more.pop("second", True)).link("eth2")
    beside = more.pop("third", None)
    fields: dict[str, Any] = {
        "speed": 1000,
        "duplex": "full",
        "driver": "ice",
        "bus_info": "0000:3b:00.0",
        "autoneg": True,
    } | more
    rows = [EthtoolDevice(ifindex=host.ifindex("eth0"), ifname="eth0", **fields)]
    if other is not None:
        rows.append(EthtoolDevice(ifindex=host.ifindex("eth1"), ifname="eth1", **(fields | {"speed": other})))
    if beside is not None:
        rows.append(EthtoolDevice(ifindex=beside[0], ifname="eth2", **(fields | {"speed": beside[1]})))
    tables = replace(host.build(), ethtool=Ethtool(devices=tuple(rows)))
    return Example(name=name, why=why, tables=tables, fires=fires, **wanted)


def examples() -> Iterator[Example]:
    about = subject("link", ifname="eth0")
    slow, fast = "1000baseT/Full", "25000baseCR/Full"
    yield _case("half duplex", "a failed negotiation", 1, duplex="half", subject=about, says=("half duplex",))
    yield _case(
        "both could do more", "a broken pair", 1, advertised=(slow, fast), partner=(slow, fast), says=("25000",)
    )
    yield _case("switch cannot", "nothing says that more was meant", advertised=(slow, fast), partner=(slow,))
    yield _case("partner unknown", "no proof", advertised=(slow, fast))
    yield _case("leg of a bond", "the other leg is faster", 1, other=25000, subject=about, says=("eth1",))
    yield _case("equal legs", "as it should be", other=1000)
    yield _case("virtio", "its speed is invented", duplex="half", driver="virtio_net")
    yield _case("no hardware", "nothing is plugged in", duplex="half", bus_info=None)
    yield _case("no link", "what it says is old", carrier=False, duplex="half")
    yield _case("unknown speed", "no link yet", speed=None, duplex="half")
    yield _case("ports of a bridge", "each leads elsewhere", other=25000, master="bridge")
    yield _case("the faster leg is dark", "what it says is old", other=25000, second=False)
    yield _case("a leg whose speed is not known", "no link yet", third=(4, None))
    yield _case("a faster card beside the bond", "it leads elsewhere", third=(5, 25000))
    yield _case("a card that has gone", "it was there a moment ago", third=(99, 10), advertised=("1000baseT/Full",))
    yield _case("speed 0", "the driver does not know", speed=0)
