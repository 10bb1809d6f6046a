"""Near misses of the domain neighbours."""

from netdiag.model.neighbour import NTF_EXT_LEARNED
from tests.zoo.near import Line, Near, link, links, routes, some

LINES: tuple[Line, ...] = (
    Near(
        "arp-vip-answered-by-backend",
        "an anycast address that is routed here",
        "anycast_networks",
        lambda t: some(t.addresses, local="203.0.113.7", ifindex=1) and link(t, "eth0").inet_conf["arp_ignore"] == 0,
    ),
    Near(
        "fdb-stale-vtep",
        "an end with several addresses",
        "kubernetes_node",
        lambda t: len({row.dst for row in some(t.fdb.rows(), lladdr="2e:aa:bb:cc:dd:01")}) == 2,
    ),
    Near(
        "neigh-gateway-failed",
        "a neighbour that nobody needs does not answer",
        "microvm_worker",
        lambda t: some(t.neighbours.rows(), dst="192.0.2.77", state="failed"),
    ),
    Near(
        "neigh-gateway-failed",
        "no route goes by it",
        "microvm_worker",
        lambda t: not routes(t, gateway="192.0.2.77") and some(t.neighbours.rows(), state="failed"),
    ),
    Near(
        "neigh-gc-thresh-overflow",
        "permanent and learnt entries are not counted",
        "full_neighbour_table",
        lambda t: (
            len(some(t.neighbours.rows(), flags=NTF_EXT_LEARNED)) + len(some(t.neighbours.rows(), state="permanent"))
            > 0.9 * t.neigh_tables[0].thresh3
        ),
    ),
    Near(
        "neigh-gc-thresh-overflow",
        "the table is the whole kernel's: other namespaces' entries are in its total",
        "full_neighbour_table",
        lambda t: t.neigh_tables[0].entries > len(t.neighbours),
    ),
    Near(
        "neigh-permanent-stale-mac",
        "a static neighbour of a vxlan that has its entry",
        "kubernetes_node",
        lambda t: (
            some(t.neighbours.rows(), state="permanent", lladdr="2e:aa:bb:cc:dd:01")
            and some(t.fdb.rows(), lladdr="2e:aa:bb:cc:dd:01")
        ),
    ),
    Near(
        "proxy-arp-leak",
        "proxy ARP towards guests",
        "microvm_worker",
        lambda t: link(t, "tap1").inet_conf["proxy_arp"] and not link(t, "eth0").inet_conf["proxy_arp"],
    ),
    Near(
        "proxy-ndp-missing",
        "a block that is routed here",
        "microvm_worker",
        lambda t: routes(t, dst="2001:db8:77::2/128") and link(t, "eth0").inet6_conf["proxy_ndp"] == 0,
    ),
    Near(
        "proxy-ndp-missing",
        "ndppd answers",
        "ndp_by_daemon",
        lambda t: some(t.identity.daemons, name="ndppd") and routes(t, dst="2001:db8:1::5/128", dev="tap0"),
    ),
    Near(
        "proxy-ndp-missing",
        "guests outside of the prefix on the link",
        "microvm_worker",
        lambda t: routes(t, dst="2001:db8:77::3/128", dev="tap1") and routes(t, dst="2001:db8:1::/64", dev="eth0"),
    ),
    Near(
        "arp-flux",
        "two cards on two networks",
        "router_on_advertisements",
        lambda t: routes(t, dst="192.0.2.0/24", dev="eth0") and routes(t, dst="10.0.0.0/24", dev="lan0"),
    ),
    Near(
        "arp-flux",
        "one card",
        "busy_proxy",
        lambda t: len(links(t, type=1)) == 1,
    ),
    Near("fdb-table-full", "no limit", "kubernetes_node", lambda t: not link(t, "cni0").info.get("fdb_max_learned")),
    Near(
        "ndp-router-flag-gone",
        "a default route by hand",
        "microvm_worker",
        lambda t: routes(t, dst="::/0", protocol=3, gateway="fe80::1"),
    ),
    Near(
        "neigh-incomplete-storm",
        "the sweep of a host that has just booted",
        "just_booted",
        lambda t: len(some(t.neighbours.rows(), state="failed")) == 100,
    ),
    Near(
        "neigh-app-solicit-zero-dead-nexthop",
        "one way only",
        "busy_proxy",
        lambda t: len(routes(t, dst="0.0.0.0/0")) == 1,
    ),
)
