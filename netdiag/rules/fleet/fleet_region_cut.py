"""What it checks
  All pairs between the hosts of a region (at least two) and hosts elsewhere (at least two) that want to talk send
  and hear nothing, and none of them is alive. Pairs within the region may be alive. Hosts that were not collected are
  known by their endpoints: they belong to the region of the hosts in their network, a /24 or /48, and where nobody of
  it was collected the network itself is named.

Why it matters
  A provider, a route or a site is gone. Hundreds of hosts report dead peers, and each report is true and useless.

Confirm
  wg show all latest-handshakes             (on a host inside and on one outside)
  mtr -rwc 5 ENDPOINT                       (from both: where does it end?)

Fix
  Look at what only this region has: its provider, its announced prefixes, its power. Drain what announces from there.

Not flagged
  Idle pairs, to which nothing is sent. Drained hosts, in BIRD or by intent. One host alone (fleet-host-cut), or two
  regions that reach all others (fleet-region-pair-cut). A blip that is over: a fresh handshake makes a pair alive.

References
  WireGuard paper, section 6 (timers); netdiag/rules/fleetcuts.py for how the smallest set is found
"""

from collections.abc import Iterator

from netdiag.index.fleet import FleetView
from netdiag.model.finding import Draft
from netdiag.rules import build_regions, fleetcuts
from netdiag.rules.shape import FleetExample, Rule

RULE = Rule(
    id="fleet-region-cut",
    title="a region is cut off",
    severity="critical",
    confidence="likely",
    reads=fleetcuts.READS,
    explains=fleetcuts.SYMPTOMS,
    scope="fleet",
)


def check(view: FleetView) -> Iterator[Draft]:
    return fleetcuts.findings(RULE, view, "region")


def examples() -> Iterator[FleetExample]:
    return build_regions.cut_examples("region")
