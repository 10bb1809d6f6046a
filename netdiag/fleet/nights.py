"""Which two nights to compare. Raises FleetRefused and StoreRefused as reading does, OneNight for one."""

from netdiag.fleet.compare import compare
from netdiag.fleet.history import seen
from netdiag.fleet.judge import judge_fleet
from netdiag.fleet.load import Fleet, fleet_in, fleet_of
from netdiag.model.fleetdiff import FleetDiff

BACK = 7
"""Nights before the two that say whether something comes and goes."""


class OneNight(Exception):
    """There is nothing to compare with."""


def last_two(source: str) -> FleetDiff:
    """The last night of a store with the one before."""
    fleet = fleet_of(source)
    if fleet.stored is None:
        raise OneNight(f"{source} is no store: give OLD and NEW")
    nights = [night for night in fleet.stored.nights if fleet.stored.night is None or night <= fleet.stored.night]
    if len(nights) < 2:
        raise OneNight(f"{source}: has one night only, {', '.join(nights)}")
    store = fleet.stored.store
    return _between(fleet_in(store, nights[-2]), fleet_in(store, nights[-1]))


def between(old: str, new: str) -> FleetDiff:
    """Two fleets."""
    return _between(fleet_of(old), fleet_of(new))


def _between(old: Fleet, new: Fleet) -> FleetDiff:
    before = []
    if new.stored is not None and old.stored is not None and new.stored.store.top == old.stored.store.top:
        end = old.stored.night or ""
        before = seen(new.stored, [night for night in new.stored.nights if night < end][-BACK:])
    return compare(judge_fleet(old), judge_fleet(new), before)
