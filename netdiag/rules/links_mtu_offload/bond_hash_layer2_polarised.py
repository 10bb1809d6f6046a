"""What it checks
  A bond that balances by hardware addresses (xmit_hash_policy layer2), has one next hop, and sends nearly everything
  over one leg.

Why it matters
  The hash of one pair of hardware addresses is always the same: with a single gateway every packet to the world takes
  the same cable, and the other legs are spare at best. The bond never gets faster than one leg.

Confirm
  cat /proc/net/bonding/IFNAME        (Transmit Hash Policy: layer2)
  ip -s link show master IFNAME       (TX packets of each leg)

Fix
  ip link set dev IFNAME type bond xmit_hash_policy layer3+4: at once; running flows may change their leg once. layer2+3
  where fragments must stay with their flow.

Not flagged
  Never more than an info, since one big flow looks the same. active-backup, which uses one leg on purpose. Other
  policies. Several next hops. Less than a thousand packets between the looks. With --interval 0 not evaluated.

References
  drivers/net/bonding/bond_main.c bond_eth_hash(), bond_xmit_hash(); Documentation/networking/bonding.rst
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.distinct import among
from netdiag.model.finding import Draft
from netdiag.model.link import Stats64
from netdiag.rules import bondlegs, cards
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bond-hash-layer2-polarised",
    title="a bond sends everything over one leg",
    severity="info",
    confidence="likely",
    reads=("links", "deltas", "neighbours"),
)
MODES = frozenset({"802.3ad", "balance-xor"})
SHARE, ENOUGH = 0.95, 1000


def check(view: HostView) -> Iterator[Draft]:
    sent = {row.link.ifindex: row.by("tx_packets") for row in cards.moved(view.deltas, view.links, real=False)}
    for bond in bondlegs.bonds(view):
        info, working = bond.link.info, [leg for leg in bond.legs if leg.works]
        if info.get("mode") not in MODES or info.get("xmit_hash_policy") != "layer2" or len(working) < 2:
            continue
        counts = {leg.link.ifname: sent.get(leg.link.ifindex) or 0 for leg in working}
        total, most = sum(counts.values()), max(counts, key=lambda name: counts[name])
        if total < ENOUGH or counts[most] <= SHARE * total or _next_hops(view, bond) != 1:
            continue
        name = quoted(bond.link.ifname)
        yield RULE.found(
            subject=bond.about,
            message=f"{bond.link.ifname} sent {counts[most] / total:.0%} of its packets over {most}: it hashes "
            "hardware addresses, and there is one next hop",
            evidence=[
                ("xmit_hash_policy", "layer2", f"RTM_GETLINK {bond.link.ifname} IFLA_BOND_XMIT_HASH_POLICY"),
                *((f"sent over {leg}", count, f"RTM_GETLINK {leg} IFLA_STATS64") for leg, count in counts.items()),
            ],
            confirm=[f"ip -d link show dev {name}", f"ip -s link show master {name}"],
            fix=f"ip link set dev {name} type bond xmit_hash_policy layer3+4",
        )


def _next_hops(view: HostView, bond: bondlegs.Bond) -> int:
    """Different hardware addresses of neighbours over the bond and what lies on it."""
    over = [bond.link.ifindex, *(upper.ifindex for upper in view.stack.uppers(bond.link.ifindex))]
    table = view.neighbours
    rows = among(table.ifindex, over) & (table.lladdr_len == 6) & (table.lladdr[:, 0] & 1 == 0)
    return len(np.unique(table.lladdr[rows][:, :6], axis=0))


def _case(name: str, why: str, sent: tuple[int, int], fires: int = 0, *, hops: int = 1, **more: Any) -> Example:
    host = bondlegs.host(more.pop("mode", "802.3ad"), **({"xmit_hash_policy": "layer2"} | more))
    host.address("bond0", "192.0.2.1/24")
    for last in range(hops):
        host.neighbour(f"192.0.2.{last + 2}", dev="bond0", lladdr=f"02:00:00:00:00:{last + 2:02x}")
    samples = [
        {"links": tuple(host.link_counters(f"eth{n}", stats=Stats64(tx_packets=k * sent[n])) for n in range(2))}
        for k in (0, 1)
    ]
    tables = host.counters(before=samples[0], after=samples[1]).build()
    return Example(name=name, why=why, tables=tables, fires=fires)


def examples() -> Iterator[Example]:
    yield _case("one leg", "the plain fault", (2000, 0), 1)
    yield _case("balance-xor", "it hashes as well", (0, 2000), 1, mode="balance-xor")
    yield _case("96 of 100", "the rest is LACP and ARP", (1920, 80), 1)
    yield _case("95 of 100", "not quite", (1900, 100))
    yield _case("hardly any traffic", "too little to tell", (999, 0))
    yield _case("two next hops", "chance", (2000, 0), hops=2)
    yield _case("layer3+4", "one big flow, then", (2000, 0), xmit_hash_policy="layer3+4")
    yield _case("active-backup", "one leg on purpose", (2000, 0), mode="active-backup")
    yield _case("a thousand packets", "enough to tell", (1000, 0), 1)
    legs: dict[str, Any] = {"legs": ({"kind": "veth"}, {"kind": "veth"})}
    yield _case("legs made by software", "they are hashed to all the same", (2000, 0), 1, **legs)
    dark: dict[str, Any] = {"legs": ({}, {"carrier": False})}
    yield _case("one leg is dark", "there is no other", (2000, 0), **dark)
    group = _case("", "", (2000, 0)).tables
    rows = HostBuilder().link("eth9").link("eth8").neighbour("192.0.2.2", dev="eth9", lladdr="02:00:00:00:00:02")
    rows.neighbour("224.0.0.5", dev="eth9", lladdr="01:00:5e:00:00:05", state="noarp")
    index = next(link.ifindex for link in group.links if link.ifname == "bond0")
    made = rows.build().neighbours
    both = replace(group, neighbours=replace(made, ifindex=np.full_like(made.ifindex, index)))
    router = HostBuilder().link("eth9").neighbour("192.0.2.2", dev="eth9", lladdr="02:00:00:00:00:02")
    router.neighbour("2001:db8::2", dev="eth9", lladdr="02:00:00:00:00:02")
    made_of = router.build().neighbours
    one = replace(group, neighbours=replace(made_of, ifindex=np.full_like(made_of.ifindex, index)))
    yield Example(name="two addresses of one next hop", why="its hardware address counts", tables=one, fires=1)
    yield Example(name="a multicast group beside", why="no next hop", tables=both, fires=1)
