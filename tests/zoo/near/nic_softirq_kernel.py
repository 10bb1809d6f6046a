"""Near misses of the domain nic-softirq-kernel."""

from tests.zoo.near import Line, Near, link, moved, rules, some, sysctl

LINES: tuple[Line, ...] = (
    Near(
        "ipv6-disabled-iface",
        "a card for management without IPv6",
        "small_cloud_machine",
        lambda t: (
            link(t, "mgmt0").inet6_conf["disable_ipv6"]
            and not some(t.addresses, ifindex=link(t, "mgmt0").ifindex, family="inet6")
        ),
    ),
    Near(
        "mtu-too-low-disables-ipv6",
        "a tunnel for IPv4 alone",
        "small_cloud_machine",
        lambda t: link(t, "tun0").mtu == 1200 and not link(t, "tun0").inet6_conf,
    ),
    Near(
        "softnet-backlog-drop",
        "a processor is offline: rows are known by their number",
        "busy_proxy",
        lambda t: [row.cpu for row in t.counters.first.softnet] == [0, 2],
    ),
    Near(
        "irq-imbalance",
        "one queue",
        "small_cloud_machine",
        lambda t: len(t.softirq.irqs) == 1 and link(t, "eth0").num_rx_queues == 1,
    ),
    Near(
        "irq-imbalance",
        "one flow: all of it is one processor's",
        "small_cloud_machine",
        lambda t: t.softirq.second.irqs[0].counts[1] == 0 and t.softirq.second.cpus[0].softirq > 1.5,
    ),
    Near(
        "route-localnet-missing",
        "off, as it should be where nothing is sent to loopback from outside",
        "kubernetes_node",
        lambda t: rules(t, name="nat", key="dnat") and not link(t, "eth0").inet_conf["route_localnet"],
    ),
    Near(
        "sysctl-drift-vs-file",
        "a daemon owns what a file says otherwise",
        "drift_of_daemons",
        lambda t: (
            some(t.sysctls.files, name="net.ipv4.ip_forward", value="0") and sysctl(t, "net.ipv4.ip_forward") == "1"
        ),
    ),
    Near(
        "accept-local-missing",
        "forged packets with an own source",
        "transit_router",
        lambda t: moved(t, "rt_cache.in_martian_src") == 3,
    ),
    Near(
        "accept-redirects-on",
        "a host that takes advice from its router",
        "busy_proxy",
        lambda t: sysctl(t, "net.ipv4.conf.all.accept_redirects") == "1" and sysctl(t, "net.ipv4.ip_forward") == "0",
    ),
    Near(
        "flow-limit-drops",
        "no processor limits flows",
        "busy_proxy",
        lambda t: not some(t.counters.second.softnet, flow_limit_count=lambda n: n),
    ),
    Near(
        "log-martians-flood",
        "noise at an edge",
        "transit_router",
        lambda t: moved(t, "rt_cache.in_martian_src") == 3,
    ),
    Near(
        "softnet-time-squeeze",
        "twenty in a second",
        "busy_proxy",
        lambda t: [row.time_squeeze for row in t.counters.second.softnet] == [60, 60],
    ),
    Near(
        "softnet-time-squeeze",
        "nothing is lost by it",
        "busy_proxy",
        lambda t: not some(t.counters.second.softnet, dropped=lambda n: n),
    ),
)
