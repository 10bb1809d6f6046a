"""What it checks
  A bond that watches neither the carrier of its legs (miimon 0) nor an address behind them (arp_interval 0).

Why it matters
  A leg that dies is then never noticed. The bond goes on sending over it: with active-backup all traffic is lost while
  the backup stands by, with the balancing modes that leg's part of it. It is the kernel's default for bonds that are
  made with ip link, and the fault shows only on the day when a cable is pulled.

Confirm
  ip -d link show dev IFNAME          (miimon 0 ... arp_interval 0)
  cat /proc/net/bonding/IFNAME        (MII Polling Interval (ms): 0)

Fix
  ip link set dev IFNAME type bond miimon 100: at once, without taking the bond down. Write it into the configuration
  of what makes the bond as well.

Not flagged
  arp_interval monitoring instead of miimon. 802.3ad and the tlb and alb modes, for which the kernel itself sets miimon
  to 100. A bond without legs, with a single one, or one that is down.

References
  Documentation/networking/bonding.rst miimon; drivers/net/bonding/bond_options.c bond_option_mode_set()
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft
from netdiag.rules import bondlegs
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bond-miimon-zero",
    title="a bond does not watch its legs",
    severity="critical",
    reads=("links",),
    explains=("bond-single-leg", "neigh-gateway-failed"),
)


def check(view: HostView) -> Iterator[Draft]:
    for bond in bondlegs.bonds(view):
        info = bond.link.info
        if info.get("miimon") != 0 or info.get("arp_interval") != 0 or len(bond.legs) < 2:
            continue
        used = [leg for leg in bond.legs if leg.mii_up and not leg.link.lower_up and _carries(bond, leg)]
        name = bond.link.ifname
        yield RULE.found(
            subject=bond.about,
            severity="critical" if used else "warning",
            message=f"{name} does not watch its legs (miimon 0, arp_interval 0)"
            + (f" and goes on sending over {used[0].link.ifname}, which has no carrier" if used else ""),
            evidence=[
                ("miimon", 0, f"RTM_GETLINK {name} IFLA_BOND_MIIMON"),
                ("arp_interval", 0, f"RTM_GETLINK {name} IFLA_BOND_ARP_INTERVAL"),
                *(
                    (
                        f"{leg.link.ifname}",
                        "no carrier, mii_status UP",
                        f"RTM_GETLINK {leg.link.ifname} IFLA_CARRIER, IFLA_BOND_SLAVE_MII_STATUS",
                    )
                    for leg in used[:2]
                ),
            ],
            confirm=[f"ip -d link show dev {quoted(name)}", f"cat /proc/net/bonding/{quoted(name)}"],
            fix=f"ip link set dev {quoted(name)} type bond miimon 100",
            touches=bond.parts,
        )


def _carries(bond: bondlegs.Bond, leg: bondlegs.Leg) -> bool:
    """Whether the bond sends over this leg; active-backup sends over the active one alone."""
    if bond.link.info.get("mode") != "active-backup":
        return True
    return bond.link.info.get("active_slave") == leg.link.ifindex


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    about = {"kind": "link", "ifname": "bond0"}
    blind, dead = {"miimon": 0}, {"carrier": False}
    two: tuple[dict[str, Any], ...] = ({}, {})
    yield _case(
        "not watched",
        "the fault before it hurts",
        bondlegs.host("active-backup", two, **blind),
        1,
        subject=about,
        severity="warning",
    )
    active = bondlegs.host("active-backup", (dead, {}), active_slave=3, **blind)
    yield _case("dead leg is active", "all traffic is lost", active, 1, severity="critical", says=("eth0",))
    standby = bondlegs.host("active-backup", (dead, {}), active_slave=4, **blind)
    yield _case("dead leg stands by", "nothing is lost yet", standby, 1, severity="warning")
    balancing = bondlegs.host("balance-rr", (dead, {}), **blind)
    yield _case("dead leg of balance-rr", "every other packet", balancing, 1, severity="critical")
    yield _case("miimon", "watched", bondlegs.host("active-backup", two, miimon=1))
    yield _case("arp_interval", "watched by ARP", bondlegs.host("active-backup", two, arp_interval=500, **blind))
    yield _case("one leg", "there is nothing to change to", bondlegs.host("active-backup", ({},), **blind))
    yield _case("no legs", "nothing to watch", bondlegs.host("active-backup", (), **blind))
    yield _case("unknown", "an old kernel does not say", bondlegs.host("active-backup", two, miimon=None))
    off = bondlegs.host("active-backup", two, **blind)
    off.link("bond0", kind="bond", up=False, ifindex=2, info={"mode": "active-backup", **blind, "arp_interval": 0})
    yield _case("bond down", "nothing goes over it", off)
    knows = bondlegs.host("balance-rr", (dead | {"mii_status": "DOWN"}, {}), **blind)
    yield _case("dead leg that the bond left", "it does not send there", knows, 1, severity="warning")
    team = HostBuilder().link("b0", kind="bridge", info={"miimon": 0, "arp_interval": 0}).link("p0", master="b0")
    yield _case("no bond", "nobody sends over a leg alone", team.link("p1", master="b0"))
