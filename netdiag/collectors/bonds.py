"""Bonds as /proc/net/bonding shows them: per-leg partner, key and churn of 802.3ad, which older kernels do not tell by
netlink.

Source: /proc/net/bonding/* (drivers/net/bonding/bond_procfs.c). Per-leg details of 802.3ad need CAP_NET_ADMIN; without
it they are left out. Absent where there is no bond.
"""

from typing import Any

from netdiag.collectors import Collected, Options
from netdiag.model.bridge import Bond, BondLeg
from netdiag.model.text import kernel_text
from netdiag.sources.protocol import Source

DIRECTORY = "/proc/self/net/bonding"
WORDS = {
    "MII Status": "mii_status",
    "Actor Churn State": "actor_churn",
    "Partner Churn State": "partner_churn",
    "system mac address": "partner_mac",
}
NUMBERS = {"Aggregator ID": "aggregator", "oper key": "partner_key"}


def parse(ifname: str, text: str) -> Bond:
    """One file. Lines are ``name: value``; those of a leg follow its ``Slave Interface``, and there those of the
    partner follow ``details partner lacp pdu``."""
    legs: list[dict[str, Any]] = []
    active: int | None = None
    partner = False
    for line in text.splitlines():
        name, _, value = (part.strip() for part in line.partition(":"))
        if name == "Slave Interface":
            legs.append({"ifname": value})
            partner = False
        elif name.startswith("details "):
            partner = name == "details partner lacp pdu"
        elif not legs:
            if name == "Aggregator ID" and value.isdigit():
                active = int(value)
        elif name in ("system mac address", "oper key") and not partner:
            continue
        elif name in WORDS:
            legs[-1][WORDS[name]] = value
        elif name in NUMBERS and value.isdigit():
            legs[-1][NUMBERS[name]] = int(value)
    return Bond(ifname=ifname, active_aggregator=active, legs=tuple(BondLeg(**leg) for leg in legs))


def collect(source: Source, options: Options) -> Collected:
    """Every bond of the namespace."""
    names = source.listdir(DIRECTORY)
    found = source.read_many([f"{DIRECTORY}/{name}" for name in names])
    bonds = tuple(parse(path.rpartition("/")[2], kernel_text(text)) for path, text in sorted(found.items()))
    missed = len(names) - len(found)
    return Collected(
        tables={"bonds": bonds},
        rows=len(bonds),
        status="partial" if missed else "ok",
        detail=f"{missed} bonds could not be read" if missed else "",
    )
