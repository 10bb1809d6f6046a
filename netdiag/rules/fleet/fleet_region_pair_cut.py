"""What it checks
  All pairs between the hosts of two regions, at least two on each side, that want to talk send and hear nothing,
  while both regions reach others.

Why it matters
  A path between two networks is broken or loops: both ends are healthy, and no host can see it by itself.

Confirm
  wg show all latest-handshakes             (on a host of each region)
  mtr -rwc 5 ENDPOINT                       (from each region to the other, and to a third)

Fix
  Show both traces to the provider between them, or send the traffic through a third region until it is mended.

Not flagged
  Idle pairs, to which nothing is sent. Drained hosts, in BIRD or by intent. Two single hosts. A blip that is over: a
  fresh handshake on either side makes a pair alive. A region that reaches nobody (fleet-region-cut).

References
  WireGuard paper, section 6 (timers); netdiag/rules/fleetcuts.py for how the smallest set is found
"""

from collections.abc import Iterator

from netdiag.index.fleet import FleetView
from netdiag.model.finding import Draft
from netdiag.rules import build_regions, fleetcuts
from netdiag.rules.shape import FleetExample, Rule

RULE = Rule(
    id="fleet-region-pair-cut",
    title="two regions do not reach each other",
    severity="critical",
    confidence="likely",
    reads=fleetcuts.READS,
    explains=fleetcuts.SYMPTOMS,
    scope="fleet",
)


def check(view: FleetView) -> Iterator[Draft]:
    return fleetcuts.findings(RULE, view, "pair")


def examples() -> Iterator[FleetExample]:
    return build_regions.cut_examples("pair")
