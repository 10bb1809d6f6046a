"""Workers of virtual machines and containers drawn as tables, healthy and full of near misses; see drawn.py."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from netdiag.model.bpf import (
    BpfAttachment,
    BpfCgroup,
    BpfHolder,
    BpfLink,
    BpfMap,
    BpfMapEntry,
    BpfMount,
    BpfPin,
    BpfTurnover,
)
from netdiag.model.cni import Cni, CniAllocation
from netdiag.model.conntrack import IPS_DST_NAT, IPS_SRC_NAT
from netdiag.model.ethtool import Ethtool, EthtoolDevice
from netdiag.model.link import LinkCounters, Stats64
from netdiag.model.namespace import NamespaceHolder
from netdiag.model.snapshot import Tables
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc, tcx, xdp
from netdiag.rules.build_fdb import entry, fdb
from netdiag.rules.build_nft import chain, iifname, nat, oifname, plain, port, rule, saddr, state, table, verdict
from tests.zoo.drawn import FORWARDS, forwarding, uplink

GUEST = {"forwarding": 1, "proxy_arp": 1}


def microvm_worker() -> Tables:
    """A worker: guests with one gateway for all of them and proxy ARP on their taps, one paused with a full ring, one
    that moved a moment ago, one with an emulated card, a pool that waits, clones with equal addresses in namespaces of
    their own, a routed block of IPv6, a link through a bridge, and an agent that holds namespaces open."""
    host = forwarding(HostBuilder())
    uplink(host, inet_conf=FORWARDS, inet6_conf={"forwarding": 1, "proxy_ndp": 0})
    host.address("eth0", "2001:db8:1::10/64").route("default", via="fe80::1", dev="eth0")
    host.neighbour("fe80::1", dev="eth0", flags=0x80)
    for number in range(4):
        ifname, guest = f"tap{number}", f"10.1.0.{number + 2}"
        state = {"state": "T"} if number == 3 else {}
        host.tap(ifname, holder=None, carrier=True, inet_conf=GUEST).tap_holder(ifname, comm="firecracker", **state)
        host.address(ifname, "169.254.0.1/30" if number == 0 else "10.1.0.1/32")
        host.route(f"{guest}/32", dev=ifname, scope=253).route(f"2001:db8:77::{number + 2}/128", dev=ifname)
        mac = f"06:00:00:00:00:{number:02x}"
        host.neighbour(guest, dev=ifname, lladdr=mac, state="probe" if number == 2 else "reachable")
    host.neighbour("169.254.0.2", dev="tap0", lladdr="06:00:00:00:00:00")
    host.neighbour("fe80::2", dev="tap2", lladdr="06:00:00:00:00:77")
    host.neighbour("10.1.0.200", dev="eth0", state="failed").neighbour("192.0.2.77", dev="eth0", state="failed")
    host.tap("tapq", holder="qemu", info={"vnet_hdr": False}, inet_conf=GUEST).route("10.1.0.30/32", dev="tapq")
    host.tap("tapq2", holder="qemu", inet_conf=GUEST).route("10.1.0.31/32", dev="tapq2")
    host.tap("tapm", holder=None, carrier=True, info={"multi_queue": True}, inet_conf=GUEST)
    for _ in range(2):
        host.tap_holder("tapm", pid=4000, queues=4)
    host.route("10.1.0.40/32", dev="tapm")
    host.tap("vpn0", holder="openvpn", info={"vnet_hdr": False, "type": "tap"}).address("vpn0", "10.66.0.1/24")
    host.link("br0", kind="bridge", inet_conf=FORWARDS, address="02:00:00:00:33:01").address("br0", "10.2.0.1/24")
    for number in range(2):
        host.tap(f"tapb{number}", master="br0", promiscuity=1)
    for number in range(6):
        host.tap(f"pool{number}", holder=None, up=False)
        host.namespace(300 + number, names=(f"pool{number}",), netnsid=10 + number, links=2)
    for number in range(3):
        host.namespace(200 + number, names=(f"vm{number}",), netnsid=number, links=3, processes=1)
        host.link(f"v{number}", kind="veth", inet_conf=FORWARDS).peer(f"v{number}", netnsid=number)
        host.address(f"v{number}", f"10.200.{number}.1/30")
    host.link("w0", kind="veth", inet_conf=FORWARDS).peer("w0", netnsid=10)
    host.namespace(400, holders=(NamespaceHolder(pid=77, comm="cilium-agent", fd=9),), links=2)
    host.link("mv0", kind="macvlan", link="eth0", info={"mode": "bridge"}, inet_conf=FORWARDS)
    host.address("mv0", "192.0.2.11/32")
    stats = [_tap_stats(host, "tap3", drops) for drops in (0, 500)]
    host.counters(before={"links": (stats[0],)}, after={"links": (stats[1],)})
    made = host.build()
    names = ("tx-tcp-segmentation", "tx-tcp6-segmentation")
    rows = [EthtoolDevice(ifindex=host.ifindex(name), ifname=name, driver="tun", features=(0,)) for name in ("tapq",)]
    return replace(made, ethtool=Ethtool(devices=tuple(rows), feature_names=names))


def _tap_stats(host: HostBuilder, ifname: str, dropped: int) -> LinkCounters:
    return host.link_counters(ifname, stats=Stats64(tx_packets=1000, tx_dropped=dropped))


def policed_by_bpf() -> Tables:
    """A host whose packets meet eBPF everywhere: a canary, one program twice on purpose, a terminal at the end, tcx
    that hands on, generic XDP where there is no other, full maps that are meant to be full, a drained target, systemd's
    programs below an agent's, templates and tail calls, a program on a card, statistics for an observer."""
    host = forwarding(HostBuilder())
    uplink(host, inet_conf=FORWARDS, mtu=3000)
    host.link("mgmt0", inet_conf=FORWARDS).address("mgmt0", "10.9.0.5/24")
    host.link("wg0", kind="wireguard", type=65534, flags=0x100D1, mtu=1420).address("wg0", "10.64.0.1/24")
    host.link("tun0", kind="tun", type=65534, flags=0x110D1, mtu=1400, info={"type": "tun"}).tap_holder(
        "tun0", comm="vpn"
    )
    for number in range(3):
        host.tap(f"tap{number}", inet_conf=FORWARDS).route(f"10.1.0.{number + 2}/32", dev=f"tap{number}")
    for number in range(3):
        host_mtu = 9000 if number == 2 else 1500
        host.link(f"v{number}", kind="veth", mtu=host_mtu, inet_conf=FORWARDS)
        host.namespace(100 + number, netnsid=number, processes=2).peer(f"v{number}", netnsid=number, mtu=host_mtu)
        host.address(f"v{number}", f"10.200.{number}.1/30")
    host.link("out0", kind="veth", up=False)
    host.route("10.65.0.0/16", dev="wg0")  # a program on wg0 makes segments small
    kinds = {1: ("policy", "a1" * 8), 2: ("policy_canary", "b2" * 8), 3: ("count", "c3" * 8), 4: ("last", "d4" * 8)}
    programs = [program(n, name, tag, verdicts=(-1,) if n != 4 else (0, 2)) for n, (name, tag) in kinds.items()]
    programs += [
        program(5, "guard", "e5" * 8, type="xdp", verdicts=None),
        program(6, "frags", "f6" * 8, type="xdp"),
        program(7, "tail_v4", "77" * 8),
        program(8, "template", "88" * 8),
        program(9, "sd_fw_egress", "99" * 8, type="cgroup_skb"),
        program(10, "agent_egress", "aa" * 8, type="cgroup_skb"),
        program(
            11, "balancer", "bb" * 8, type="xdp", map_ids=(50, 51, 52, 53, 54, 55, 56), run_count=9, run_time_ns=90
        ),
        program(12, "flows", "cc" * 8, map_ids=(57,), verdicts=None),
        program(13, "on_card", "dd" * 8, type="xdp", jited=False, ifindex=host.ifindex("mgmt0")),
        program(14, "hold_me", "ee" * 8),
        program(15, "extension", "ff" * 8, type="ext"),
    ]
    maps = [
        BpfMap(id=50, type="lru_hash", name="conns", max_entries=500, entries=500),
        BpfMap(id=51, type="array", name="config", max_entries=16, entries=16),
        BpfMap(id=52, type="lpm_trie", name="deny", max_entries=64, entries=64),
        BpfMap(id=53, type="percpu_array", name="stats", max_entries=8, entries=8),
        BpfMap(id=54, type="devmap", name="targets", max_entries=8, entries=2),
        BpfMap(id=55, type="prog_array", name="calls", max_entries=8, entries=1),
        BpfMap(id=56, type="lru_percpu_hash", name="cache", max_entries=100, entries=97),
        BpfMap(id=57, type="hash", name="vm_ifindex", key_size=4, value_size=4, max_entries=64, entries=3),
    ]
    first = int.from_bytes(bytes([10, 1, 0, 2]), "little")
    rows = [BpfMapEntry(map_id=54, key=0, ifindex=host.ifindex("out0"), target_can=False)]
    rows += [BpfMapEntry(map_id=54, key=1, ifindex=host.ifindex("eth0"), target_can=True)]
    rows += [BpfMapEntry(map_id=55, key=3, prog_id=7)]
    rows += [BpfMapEntry(map_id=57, key=first + (n << 24), ifindex=host.ifindex(f"tap{n}")) for n in range(3)]
    host.bpf(programs=programs, maps=maps, entries=rows, entries_read=[54, 55, 57])
    for number in (0, 1):
        tc(host, f"tap{number}", 1)
    tc(host, "tap2", 2)
    tc(host, "eth0", 3)
    tc(host, "eth0", 3, priority=2, handle=2)
    tc(host, "eth0", 4, priority=3, handle=3)
    tcx(host, "eth0", 12)
    tcx(host, "mgmt0", 14, link_id=900)
    host.bpf(links=[BpfLink(id=900, type="tcx", prog_id=14, ifindex=host.ifindex("mgmt0"))])
    held = [BpfHolder(pid=77, comm="tracer", kind="link", id=900), BpfHolder(pid=77, comm="tracer", kind="prog", id=14)]
    host.bpf(holders=held)
    for ifname in ("wg0", "tun0"):
        xdp(host, ifname, 5, "generic")
    xdp(host, "v0", 6)
    xdp(host, "v1", 6)
    xdp(host, "v2", 6)
    xdp(host, "eth0", 11)
    xdp(host, "mgmt0", 13, "offload")
    about: dict[str, Any] = {"hook": "cgroup", "attach_type": "cgroup_inet_egress"}
    below = "/sys/fs/cgroup/system.slice/a.service"
    host.bpf(
        attachments=[
            BpfAttachment(**about, prog_id=10, cgroup="/sys/fs/cgroup", cgroup_id=1, flags=("override",), link_id=901),
            BpfAttachment(**about, prog_id=9, cgroup=below, cgroup_id=2, flags=("override",)),
        ],
        links=[BpfLink(id=901, type="cgroup", prog_id=10, cgroup_id=1)],
        cgroups=[
            BpfCgroup(cgroup="/sys/fs/cgroup", cgroup_id=1, attach_type="cgroup_inet_egress", effective=(10,)),
            BpfCgroup(cgroup=below, cgroup_id=2, attach_type="cgroup_inet_egress", effective=(9,)),
        ],
        pins=[
            BpfPin(path="/sys/fs/bpf/template", kind="prog", id=8),
            BpfPin(path="/sys/fs/bpf/x", kind="link", id=901),
        ],
        mounts=[
            BpfMount(path="/sys/fs/bpf", device="0:40", hidden=True),
            BpfMount(path="/sys/fs/bpf", device="0:41"),
            BpfMount(path="/run/netns/vm0/bpf", device="0:42"),
        ],
        turnover=[BpfTurnover(map_id=50, looked=256, left=200, seconds=1.0)],
    )
    return host.build()


