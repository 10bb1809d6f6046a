"""Faults of the catalogue that no look at one host can decide, each with the reason: said, not hidden.

``netdiag rules --all`` prints them after the rules. Who makes one decidable takes its line away.
"""

UNDECIDABLE: dict[str, str] = {
    "route-table-size-jump": "needs a series of snapshots: one look, or one baseline, does not tell growth from a leak",
    "bgp-flapping": "needs a series of snapshots: BIRD keeps the time of the last change only, and no count",
    "bgp-double-restart-gr-flush": "needs a series of snapshots: the first restart leaves no trace after the second",
    "sysctl-ipforward-reset": "the reset leaves the kernel's defaults, which look like never having been set; "
    "against --baseline or an intent sysctl-expected-differs names them",
    "wg-listen-port-random": "a port that was set and one that was drawn look alike: 51820 is in the ephemeral range; "
    "for a fleet wg-listen-port-mismatch names the consequence",
    "wg-roamed-to-wrong-endpoint": "the kernel keeps the last endpoint only: which one was meant is known to an intent",
    "wg-endpoint-stale-dns": "the kernel keeps no name of an endpoint, only the address that it had",
    "wg-psk-mismatch": "preshared keys never get past the parser, not even as a digest",
    "bpf-memlock-eperm": "kernels from 5.11 charge the memory cgroup; a load that failed leaves no trace",
    "nf-flowtable-stale": "an offloaded entry of conntrack does not tell the route that it was given",
    "rtnl-contention": "who waits for the lock is seen by tracing, not in the state; rtnl-stuck names one that is held",
    "vxlan-tx-csum-offload-corrupt": "the card corrupts what leaves it: only the receiver's check sums tell",
    "tap-mtu-gt-guest": "the MTU inside the guest is not visible from the host",
}
"""By id."""
