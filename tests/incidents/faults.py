"""What people, scripts and upgrades break: one line of story, the break, and which rule an on-call wants to read first.

Written from the incident side. ``first`` holds every rule that names the cause; nothing else may stand above.
"""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.drills import bgp
from tests.drills.bgp import reconfigured
from tests.drills.bpfworld import program
from tests.incidents import worlds
from tests.lab import Host, Lab
from tests.lab.daemons import key_pair

Break = Callable[[Lab, Host], object]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One incident."""

    name: str
    story: str
    world: Callable[[Lab], Host]
    break_: Break
    first: tuple[str, ...]
    traffic: Break | None = None
    """What goes on between the two samples; without it nothing does."""
    thing: str = ""
    """What it breaks: of two faults of one thing the first hides the second, so they are not combined."""
    alone: bool = False
    """Whether it leaves nothing on the host that another fault could show on, so that it is not combined."""


def ip(lines: str) -> Break:
    return lambda lab, host: host.ip(lines)


def sysctl(**settings: int) -> Break:
    return lambda lab, host: host.sysctl({name.replace("__", "/"): value for name, value in settings.items()})


def sh(script: str) -> Break:
    return lambda lab, host: host.sh(script)


def on(name: str, lines: str) -> Break:
    return lambda lab, host: lab.hosts[name].ip(lines)


def pinging(*addresses: str, source: str = "") -> Break:
    """Somebody on the host (or on ``source``) wants to go there."""

    def go(lab: Lab, host: Host) -> None:
        machine = lab.hosts[source] if source else host
        for address in addresses:
            machine.run("ping", "-c2", "-i0.2", "-W1", address, check=False)

    return go


def _second_peer(lab: Lab, host: Host) -> None:
    _, public = key_pair(host)
    host.run("wg", "set", "wg0", "peer", public, "allowed-ips", "10.64.0.11/32", "endpoint", "192.0.2.77:51820")


def _new_policy(lab: Lab, host: Host) -> None:
    program(host, "policy_v2", b"policy")
    host.sh("tc filter add dev tap1 ingress pref 50 bpf da object-pinned /sys/fs/bpf/policy_v2")


def _full_backlog(lab: Lab, host: Host) -> None:
    def serve() -> None:
        import time

        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("0.0.0.0", 8080))
            server.listen(1)
            while True:
                time.sleep(60)

    host.fork(serve)
    lab.wait(lambda: ":8080" in host.run("ss", "-Hltn").stdout, 3, "it listens")


def _connect_many(lab: Lab, host: Host) -> None:
    def rush() -> None:
        held = []
        for _ in range(12):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("192.0.2.10", 8080))
            held.append(client)
        import select

        select.select([], [], [], 1.5)

    lab.hosts["gateway"].call(rush)


def _from_elsewhere(lab: Lab, host: Host) -> None:
    """Clients whose way back is the other uplink."""
    lab.hosts["upstream2"].sh("ip address replace 100.64.2.1/32 dev lo")
    lab.hosts["upstream2"].run("ping", "-c2", "-i0.2", "-W1", "-I", "100.64.2.1", "203.0.113.7", check=False)


def _hold_timer_expires(break_: Break) -> Break:
    """Break, and wait until BIRD has given the session up."""

    def go(lab: Lab, host: Host) -> None:
        break_(lab, host)
        lab.wait(lambda: not bgp.established(host, 1), 10, "the hold timer expired")

    return go


W, E = worlds.worker, worlds.edge
FAULTS: Sequence[Fault] = (
    Fault(
        name="jumbo at one end",
        thing="eth0",
        story="the switch port was left at 1500 when the host went to 9000",
        world=W,
        break_=ip("link set eth0 mtu 9000"),
        first=("link-mtu-peer-mismatch",),
    ),
    Fault(
        name="hardened",
        story="a hardening role switched forwarding off",
        world=W,
        break_=sysctl(net__ipv4__ip_forward=0),
        first=("ip-forward-off",),
    ),
    Fault(
        name="gateway dead",
        story="the gateway lost its cable; a switch lies between",
        world=W,
        break_=on("gateway", "link set eth0 down\nlink set eth0 address 02:00:00:00:00:99"),
        first=("neigh-gateway-failed",),
        traffic=pinging("198.51.100.53"),
        alone=True,
    ),
    Fault(
        name="default lost",
        story="a network restart brought everything back but the default route",
        world=W,
        break_=ip("route del default via 192.0.2.1"),
        first=("route-default-missing",),
        traffic=pinging("198.51.100.53"),
        alone=True,
    ),
    Fault(
        name="wg0 down",
        thing="wg0",
        story="somebody ran ip link set wg0 down in the wrong window",
        world=W,
        break_=ip("link set wg0 down"),
        first=("wg-iface-down",),
    ),
    Fault(
        name="wg0 at 1500",
        thing="wg0",
        story="a template without an MTU",
        world=W,
        break_=ip("link set wg0 mtu 1500"),
        first=("wg-mtu-exceeds-underlay",),
    ),
    Fault(
        name="address given twice",
        thing="wg0",
        story="a new peer was given an allowed-ip that another one had",
        world=W,
        break_=_second_peer,
        first=("wg-allowedips-duplicate-moved",),
    ),
    Fault(
        name="guest's route gone",
        story="a script flushed the guest's route",
        world=W,
        break_=ip("address del 172.16.1.1/30 dev tap0"),
        first=("tap-route-missing",),
    ),
    Fault(
        name="guest's tap down",
        story="a cleanup job took the wrong tap down",
        world=W,
        break_=ip("link set tap0 down"),
        first=("tap-down-vmm-eio", "tap-route-missing", "route-linkdown-nexthop-used", "tap-route-to-wrong-tap"),
    ),
    Fault(
        name="docker installed",
        story="a package brought its own firewall: forward policy drop",
        world=W,
        break_=lambda lab, host: lab.nft(
            host, "table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }"
        ),
        first=("nf-forward-drop-policy",),
        traffic=pinging("192.0.2.1", source="vm1"),
    ),
    Fault(
        name="two policies",
        story="the new build was attached beside the old one",
        world=W,
        break_=_new_policy,
        first=("bpf-tc-duplicate-version", "bpf-version-skew-across-ifaces"),
    ),
    Fault(
        name="address on two interfaces",
        story="a colleague tried the address on another bridge",
        world=W,
        break_=ip("link add br9 type bridge\nlink set br9 up\naddress add 192.0.2.10/24 dev br9"),
        first=("addr-duplicate-same-host", "overlap-subnet-two-ifaces"),
    ),
    Fault(
        name="mate blackholed",
        thing="wg0",
        story="a DDoS script null-routed the mate's address",
        world=W,
        break_=ip("route add blackhole 192.0.2.11/32"),
        first=("route-blackhole-unexpected", "wg-endpoint-unroutable"),
    ),
    Fault(
        name="mate prohibited by rule",
        thing="wg0",
        story="the same by a policy rule",
        world=W,
        break_=ip("rule add pref 50 to 192.0.2.11 prohibit"),
        first=("rule-terminal-unreachable", "wg-endpoint-unroutable"),
    ),
    Fault(
        name="rules flushed",
        story="ip rule flush, and only half of it was put back",
        world=W,
        break_=ip("rule del pref 32766"),
        first=("rule-main-missing",),
        alone=True,
    ),
    Fault(
        name="table forgotten",
        story="a rule whose table lost its routes at the last restart",
        world=W,
        break_=ip("rule add pref 100 fwmark 0x77 lookup 177"),
        first=("rule-references-empty-table",),
    ),
    Fault(
        name="endpoint through the tunnel",
        thing="wg0",
        story="a route of the mesh covers the mate's endpoint",
        world=W,
        break_=ip("route add 192.0.2.11/32 dev wg0"),
        first=("wg-endpoint-via-own-tunnel",),
    ),
    Fault(
        name="stub resolver gone",
        story="resolved was purged, resolv.conf still names it",
        world=W,
        break_=lambda lab, host: host.write("/etc/resolv.conf", "nameserver 127.0.0.53\n"),
        first=("dns-stub-dead",),
    ),
    Fault(
        name="resolv.conf emptied",
        story="a DHCP hook wrote an empty file",
        world=W,
        break_=lambda lab, host: host.write("/etc/resolv.conf", "# made by a hook\n"),
        first=("dns-no-nameserver",),
    ),
    Fault(
        name="server asleep",
        story="a server stopped accepting",
        world=W,
        break_=_full_backlog,
        first=("tcp-listen-overflow",),
        traffic=_connect_many,
    ),
    Fault(
        name="too small for IPv6",
        thing="eth0",
        story="somebody set 1200 bytes to get a tunnel through",
        world=W,
        break_=ip("link set eth0 mtu 1200"),
        first=(
            "mtu-too-low-disables-ipv6",
            "link-mtu-peer-mismatch",
        ),
    ),
    Fault(
        name="stale source",
        story="an address was moved, a route still prefers it",
        world=W,
        break_=ip(
            "address add 192.0.2.99/32 dev lo\nroute add 203.0.113.0/24 via 192.0.2.1 src 192.0.2.99 table 88\n"
            "rule add pref 88 to 203.0.113.0/24 lookup 88\naddress del 192.0.2.99/32 dev lo"
        ),
        first=("route-src-stale-custom-table", "prefsrc-not-local"),
    ),
    Fault(
        name="WireGuard firewalled",
        thing="wg0",
        story="a new input chain forgot the mesh's port",
        world=W,
        break_=lambda lab, host: lab.nft(
            host,
            "table inet new { chain input { type filter hook input priority 5; udp dport 51820 drop; }; }",
        ),
        first=("wg-listen-port-firewalled",),
    ),
    Fault(
        name="a second table drops",
        thing="guests",
        story="a hardening script brought a table of its own with a policy of drop, behind the one that accepts",
        world=W,
        break_=lambda lab, host: lab.nft(
            host,
            "table inet hardening { chain forward { type filter hook forward priority 200; policy drop; "
            "ct state established accept; }; }",
        ),
        first=("nf-forward-drop-policy",),
    ),
    Fault(
        name="BIRD killed",
        story="the OOM killer took BIRD; its socket is still there",
        world=E,
        break_=sh("pkill -9 -x bird; sleep 0.2"),
        first=("bgp-daemon-dead",),
        alone=True,
    ),
    Fault(
        name="wrong AS",
        thing="up1",
        story="the upstream was migrated to another AS",
        world=E,
        break_=lambda lab, host: reconfigured(lab.hosts["upstream1"], worlds.far_conf(1, "192.0.2.1", 65099)),
        first=("bgp-bad-as",),
    ),
    Fault(
        name="upstream unplugged",
        thing="up1",
        story="an uplink's far end went down",
        world=E,
        break_=on("upstream1", "link set eth0 down"),
        first=("route-linkdown-nexthop-used", "bgp-not-established", "carrier-flap"),
    ),
    Fault(
        name="static wins",
        thing="up1",
        story="a forgotten static route with metric 0 hides BIRD's",
        world=E,
        break_=ip("route add 198.18.1.0/24 via 198.51.100.2"),
        first=("bird-route-metric-loses-to-static",),
    ),
    Fault(
        name="strict again",
        story="a sysctl file set strict reverse path filters on a host with two uplinks",
        world=E,
        break_=sysctl(net__ipv4__conf__all__rp_filter=1),
        first=("asym-rpfilter-strict-drop", "rpfilter-strict-drops-arp"),
        traffic=_from_elsewhere,
    ),
    Fault(
        name="FIB emptied",
        story="ip route flush proto bird, by a script that meant well",
        world=E,
        break_=ip("route flush proto bird"),
        first=("bird-route-not-in-fib",),
        alone=True,
    ),
    Fault(
        name="service address lost",
        story="lo was set up again without the anycast address",
        world=E,
        break_=ip("address del 203.0.113.7/32 dev lo\naddress add 203.0.113.9/32 dev lo"),
        first=("addr-missing-expected-lo32", "bgp-route-announced-no-local-addr"),
    ),
    Fault(
        name="password on one side",
        thing="up1",
        story="the upstream switched MD5 on, alone",
        world=E,
        break_=lambda lab, host: reconfigured(
            lab.hosts["upstream1"], worlds.far_conf(1, "192.0.2.1", 65002, 'password "x";')
        ),
        first=("bgp-md5-mismatch", "bgp-not-established"),
        traffic=pinging("192.0.2.2"),
    ),
    Fault(
        name="cable under a tunnel",
        story="the switch port of the uplink was shut; BGP goes through a tunnel over it",
        world=worlds.over_tunnel,
        break_=_hold_timer_expires(on("gateway", "link set eth0 down")),
        first=("route-linkdown-nexthop-used",),
        alone=True,
    ),
    Fault(
        name="interface under a tunnel",
        story="somebody set the uplink down; its default route went with it",
        world=worlds.over_tunnel,
        break_=_hold_timer_expires(ip("link set eth0 down")),
        first=("route-default-missing",),
        traffic=pinging("198.51.100.11"),
        alone=True,
    ),
)
