"""What it checks
  A leg of an 802.3ad bond that has a carrier but sits in another aggregator than the one in use.

Why it matters
  Only the legs of one aggregator carry traffic. A leg that its switch port put elsewhere (another switch without
  MC-LAG, another LAG or key, another speed or duplex, or no LACP at all on that port) is a cable that does nothing:
  half of the bandwidth, and no redundancy when the other half fails.

Confirm
  cat /proc/net/bonding/IFNAME        (Aggregator ID of each leg, its partner's system mac and key, churn state)
  ip -d link show master IFNAME       (ad_aggregator_id)

Fix
  On the switch: put the port of that leg into the same LAG as the others, with the same key; bring both to the same
  speed. For two switches use MC-LAG, or set ad_select to bandwidth and keep the second switch as a standby.

Not flagged
  ad_select bandwidth, count or prio: two aggregators of which the better one is used are meant. Legs without a
  carrier. A leg that came up less than three seconds ago. A bond without any partner: see bond-lacp-no-partner.

References
  IEEE 802.1AX 6.7; drivers/net/bonding/bond_3ad.c ad_port_selection_logic(), ad_agg_selection_logic(); if_link.h
  IFLA_BOND_SLAVE_AD_AGGREGATOR_ID
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules import bondlegs
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bond-lacp-agg-split",
    title="a leg of a bond is not in the aggregator that is used",
    severity="warning",
    reads=("links",),
)


def check(view: HostView) -> Iterator[Draft]:
    for bond in bondlegs.bonds(view):
        active = (bond.link.info.get("ad_info") or {}).get("aggregator")
        if not bond.partner or active is None or bond.link.info.get("ad_select", "stable") != "stable":
            continue
        outside = [
            leg
            for leg in bond.legs
            if leg.works and leg.aggregator not in (None, active) and not (leg.state or 0) & bondlegs.EXPIRED
        ]
        if not outside:
            continue
        name, names = bond.link.ifname, ", ".join(leg.link.ifname for leg in outside)
        alone = all(leg.alone for leg in outside)
        yield RULE.found(
            subject=bond.about,
            message=f"{names} of {name} carries nothing: it is not in aggregator {active}, which is used, because "
            + ("nobody answers LACP there" if alone else "another partner or key is at its other end"),
            evidence=[
                ("aggregator in use", active, f"RTM_GETLINK {name} IFLA_BOND_AD_INFO_AGGREGATOR"),
                *(
                    (
                        f"aggregator of {leg.link.ifname}",
                        leg.aggregator,
                        f"RTM_GETLINK {leg.link.ifname} IFLA_BOND_SLAVE_AD_AGGREGATOR_ID",
                    )
                    for leg in outside[:3]
                ),
            ],
            confirm=[f"cat /proc/net/bonding/{quoted(name)}", f"ip -d link show master {quoted(name)}"],
            fix=f"on the switch: put the port of {names} into the same LAG as the others",
            touches=[subject("link", ifname=leg.link.ifname) for leg in outside],
        )


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    other = {"ad_aggregator_id": 2}
    about = {"kind": "link", "ifname": "bond0"}
    split = bondlegs.host(legs=({}, other))
    yield _case("another switch", "it answers, with another name", split, 1, subject=about, says=("another partner",))
    alone = bondlegs.host(legs=({}, other | bondlegs.ALONE))
    yield _case("a port without LACP", "nobody answers there", alone, 1, says=("eth1 of bond0", "nobody answers"))
    yield _case("three legs", "two of them are out", bondlegs.host(legs=({}, other, other)), 1, says=("eth1, eth2",))
    yield _case("all together", "as it should be", bondlegs.host())
    yield _case(
        "ad_select bandwidth", "a standby that is meant", bondlegs.host(legs=({}, other), ad_select="bandwidth")
    )
    yield _case("just up", "it has not heard anybody yet", bondlegs.host(legs=({}, other | bondlegs.WAITING)))
    down = other | {"carrier": False, "mii_status": "DOWN"}
    yield _case("no carrier", "see bond-single-leg", bondlegs.host(legs=({}, down)))
    nobody = {"aggregator": 1, "partner_mac": bondlegs.NOBODY}
    yield _case("no partner at all", "another rule", bondlegs.host(legs=({}, other), ad_info=nobody))
    yield _case("balance-xor", "it has no aggregators", bondlegs.host("balance-xor", legs=({}, other)))
    blank = {"partner_mac": "02:00:00:00:00:99"}
    yield _case("active one not told", "an old kernel", bondlegs.host(legs=({}, other), ad_info=blank))
    untold = bondlegs.host(legs=({}, other | {"ad_actor_oper_port_state": None}))
    yield _case("state not told", "its aggregator is", untold, 1)
