"""What it checks
  Every mesh peer of one host that wants to talk to it, at least two, sends and hears nothing, and nobody hears it.
  The host itself need not have been collected: its peers know its key and its endpoint.

Why it matters
  The host is down, lost its uplink, or lost WireGuard. What its peers report, one each, is this one fault.

Confirm
  wg show all latest-handshakes             (on a host that sees it dead)
  mtr -rwc 5 ENDPOINT                       (from two hosts of different regions)

Fix
  Look at the host by its console: power, uplink, default route, wg show. Drain what it announced until it is back.

Not flagged
  Idle pairs, to which nothing is sent. A drained host, in BIRD or by intent. A single dead pair. A blip that is over: a
  fresh handshake on either side makes a pair alive. A host whose region or upstream is gone with it.

References
  WireGuard paper, section 6 (timers); netdiag/rules/fleetcuts.py for how the smallest set is found
"""

from collections.abc import Iterator

from netdiag.index.fleet import FleetView
from netdiag.model.finding import Draft
from netdiag.rules import build_regions, fleetcuts
from netdiag.rules.shape import FleetExample, Rule

RULE = Rule(
    id="fleet-host-cut",
    title="one host is cut off from its mesh",
    severity="critical",
    confidence="likely",
    reads=fleetcuts.READS,
    explains=fleetcuts.SYMPTOMS + fleetcuts.OWN,
    scope="fleet",
)


def check(view: FleetView) -> Iterator[Draft]:
    return fleetcuts.findings(RULE, view, "host")


def examples() -> Iterator[FleetExample]:
    return build_regions.cut_examples("host")
