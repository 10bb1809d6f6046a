"""What works until the next start: a setting that was changed by hand, and rules that networkd will take away."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

PROBING = "net.ipv4.tcp_mtu_probing"


def build(lab: Lab) -> Host:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    return host


def set_at_boot(lab: Lab) -> Host:
    """Two files for one setting, of which the later one counts; one that only a daemon of another kind would change."""
    host = build(lab)
    host.write("/etc/sysctl.d/40-old.conf", f"{PROBING} = 2\nnet/ipv4/conf/eth0/forwarding = 1\n")
    host.write("/etc/sysctl.d/60-net.conf", f"# a comment\n-{PROBING}=1\nnet.ipv4.ip_forward = 1\n")
    host.sysctl({PROBING: 1, "net.ipv4.ip_forward": 1})
    return host


def with_networkd(lab: Lab) -> Host:
    """A process of networkd's name that manages eth0, as its state files say; all routes and rules are its own."""
    host = build(lab)
    host.sh("mkdir -p /run/systemd/netif/links; cp $(command -v sleep) /run/systemd-networkd")
    index = host.run("cat", "/sys/class/net/eth0/ifindex").stdout.strip()
    host.write(f"/run/systemd/netif/links/{index}", "ADMIN_STATE=configured\nOPER_STATE=routable\n")
    host.spawn("/run/systemd-networkd", "1000")
    host.ip("route add 198.51.100.0/24 via 192.0.2.2 proto static")
    host.ip("route add 203.0.113.0/24 via 192.0.2.2 table 51820 proto static")
    return host


test_drill = drill_test(
    Drill(
        rule="sysctl-drift-vs-file",
        build=set_at_boot,
        break_=lambda lab, host: host.sysctl({PROBING: 2}),
        repair=None,
        severity="warning",
        expect={"kind": "sysctl", "name": PROBING},
    ),
    Drill(
        rule="networkd-foreign-flush-risk",
        build=with_networkd,
        break_=lambda lab, host: host.ip("rule add fwmark 0xca6c lookup 51820"),
        repair=None,
        severity="warning",
        expect={"kind": "host", "daemon": "systemd-networkd"},
        tolerate=("table-without-rule",),  # the table waits for the rule that is to come
    ),
)
