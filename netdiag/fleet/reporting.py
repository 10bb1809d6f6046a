"""All that a fleet's report page shows. Raises FleetRefused and StoreRefused as reading does."""

from dataclasses import dataclass

from netdiag.fleet import history
from netdiag.fleet.compare import compare
from netdiag.fleet.judge import judge_fleet
from netdiag.fleet.load import fleet_in, fleet_of, view_of
from netdiag.fleet.mesh import mesh
from netdiag.model.fleetdiff import FleetDiff, Night
from netdiag.model.fleetmesh import Mesh
from netdiag.model.fleetreport import FleetReport


@dataclass(frozen=True)
class Everything:
    """The report, and what is around it."""

    report: FleetReport
    mesh: Mesh
    trend: list[Night]
    diff: FleetDiff | None


def everything(source: str) -> Everything:
    """Judge a fleet, and look at its earlier nights where there is a store."""
    fleet = fleet_of(source)
    report = judge_fleet(fleet)
    drawn = mesh(view_of(fleet))
    if fleet.stored is None:
        return Everything(report, drawn, [], None)
    last = fleet.stored.night or fleet.stored.nights[-1]
    trend = [night for night in history.trend(fleet.stored) if night.night <= last]
    nights = [night for night in fleet.stored.nights if night < last]
    before = judge_fleet(fleet_in(fleet.stored.store, nights[-1])) if nights else None
    return Everything(report, drawn, trend, compare(before, report) if before else None)
