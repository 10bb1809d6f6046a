"""What it checks
  An 802.3ad bond with a carrier on its legs and no partner: nobody answers its LACP frames on any of them.

Why it matters
  The switch side is no LAG, or not with LACP. Each leg is then a group of its own and the bond uses one of them. The
  switch sees one hardware address on several plain ports, or hashes a static LAG over legs on which the bond takes
  nothing: part of the traffic is lost, and the redundancy does not exist.

Confirm
  cat /proc/net/bonding/IFNAME        (Partner Mac Address 00:00:00:00:00:00, churn state)
  tcpdump -i LEG -c 2 ether proto 0x8809    (LACP frames of the switch, at most 30 s apart)

Fix
  On the switch: put the ports into one LAG in LACP mode (active, or passive while this side is active), with these
  VLANs. If there is meant to be no LACP: set the bond to active-backup, which takes it down for a moment.

Not flagged
  Other modes: active-backup has no partner. The first three seconds of a leg, in which nobody can have answered yet;
  while the kernel still watches for churn (a minute) it is a warning. A bond without a carrier on any leg. A single leg
  without a partner beside others that have one: see bond-lacp-agg-split.

References
  IEEE 802.1AX 6.4; drivers/net/bonding/bond_3ad.c ad_rx_machine(), ad_churn_machine(); if_link.h
  IFLA_BOND_AD_INFO_PARTNER_MAC, IFLA_BOND_SLAVE_AD_ACTOR_OPER_PORT_STATE
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bridge import Bond as ProcBond
from netdiag.model.bridge import BondLeg
from netdiag.model.finding import Draft
from netdiag.rules import bondlegs
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bond-lacp-no-partner",
    title="nobody answers the LACP of a bond",
    severity="critical",
    reads=("links",),
    consults=("bonds",),
    explains=("bond-lacp-agg-split", "neigh-gateway-failed", "bgp-*"),
)


def check(view: HostView) -> Iterator[Draft]:
    churn = {leg.ifname: leg.partner_churn for bond in view.bonds for leg in bond.legs}
    for bond in bondlegs.bonds(view):
        working = [leg for leg in bond.legs if leg.works]
        if not bond.lacp or bond.partner or not working or not all(leg.alone for leg in working):
            continue
        watched = all(churn.get(leg.link.ifname) == "monitoring" for leg in working)
        name = bond.link.ifname
        yield RULE.found(
            subject=bond.about,
            severity="warning" if watched else "critical",
            confidence="likely" if watched else "certain",
            message=f"{name} speaks LACP and nobody answers on {', '.join(leg.link.ifname for leg in working)}: the "
            "other side is no LACP group, the bond uses one leg alone",
            evidence=[
                ("partner", bondlegs.NOBODY, f"RTM_GETLINK {name} IFLA_BOND_AD_INFO_PARTNER_MAC"),
                *(
                    (
                        f"LACP state of {leg.link.ifname}",
                        f"{leg.state:#04x} (defaulted)",
                        f"RTM_GETLINK {leg.link.ifname} IFLA_BOND_SLAVE_AD_ACTOR_OPER_PORT_STATE",
                    )
                    for leg in working[:2]
                ),
            ],
            confirm=[f"cat /proc/net/bonding/{quoted(name)}", f"ip -d link show master {quoted(name)}"],
            fix="on the switch: put these ports into one LAG in LACP mode",
            touches=bond.parts,
        )


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, churn: str | None = None, **more: Any) -> Example:
    legs = tuple(BondLeg(ifname=f"eth{n}", partner_churn=churn) for n in range(2))
    tables = replace(host.build(), bonds=(ProcBond(ifname="bond0", legs=legs),) if churn else ())
    return Example(name=name, why=why, tables=tables, fires=fires, **more)


def examples() -> Iterator[Example]:
    alone, waiting = bondlegs.ALONE, bondlegs.WAITING
    none: dict[str, Any] = {"ad_info": {"aggregator": 1, "num_ports": 1, "partner_mac": bondlegs.NOBODY}}
    about = {"kind": "link", "ifname": "bond0"}
    lonely = bondlegs.host(legs=(alone, alone | {"ad_aggregator_id": 2}), **none)
    yield _case("no partner", "the plain fault", lonely, 1, "churned", subject=about, severity="critical",
                confidence="certain")  # fmt: skip
    yield _case("churn unknown", "without the right to see it", lonely, 1, severity="critical")
    yield _case("still watched", "less than a minute", lonely, 1, "monitoring", severity="warning", confidence="likely")
    yield _case("one leg", "still no partner", bondlegs.host(legs=(alone,), **none), 1)
    yield _case("partner", "as it should be", bondlegs.host())
    yield _case("a partner is still told", "it has just gone", bondlegs.host(legs=(alone, alone)))
    yield _case("just up", "nobody can have answered yet", bondlegs.host(legs=(waiting, waiting), **none))
    yield _case("one leg just up", "it may bring the partner", bondlegs.host(legs=(alone, waiting), **none))
    yield _case("active-backup", "it has no partner", bondlegs.host("active-backup", legs=(alone, alone)))
    down = {"carrier": False, "mii_status": "DOWN", **alone}
    yield _case("no carrier", "cables are another matter", bondlegs.host(legs=(down, down), **none))
    yield _case("old kernel", "no state, no proof", bondlegs.host(legs=({"ad_actor_oper_port_state": None},), **none))