def kubernetes_node() -> Tables:
    """A node with an overlay: bridged packets go through a filter that lets them, two owners' tables side by side,
    masquerade with ranges that are on no card, addresses of containers that run, a backend that drains, an idle bridge
    of Docker, an anycast end of the overlay, one rule twice for a rate."""
    host = forwarding(HostBuilder())
    uplink(host, inet_conf=FORWARDS, mtu=9000)
    host.sysctl("net.bridge.bridge-nf-call-iptables", 1)
    host.link("docker0", kind="bridge", carrier=False, inet_conf=FORWARDS).address("docker0", "172.17.0.1/16")
    host.link("cni0", kind="bridge", inet_conf=FORWARDS, address="02:00:00:00:44:01").address("cni0", "10.42.0.1/24")
    for number in range(2):
        host.link(f"veth{number}", kind="veth", master="cni0", slave_kind="bridge", slave_info={"state": "forwarding"})
        host.namespace(500 + number, netnsid=number, processes=3, mounts=(f"/run/netns/cni-{number}",))
        host.peer(f"veth{number}", netnsid=number)
        host.neighbour(f"10.42.0.{number + 5}", dev="cni0", lladdr=f"02:42:0a:2a:00:{number + 5:02x}")
    host.link("vx0", kind="vxlan", mtu=8950, info={"id": 7, "port": 4789, "learning": False}, link="eth0")
    host.address("vx0", "10.42.0.0/32").route("10.42.1.0/24", via="10.42.1.0", dev="vx0", onlink=True)
    host.neighbour("10.42.1.0", dev="vx0", state="permanent", lladdr="2e:aa:bb:cc:dd:01")
    host.route("10.42.0.0/16", type="blackhole", protocol=80)
    host.link("cali1", kind="veth", inet_conf={"forwarding": 1, "proxy_arp": 1})
    host.namespace(600, netnsid=9, processes=1).peer("cali1", netnsid=9).route("10.42.0.77/32", dev="cali1", scope=253)
    host.neighbour("10.42.0.77", dev="cali1", lladdr="ee:ee:ee:ee:ee:ee")
    again = rule(port(17, 53), plain("limit"), plain("counter"), verdict("accept"))
    take = rule(state("established", "related"), verdict("accept"))
    pods = [rule(iifname("cni0"), verdict("accept")), rule(oifname("cni0"), verdict("accept"))]
    pods += [rule(iifname("cali1"), verdict("accept")), rule(oifname("cali1"), verdict("accept"))]
    forward = chain("forward", take, again, again, *pods, hook="forward", policy="drop")
    hidden = rule(oifname("eth0"), saddr("10.42.0.0/16"), nat("snat", "203.0.113.40"))
    dnat = rule(port(17, 5353), nat("dnat", "10.42.0.6", 53))
    host.nft(
        table(forward, name="pods"),
        table(
            chain("pre", dnat, hook="prerouting", type="nat", priority="dstnat"),
            chain("post", hidden, hook="postrouting", type="nat", priority="srcnat"),
            name="pods_nat",
            family="ip",
        ),
        legacy=(table(chain("FORWARD", rule(iifname("docker0"), verdict("accept")), hook="forward"), family="ip"),),
    )
    old: dict[str, Any] = {"status": 0xE | IPS_DST_NAT}
    host.conntrack(17, "198.51.100.9 4000 192.0.2.10 5353", "10.42.0.5 53 198.51.100.9 4000", **old)
    left: dict[str, Any] = {"status": 0xE | IPS_SRC_NAT}
    host.conntrack(17, "10.42.0.5 4000 198.51.100.9 123", "198.51.100.9 123 203.0.113.40 4000", **left)
    ends = [entry(host, "2e:aa:bb:cc:dd:01", end) for end in ("192.0.2.20", "192.0.2.21")]
    given = [_given(host, number) for number in range(2)]
    return replace(host.build(), fdb=fdb(ends), cni=Cni(allocations=tuple(given)))


def _given(host: Any, number: int) -> CniAllocation:
    return CniAllocation(network="pods", address=f"10.42.0.{number + 5}", container_id=f"c{number}", running=True)


HOSTS: tuple[Callable[[], Tables], ...] = (
    microvm_worker,
    policed_by_bpf,
    kubernetes_node,
)
