"""Near misses of the domain routing."""

from tests.zoo.near import (
    Line,
    Near,
    Never,
    Shown,
    exported,
    link,
    links,
    moved,
    protocols,
    routes,
    rules,
    some,
    sysctl,
)

LINES: tuple[Line, ...] = (
    Near(
        "accept-ra-with-forwarding",
        "advertisements are read by networkd",
        "router_on_advertisements",
        lambda t: link(t, "eth0").inet6_conf["accept_ra"] == 0 and routes(t, dst="::/0", protocol=9),
    ),
    Near(
        "asym-rpfilter-strict-drop",
        "all 2 and the interface 1: loose",
        "transit_router",
        lambda t: sysctl(t, "net.ipv4.conf.all.rp_filter") == "2" and link(t, "up1").inet_conf["rp_filter"] == 1,
    ),
    Near(
        "asym-rpfilter-strict-drop",
        "all 0 and the interface 1: strict, and one way only",
        "strict_by_card",
        lambda t: sysctl(t, "net.ipv4.conf.all.rp_filter") == "0" and link(t, "eth0").inet_conf["rp_filter"] == 1,
    ),
    Near(
        "asym-rpfilter-strict-drop",
        "forged sources of the Internet move the counter",
        "strict_by_card",
        lambda t: moved(t, "TcpExt.IPReversePathFilter") == 12,
    ),
    Near(
        "bird-route-metric-loses-to-static",
        "somebody's static route on purpose",
        "transit_router",
        lambda t: routes(t, dst="20.7.7.0/24", protocol=4),
    ),
    Near(
        "bird-route-metric-loses-to-static",
        "metric 0 of IPv4 and 1024 of IPv6 are both the best",
        "two_families_of_bird",
        lambda t: (
            routes(t, dst="::/0", priority=1024, protocol=4) and routes(t, dst="0.0.0.0/0", priority=0, protocol=4)
        ),
    ),
    Never(
        "bird-route-not-in-fib",
        "a lag of up to a scan",
        "a route that is missing now loses its packets now, whoever puts it back; its page says when BIRD does",
    ),
    Near(
        "bird-route-not-in-fib",
        "a reflector exports nothing to the kernel",
        "route_reflector",
        lambda t: protocols(t, proto="BGP", bgp_state="Established") and not routes(t, protocol=12),
    ),
    Never(
        "bird-route-not-in-fib",
        "a route that was deleted comes back with the next scan",
        "until then its packets are lost: the rule says so, and that BIRD restores it",
    ),
    Near(
        "fib-route-stale-daemon-gone",
        "BIRD restarts gracefully: it is there and still recovering",
        "just_booted",
        lambda t: routes(t, protocol=12) and t.bird.daemons[0].recovery_channels,
    ),
    Near(
        "forwarding-per-iface-off",
        "a card of its own, isolated on purpose",
        "router_on_advertisements",
        lambda t: link(t, "mgmt0").inet_conf["forwarding"] == 0 and sysctl(t, "net.ipv4.ip_forward") == "1",
    ),
    Near(
        "ip-forward-off",
        "a proxy that forwards nothing",
        "busy_proxy",
        lambda t: sysctl(t, "net.ipv4.ip_forward") == "0" and some(t.sockets.rows(), sport=443),
    ),
    Near(
        "ip-forward-off",
        "forwarding came on, and the other settings are as it leaves them",
        "drift_of_daemons",
        lambda t: sysctl(t, "net.ipv4.ip_forward") == "1" and sysctl(t, "net.ipv4.conf.all.accept_redirects") == "0",
    ),
    Near(
        "nexthop-object-delete-removed-routes",
        "a daemon moved to a new group",
        "after_the_night",
        lambda t: some(t.nexthops, id=8) and routes(t, nh_id=8) and not some(t.nexthops, id=7),
    ),
    Near(
        "prefsrc-not-local",
        "a source that AnyIP holds",
        "anycast_networks",
        lambda t: routes(t, prefsrc="203.0.113.130", table=254) and not some(t.addresses, local="203.0.113.130"),
    ),
    Near(
        "ra-rogue",
        "a pair of routers",
        "router_on_advertisements",
        lambda t: len(some(t.neighbours.rows(), router=True)) == 2,
    ),
    Near(
        "route-blackhole-unexpected",
        "an own aggregate with longer ones inside, and a wall behind everything",
        "kubernetes_node",
        lambda t: routes(t, dst="10.42.0.0/16", type="blackhole", protocol=80) and routes(t, dst="10.42.0.77/32"),
    ),
    Near(
        "route-default-missing",
        "the whole table and no default",
        "transit_router",
        lambda t: len(routes(t, protocol=12)) > 100 and not routes(t, dst="0.0.0.0/0", type="unicast"),
    ),
    Near(
        "route-linkdown-nexthop-used",
        "Docker's bridge without a container",
        "kubernetes_node",
        lambda t: link(t, "docker0").operstate == "down" and routes(t, dst="172.17.0.0/16"),
    ),
    Near(
        "route-linkdown-nexthop-used",
        "taps without a machine",
        "taps_that_wait",
        lambda t: links(t, kind="tun", up=True, operstate="down") and routes(t, dst="10.3.0.0/30"),
    ),
    Near(
        "route-linkdown-nexthop-used",
        "a dark leg that the kernel leaves out",
        "transit_router",
        lambda t: routes(t, extra=lambda e: e and some(e.multipath, flags=0x11)),
    ),
    Near(
        "route-onlink-missing-gateway",
        "a gateway that a route of its own leads to",
        "gcp_router_of_two_networks",
        lambda t: routes(t, gateway="10.33.0.1", dev="eth0") and routes(t, dst="10.33.0.1/32", dev="eth0"),
    ),
    Near(
        "route-src-stale-custom-table",
        "a source that AnyIP holds, in a table of its own",
        "anycast_networks",
        lambda t: routes(t, table=100, prefsrc="203.0.113.130"),
    ),
    Near(
        "route-unreachable-proto-bird",
        "null routes on purpose",
        "rtbh_edge",
        lambda t: routes(t, type="blackhole", protocol=12),
    ),
    Near(
        "rpfilter-strict-drops-arp",
        "the neighbour is down: nothing comes in, nothing is refused",
        "strict_by_card",
        lambda t: (
            some(t.neighbours.rows(), dst="10.9.0.9", state="failed") and moved(t, "rt_cache.in_martian_src") == 0
        ),
    ),
    Near(
        "rule-local-missing-or-moved",
        "the local table moved down",
        "policy_box",
        lambda t: (
            some(t.rules, family="inet", table=255, priority=100) and not some(t.rules, family="inet", priority=0)
        ),
    ),
    Near(
        "rule-main-missing",
        "a VRF's rule looks main up only behind",
        "vrf_alone",
        lambda t: some(t.rules, l3mdev=True) and not some(t.rules, family="inet", table=254),
    ),
    Near(
        "rule-references-empty-table",
        "the kernel's own 253, strongSwan's 220",
        "policy_box",
        lambda t: some(t.rules, table=253) and some(t.rules, table=220) and not routes(t, table=220),
    ),
    Near(
        "rule-shadowed",
        "main is looked up without its default route",
        "policy_box",
        lambda t: some(t.rules, suppress_prefixlength=0, table=254, priority=3000),
    ),
    Near(
        "rule-terminal-unreachable",
        "a kill switch behind its look-up",
        "policy_box",
        lambda t: some(t.rules, action="unreachable", priority=6010),
    ),
    Near(
        "src-addr-selection-wrong",
        "a private source that is translated on the way out",
        "source_translated",
        lambda t: routes(t, dst="0.0.0.0/0", prefsrc="10.255.0.9") and rules(t, name="masq"),
    ),
    Near(
        "src-addr-selection-wrong",
        "a service address on lo as the source",
        "unnumbered_bgp",
        lambda t: routes(t, prefsrc="10.255.0.1", protocol=12) and some(t.addresses, local="10.255.0.1", ifindex=1),
    ),
    Near(
        "src-valid-mark-missing",
        "on for all, as wg-quick leaves it, beside others' marks",
        "full_tunnel",
        lambda t: sysctl(t, "net.ipv4.conf.all.src_valid_mark") == "1" and some(t.rules, fwmark=51820),
    ),
    Near(
        "table-without-rule",
        "a VRF's table",
        "policy_box",
        lambda t: routes(t, table=10) and not some(t.rules, table=10) and some(t.rules, l3mdev=True),
    ),
    Near(
        "table-without-rule",
        "a table that BIRD fills for a looking glass",
        "two_families_of_bird",
        lambda t: routes(t, table=600, protocol=12) and not some(t.rules, table=600),
    ),
    Near(
        "table-without-rule",
        "a rule of the other family leads there",
        "policy_box",
        lambda t: (
            routes(t, table=500)
            and some(t.rules, table=500, family="inet6")
            and not some(t.rules, table=500, family="inet")
        ),
    ),
    Near(
        "table-without-rule",
        "throw and blackhole only",
        "policy_box",
        lambda t: {row.type for row in routes(t, table=400)} == {"throw", "blackhole"},
    ),
    Near(
        "ipv6-route-cache-full",
        "a kernel that knows no limit",
        "policy_box",
        lambda t: sysctl(t, "net.ipv6.route.max_size") == "2147483647",
    ),
    Near(
        "networkd-foreign-flush-risk",
        "the kernel's own rules are kept",
        "networkd_kept_apart",
        lambda t: some(t.rules, protocol=2) and t.identity.networkd,
    ),
    Near(
        "networkd-foreign-flush-risk",
        "it does not manage the card, and keeps others' rules",
        "networkd_kept_apart",
        lambda t: (
            link(t, "cust0").ifindex not in t.identity.networkd.managed and not t.identity.networkd.manage_foreign_rules
        ),
    ),
    Near(
        "route-default-duplicate-tie",
        "two IPv6 ways out in one route",
        "router_on_advertisements",
        lambda t: routes(t, dst="::/0", extra=lambda e: e and len(e.multipath) == 2),
    ),
    Near(
        "route-foreign-routes-removed",
        "BIRD was restarted without graceful restart, and wants none yet",
        "after_the_night",
        lambda t: protocols(t, proto="Kernel", state="up") and not routes(t, protocol=12),
    ),
    Near(
        "route-linkdown-sysctl-vs-daemon",
        "BIRD looks at the carrier itself: it does not announce what is behind a dark card",
        "transit_router",
        lambda t: link(t, "up3").operstate == "down" and not exported(t, "up1", net="192.0.3.0/24"),
    ),
    Near(
        "rpfilter-wildcard-reapplied",
        "loose everywhere",
        "eks_node_with_two_enis",
        lambda t: links(t, inet_conf=lambda c: c["rp_filter"] == 2) and sysctl(t, "net.ipv4.conf.all.rp_filter") == "2",
    ),
    Near(
        "ecmp-hash-policy-l3",
        "addresses alone, so that fragments keep together",
        "transit_router",
        lambda t: (
            sysctl(t, "net.ipv4.fib_multipath_hash_policy") == "0"
            and routes(t, extra=lambda e: e and len(e.multipath) == 2)
        ),
    ),
    Near(
        "ecmp-hash-policy-l3",
        "a router that hashes ports",
        "asymmetric_ecmp_edge",
        lambda t: sysctl(t, "net.ipv4.fib_multipath_hash_policy") == "1",
    ),
    Near(
        "ecmp-nexthop-asym-weights",
        "unequal on purpose",
        "transit_router",
        lambda t: routes(t, extra=lambda e: e and {hop.weight for hop in e.multipath} == {1, 20}),
    ),
    Shown("asym-route-pair", "in by anycast, out by a tunnel", "anycast"),
    Shown("asym-route-pair", "direct return", "loose"),
    Shown("asym-route-pair", "no strict filter and no conntrack on the way", "stateless, two routers"),
)
