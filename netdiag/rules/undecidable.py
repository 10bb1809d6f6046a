"""Faults of the catalogue that no look at one host can decide, each with the reason: said, not hidden.

``netdiag rules --all`` prints them after the rules. Who makes one decidable takes its line away.
"""

UNDECIDABLE: dict[str, str] = {
    "route-table-size-jump": "needs a series of snapshots: one look, or one baseline, does not tell growth from a leak",
    "bgp-flapping": "needs a series of snapshots: BIRD keeps the time of the last change only, and no count",
    "bgp-double-restart-gr-flush": "needs a series of snapshots: the first restart leaves no trace after the second",
    "time-step-detected": "needs a series of snapshots: both clocks read at one moment do not show an earlier step",
    "sysctl-ipforward-reset": "the reset leaves the kernel's defaults, which look like never having been set; "
    "against --baseline or an intent sysctl-expected-differs names them",
}
"""By id."""
