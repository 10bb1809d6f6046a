"""What it checks
  A bond that is up and has lost some of its legs: no carrier, or taken for dead by the bond's own monitoring.

Why it matters
  Traffic goes on, so nobody notices; but the redundancy that the bond is there for is gone, and the next cable, port or
  switch takes the host off the network. A bond that balances has lost that part of its bandwidth.

Confirm
  cat /proc/net/bonding/IFNAME        (MII Status of each leg)
  ip -br link show master IFNAME

Fix
  Look at the cable, optic and switch port of the leg that is named. When its carrier is back the bond takes it in by
  itself (after updelay).

Not flagged
  A bond with a single leg, however it came to that: how many it should have is not to be seen here. A bond all of whose
  legs are dead, which is down. A leg that was set down by hand: info only, somebody is working on it. The backup leg of
  active-backup: it carries nothing, but it lives.

References
  drivers/net/bonding/bond_main.c bond_miimon_inspect(), bond_ab_arp_inspect(); if_link.h IFLA_BOND_SLAVE_MII_STATUS
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft
from netdiag.rules import bondlegs
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bond-single-leg",
    title="a bond has lost legs",
    severity="warning",
    reads=("links",),
)


def check(view: HostView) -> Iterator[Draft]:
    for bond in bondlegs.bonds(view):
        working = [leg for leg in bond.legs if leg.works]
        dead = [leg for leg in bond.legs if not leg.works]
        if not working or not dead or not bond.link.lower_up:
            continue
        by_hand = all(not leg.link.up for leg in dead)
        name, names = bond.link.ifname, ", ".join(leg.link.ifname for leg in dead)
        yield RULE.found(
            subject=bond.about,
            severity="info" if by_hand else None,
            message=f"{name} runs on {len(working)} of {len(bond.legs)} legs: {names} "
            + ("was set down" if by_hand else "has no link"),
            evidence=[
                (
                    f"{leg.link.ifname}",
                    f"mii_status {leg.link.slave_info.get('mii_status')}, carrier {int(leg.link.lower_up)}",
                    f"RTM_GETLINK {leg.link.ifname} IFLA_BOND_SLAVE_MII_STATUS, IFLA_CARRIER",
                )
                for leg in dead[:3]
            ],
            confirm=[f"cat /proc/net/bonding/{quoted(name)}", f"ip -br link show master {quoted(name)}"],
            fix=f"ip link set dev {quoted(dead[0].link.ifname)} up"
            if by_hand
            else f"look at the cable, optic and switch port of {names}",
            touches=bond.parts,
        )


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    down = {"carrier": False, "mii_status": "DOWN"}
    about = {"kind": "link", "ifname": "bond0"}
    one = bondlegs.host("active-backup", legs=({}, down))
    yield _case("cable pulled", "the plain fault", one, 1, subject=about, severity="warning", says=("1 of 2", "eth1"))
    yield _case("LACP leg gone", "the same", bondlegs.host(legs=(down, {}, {})), 1, says=("2 of 3", "eth0"))
    arp = bondlegs.host("active-backup", legs=({}, {"mii_status": "DOWN"}), miimon=0, arp_interval=500)
    yield _case("ARP monitoring", "a carrier, but nobody behind it", arp, 1, severity="warning")
    unseen = bondlegs.host("balance-rr", legs=({}, {"carrier": False}), miimon=0)
    yield _case("the bond does not look", "no carrier, though it counts as up", unseen, 1)
    by_hand = bondlegs.host("active-backup", legs=({}, {"up": False, "mii_status": "DOWN"}))
    yield _case("set down by hand", "somebody is working on it", by_hand, 1, severity="info")
    yield _case("both live", "the backup leg carries nothing but lives", bondlegs.host("active-backup", legs=({}, {})))
    yield _case(
        "going down", "within downdelay it still counts", bondlegs.host(legs=({}, {"mii_status": "GOING_DOWN"}))
    )
    yield _case("one leg", "how many it should have is not known", bondlegs.host(legs=({},)))
    yield _case("all dead", "that is a bond without a carrier", bondlegs.host(legs=(down, down)))
    dark = bondlegs.host("active-backup", legs=({}, down))
    info = {"mode": "active-backup", "miimon": 100, "arp_interval": 0}
    dark.link("bond0", kind="bond", carrier=False, ifindex=2, info=info)
    yield _case("the bond has no carrier", "that is another rule's", dark)
