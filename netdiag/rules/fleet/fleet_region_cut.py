"""What it checks
  All pairs between the hosts of a region (at least two) and hosts elsewhere (at least two) that want to talk send
  and hear nothing, and none of them is alive. Pairs within the region may be alive.

Why it matters
  A provider, a route or a site is gone. Hundreds of hosts report dead peers, and each report is true and useless.

Confirm
  wg show all latest-handshakes
  mtr -rwc 5 ENDPOINT                       (from a host on each side)

Fix
  Look at what these pairs share and no other has: power, uplink, provider, announced prefixes, a filter on the way.
  Drain what announces from there until it is back.

Not flagged
  Idle pairs, to which nothing is sent. Hosts that are drained, in BIRD or by intent. A single dead pair. A blip that is
  over: a fresh handshake on either side makes a pair alive. Dead pairs that a smaller set explains.

References
  WireGuard paper, section 6 (timers); netdiag/rules/fleetcuts.py for how the smallest set is found
"""

from collections.abc import Iterator

from netdiag.index.fleet import FleetView
from netdiag.model.finding import Draft
from netdiag.rules import fleetcuts
from netdiag.rules.build_regions import regions
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

KIND = "region"


def check(view: FleetView) -> Iterator[Draft]:
    return fleetcuts.findings(RULE, view, KIND)


def examples() -> Iterator[FleetExample]:
    spread = "fra-a fra-b ams-c ams-d sin-e sin-f"
    for name, why, dead, kind in (
        ("a host", "nobody hears sin-f", lambda a, b: "sin-f" in (a, b), "host"),
        (
            "a region",
            "sin-e and sin-f hear each other only",
            lambda a, b: (a[:3] == "sin") != (b[:3] == "sin"),
            "region",
        ),
        ("two regions", "fra and sin do not hear each other", lambda a, b: {a[:3], b[:3]} == {"fra", "sin"}, "pair"),
        ("a pair", "two hosts; it may be their keys", lambda a, b: {a, b} == {"fra-a", "sin-f"}, ""),
        ("nothing", "a mesh in order", lambda a, b: False, ""),
    ):
        yield FleetExample(name=name, why=why, hosts=regions(spread, dead), fires=int(kind == KIND))
    gone = regions(spread, lambda a, b: "sin-f" in (a, b))
    del gone["sin-f"]
    yield FleetExample(name="not collected", why="its peers know it", hosts=gone, fires=0)
    idle = regions(spread, lambda a, b: "sin-f" in (a, b), keepalive=0)
    yield FleetExample(name="idle", why="nothing is sent to it", hosts=idle)
