"""Faults of the catalogue that no look at one host can decide, each with the reason: said, not hidden.

``netdiag rules --all`` prints them after the rules. Who makes one decidable takes its line away.
"""

UNDECIDABLE: dict[str, str] = {
    "route-table-size-jump": "needs a series of snapshots: one look, or one baseline, does not tell growth from a leak",
    "bgp-double-restart-gr-flush": "needs a series of snapshots: the first restart leaves no trace after the second",
    "sysctl-ipforward-reset": "the reset leaves the kernel's defaults, which look like never having been set; "
    "against --baseline or an intent sysctl-expected-differs names them",
    "wg-roamed-to-wrong-endpoint": "the kernel keeps the last endpoint only: which one was meant is known to an intent",
    "wg-endpoint-stale-dns": "the kernel keeps no name of an endpoint, only the address that it had",
    "wg-psk-mismatch": "preshared keys never get past the parser, not even as a digest",
    "bpf-memlock-eperm": "kernels from 5.11 charge the memory cgroup; a load that failed leaves no trace",
    "nf-flowtable-stale": "an offloaded entry of conntrack does not tell the route that it was given",
    "rtnl-contention": "who waits for the lock is seen by tracing, not in the state; rtnl-stuck names one that is held",
    "vxlan-tx-csum-offload-corrupt": "the card corrupts what leaves it: only the receiver's check sums tell",
    "nexthop-id-dangling": "the kernel deletes a route with its nexthop object, so an id without an object is a race "
    "of the reading; nexthop-object-delete-removed-routes names routes that went, neigh-gateway-failed dead legs",
    "netns-sysctl-inherit": "what a namespace inherited and what was set in it look alike, and what it was meant to "
    "have is known to an intent only: with one, sysctl-expected-differs names it",
    "ecmp-icmp-ptb-to-wrong-host": "the kernel counts messages about a packet that was too big, but not for whom: one "
    "for a sibling's connection looks like one for a connection that has ended",
    "systemd-mac-policy-race": "which hardware address was meant is not in the state; neigh-permanent-stale-mac names "
    "the neighbour that still goes by the old one",
    "bgp-reload-pending": "BIRD does not tell which configuration it has loaded, and a file that is newer than the "
    "last reconfiguration may have been written without a change",
    "bpf-tracing-unavailable": "no fault of the network: netdiag doctor tells what tracing would need on this host",
    "ct-zone-overlap": "two guests' packets with the same addresses and ports in one zone share one entry, which looks "
    "like that of a single connection; vm-clone-dup-ip-mac names guests with one address",
    "unregister-netdevice-hang": "the interface is out of every table by then, and only the kernel's log speaks of it; "
    "rtnl-stuck names a lock that is held",
    "udp-gso-gro-corruption": "what a card or driver spoils is seen by the receiver's check sums and by the rate only",
    "tap-mtu-gt-guest": "the MTU inside the guest is not visible from the host",
}
"""By id."""
