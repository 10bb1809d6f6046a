"""Near misses of the domain netfilter-conntrack."""

from tests.zoo.near import Line, Near, chains, rules, some, sysctl

LINES: tuple[Line, ...] = (
    Near(
        "ct-asym-half-seen",
        "scans: half connections, and nothing invalid follows",
        "scanned_router",
        lambda t: (
            len(some(t.conntrack.rows(), replied=False, proto=6)) >= 20 and t.conntrack_state.moved("invalid") == 0
        ),
    ),
    Near(
        "ct-invalid-rst",
        "asymmetric router: it sees the invalid and lets them pass",
        "asymmetric_router",
        lambda t: t.conntrack_state.moved("invalid") == 900 and not rules(t, name="ct"),
    ),
    Near(
        "ct-stale-udp-blackhole",
        "a backend that drains",
        "kubernetes_node",
        lambda t: (
            some(t.conntrack.rows(), reply_src="10.42.0.5", dnat=True)
            and some(t.neighbours.rows(), dst="10.42.0.5", state="reachable")
        ),
    ),
    Near(
        "ct-table-full",
        "a limit of the whole machine beside a count of this namespace",
        "busy_proxy",
        lambda t: t.conntrack_state.count < t.conntrack_state.max,
    ),
    Near(
        "ct-table-full",
        "rather full, and nothing is dropped",
        "busy_proxy",
        lambda t: t.conntrack_state.count > 0.7 * t.conntrack_state.max and t.conntrack_state.moved("drop") == 0,
    ),
    Near(
        "nf-bridge-nf-call",
        "Kubernetes needs it on",
        "kubernetes_node",
        lambda t: sysctl(t, "net.bridge.bridge-nf-call-iptables") == "1",
    ),
    Near(
        "nf-forward-drop-policy",
        "closed, with what is accepted said",
        "kubernetes_node",
        lambda t: chains(t, hook="forward", policy="drop") and rules(t, verdict="accept"),
    ),
    Near(
        "nf-legacy-and-nft-both",
        "Docker's old tables beside tables of nft",
        "kubernetes_node",
        lambda t: t.nft.legacy and t.nft.tables,
    ),
    Near(
        "nf-orphan-dnat-to-dead",
        "a backend that is being started: nobody has asked for it yet",
        "kubernetes_node",
        lambda t: rules(t, name="nat", key="dnat") and some(t.neighbours.rows(), dst="10.42.0.6"),
    ),
    Near(
        "nf-rpfilter-nft-fib",
        "a filter on purpose at a symmetric edge",
        "public_mesh_member",
        lambda t: rules(t, name="fib") and rules(t, verdict="drop"),
    ),
    Near(
        "ct-insert-failed-clash",
        "clashes that were resolved",
        "busy_proxy",
        lambda t: t.conntrack_state.moved("clashres") == 85 and t.conntrack_state.moved("insert_failed") == 0,
    ),
    Near(
        "ct-timeout-shorter-than-keepalive",
        "nothing is translated",
        "scanned_router",
        lambda t: t.conntrack_state.settings["tcp_timeout_established"] < 7200 and not rules(t, name="masq"),
    ),
    Near(
        "nf-masq-after-addr-change",
        "a pool that is on no interface",
        "kubernetes_node",
        lambda t: (
            some(t.conntrack.rows(), reply_dst="203.0.113.40", snat=True)
            and not some(t.addresses, local="203.0.113.40")
        ),
    ),
    Near(
        "nf-masquerade-scope",
        "everything masqueraded where nothing is in a tunnel",
        "busy_nat_gateway",
        lambda t: rules(t, name="masq") and not some(t.links, kind="wireguard"),
    ),
    Near(
        "ct-buckets-small",
        "one bucket an entry",
        "busy_proxy",
        lambda t: t.conntrack_state.buckets == t.conntrack_state.max,
    ),
    Near(
        "ct-established-timeout-long",
        "a proxy with many idle connections",
        "busy_proxy",
        lambda t: len(some(t.conntrack.rows(), tcp_state="established", timeout=431000)) == 40,
    ),
    Near(
        "ct-helper-unexpected",
        "a gateway for FTP",
        "customer_gateway",
        lambda t: t.conntrack_state.settings["helper"] == 1,
    ),
    Near(
        "nf-duplicate-rules",
        "a limit said twice on purpose",
        "kubernetes_node",
        lambda t: len(rules(t, name="limit")) == 2,
    ),
    Near(
        "nf-set-flowlog-limit",
        "a set with timeouts that is full for a moment",
        "scanned_router",
        lambda t: some((s for one in t.nft.tables for s in one.sets), size=3, elements=lambda e: len(e) == 3),
    ),
)
