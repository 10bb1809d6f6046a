"""Servers, proxies and metal drawn as tables, healthy and full of near misses; see drawn.py. Nothing can fail."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from netdiag.model.counters import SoftnetCpu
from netdiag.model.ethtool import Ethtool, EthtoolCounters, EthtoolDevice
from netdiag.model.link import Stats64
from netdiag.model.pathmtu import PathMtu
from netdiag.model.snapshot import Tables
from netdiag.model.softirq import CpuTime, DeviceQueues, Irq, IrqCount, Softirqs, SoftirqSample
from netdiag.model.sysctl import SysctlLine, Sysctls
from netdiag.rules.build import HostBuilder
from tests.zoo.drawn import uplink

ROOT = 0xFFFFFFFF


def bonded_storage() -> Tables:
    """Metal with bonds of every kind: active-backup, two aggregators by bandwidth, watched by ARP, with one leg; VLANs
    with their parent's address, one put aside, double tags; old CRC errors; LRO on an end host; a redundant bridge."""
    host = HostBuilder()
    mac = "02:00:00:00:10:01"
    up = {"mii_status": "UP"}
    host.link("bond0", kind="bond", address=mac, info={"mode": "active-backup", "miimon": 100, "arp_interval": 0})
    for name in ("eno1", "eno2"):
        host.link(name, master="bond0", slave_kind="bond", address=mac, slave_info=up, qdisc="mq", num_tx_queues=8)
    host.link("bond1", kind="bond", info={"mode": "balance-rr", "miimon": 0, "arp_interval": 500}, mtu=9000)
    for name in ("ens1", "ens2"):
        host.link(name, master="bond1", slave_kind="bond", slave_info=up, mtu=9000, qdisc="mq")
    host.link("bond2", kind="bond", info={"mode": "active-backup", "miimon": 100, "arp_interval": 0, "min_links": 1})
    host.link("enp9", master="bond2", slave_kind="bond", slave_info=up, qdisc="mq")
    partner = {"aggregator": 1, "num_ports": 1, "partner_mac": "02:00:00:00:00:99"}
    lacp = {"mode": "802.3ad", "miimon": 100, "arp_interval": 0, "ad_select": "bandwidth", "ad_info": partner}
    host.link("bond3", kind="bond", info=lacp | {"xmit_hash_policy": "layer3+4"})
    for number in (1, 2):
        own = up | {"ad_aggregator_id": number, "ad_actor_oper_port_state": 0x3D}
        host.link(f"enp1{number}", master="bond3", slave_kind="bond", slave_info=own, qdisc="mq")
    host.address("bond0", "192.0.2.10/24").route("default", via="192.0.2.1", dev="bond0")
    host.neighbour("192.0.2.1", dev="bond0", lladdr="00:00:5e:00:01:01")
    host.address("bond1", "10.20.0.10/24").address("bond2", "10.21.0.10/24").address("bond3", "10.22.0.10/24")
    host.link("bond0.7", kind="vlan", link="bond0", address=mac, info={"id": 7}).address("bond0.7", "10.7.0.10/24")
    host.link("bond0.8", kind="vlan", link="bond0", address=mac, info={"id": 8}, up=False)
    host.link("eno7", carrier=False, up=False, mtu=1500, qdisc="noop").link(
        "eno7.5", kind="vlan", link="eno7", up=False
    )
    host.link("bond1.9", kind="vlan", link="bond1", mtu=9000, info={"id": 9, "protocol": "802.1ad"})
    host.link("bond1.9.4", kind="vlan", link="bond1.9", mtu=8996, info={"id": 4})
    host.link("mv0", kind="macvlan", link="bond0.7", info={"mode": "bridge"})
    host.link("br0", kind="bridge", mtu=1500, address="02:00:00:00:77:07", info={"stp_state": 1})
    for number, stp in enumerate((3, 4)):  # forwarding, blocking
        info = {"state": ("disabled", "listening", "learning", "forwarding", "blocking")[stp]}
        host.link(f"sw{number}", master="br0", slave_kind="bridge", slave_info=info, qdisc="mq", mtu=9000)
    host.address("br0", "10.30.0.10/24").address("br0", "fe80::ff:fe00:7707/64")
    old, later = Stats64(rx_packets=9, rx_crc_errors=77), Stats64(rx_packets=900, rx_crc_errors=77, rx_dropped=40)
    host.counters(
        before={"links": (host.link_counters("eno1", stats=old, carrier_up_count=2, carrier_down_count=1),)},
        after={"links": (host.link_counters("eno1", stats=later, carrier_up_count=2, carrier_down_count=1),)},
    )
    cards = [("eno1", "ixgbe", 1), ("eno2", "ixgbe", 1), ("sw0", "i40e", 0), ("ens1", "mlx5_core", 1)]
    rows = [_card(host, name, driver, bits) for name, driver, bits in cards]
    errors = EthtoolCounters(ifindex=host.ifindex("eno1"), ifname="eno1", counters={"rx_crc_errors": 77})
    ethtool = Ethtool(
        devices=tuple(rows),
        feature_names=("rx-lro", "rx-gro-hw"),
        counters=(errors,),
        second=(errors,),
        seconds=1.0,
    )
    return replace(host.build(), ethtool=ethtool)


def _card(host: Any, ifname: str, driver: str, bits: int, **fields: Any) -> EthtoolDevice:
    known: dict[str, Any] = {"bus_info": f"0000:3b:00.{host.ifindex(ifname)}", "speed": 10000, "duplex": "full"}
    known |= {"autoneg": True, "link": True, "features": (bits,), "features_hw": (3,), "features_wanted": (bits,)}
    known |= {"features_fixed": (0,), "rings": {"rx": 512, "rx-max": 4096}, "firmware": "1.0"}
    return EthtoolDevice(ifindex=host.ifindex(ifname), ifname=ifname, driver=driver, **(known | fields))


def busy_proxy() -> Tables:
    """A proxy that ends every connection itself: thousands of sockets to many services, a paused reader, connections
    that close, idle ones by the hundred in conntrack, a flood of SYNs in the past, needless retransmissions."""
    host = HostBuilder()
    uplink(host, inet_conf={"promote_secondaries": 1})
    host.sysctl("net.ipv4.conf.all.accept_redirects", 1)
    host.address("lo", "203.0.113.7/32").address("eth0", "192.0.2.11/24", flags=0x81)
    host.sysctl("net.ipv4.ip_local_port_range", "40000 40100").sysctl("net.core.somaxconn", 4096)
    host.sysctl("net.ipv4.tcp_max_syn_backlog", 4096).sysctl("net.ipv4.tcp_syncookies", 1)
    host.sysctl("net.ipv4.tcp_max_tw_buckets", 65536).sysctl("net.ipv4.tcp_max_orphans", 1000)
    host.sysctl("net.ipv4.tcp_mem", "100000\t200000\t300000").sysctl("net.ipv4.tcp_mtu_probing", 0)
    host.sysctl("net.core.rmem_max", 212992)
    listens: dict[str, Any] = {"sport": 443, "comm": "haproxy", "wqueue": 4096, "later": 1}
    host.socket(src="203.0.113.7", **listens).socket(src="0.0.0.0", **(listens | {"sport": 80, "wqueue": 511}))
    host.socket(src="0.0.0.0", sport=40050, comm="agent", wqueue=4096)
    host.socket(src="0.0.0.0", sport=53, protocol=17, comm="unbound", rcvbuf=212992)
    for number in range(180):
        at = {"src": "192.0.2.10", "sport": 40000 + number % 90, "dst": f"198.51.100.{number // 90 + 1}", "dport": 443}
        host.socket(**at, state=1, later=1, total_retrans=1, later_total_retrans=1)
    peer: dict[str, Any] = {"src": "203.0.113.7", "sport": 443, "dst": "198.51.100.77"}
    for number in range(40):
        host.socket(**peer, dport=2000 + number, state=8, later=1, later_state=9, comm="haproxy", last_data_recv=20)
    for number in range(300):
        host.socket(**peer, dport=10000 + number, state=6, timer=3)
    host.socket(**peer, dport=9001, state=1, timer=4, retrans=2, wqueue=9000, later=1, later_wqueue=9000)
    reads: dict[str, Any] = {"rqueue": 900, "later_rqueue": 900, "last_data_recv": 60_000, "received": 9}
    host.socket(**peer, dport=9002, state=1, later=1, comm="haproxy", **reads, later_received=9)
    for number in range(40):
        at_orig = f"198.51.100.{number + 1} 5000 203.0.113.7 443"
        host.conntrack(
            6, at_orig, f"203.0.113.7 443 198.51.100.{number + 1} 5000", tcp_state="established", timeout=431000
        )
    settings = {"tcp_timeout_established": 432000, "helper": 0, "tcp_be_liberal": 0}
    moved = {"insert_failed": 0, "clash_resolve": 5, "clashres": 5, "drop": 0, "early_drop": 0, "invalid": 5}
    host.conntrack_state(
        count=48_000, max=65_536, buckets=65_536, settings=settings, at=1.0, second_at=2.0, first=moved,
        second=moved | {"clashres": 90, "clash_resolve": 90, "invalid": 7},
    )  # fmt: skip
    told = {name: 900 for name in ("TcpExt.ListenDrops", "TcpExt.ListenOverflows", "TcpExt.TCPTimeWaitOverflow")}
    told |= {name: 900 for name in ("TcpExt.SyncookiesSent", "Udp.RcvbufErrors", "TcpExt.PruneCalled")}
    told |= {name: 0 for name in ("Tcp.RetransSegs", "Tcp.OutSegs", "TcpExt.TCPSpuriousRTOs", "TcpExt.TCPLossProbes")}
    told |= {name: 900 for name in ("TcpExt.TCPRcvPruned", "TcpExt.TCPAbortOnMemory", "TcpExt.TCPMemoryPressures")}
    later = told | {"Tcp.RetransSegs": 100, "Tcp.OutSegs": 2000, "TcpExt.TCPSpuriousRTOs": 30}
    later |= {"TcpExt.TCPLossProbes": 60, "TcpExt.ListenDrops": 903}
    cpus = [SoftnetCpu(cpu=n, processed=9000, dropped=0, time_squeeze=40, backlog=0) for n in (0, 2)]
    more = [SoftnetCpu(cpu=n, processed=9900, dropped=0, time_squeeze=60, backlog=0) for n in (0, 2)]
    stat = {"TCP.mem": 150_000, "TCP.orphan": 400, "TCP.tw": 300}
    host.counters(
        before={"snmp": told, "sockstat": stat, "softnet": tuple(cpus)},
        after={"snmp": later, "sockstat": stat, "softnet": tuple(more)},
    )
    return host.build()


def small_cloud_machine() -> Tables:
    """A small machine in a cloud: one queue and one busy CPU, virtual cards whose speed is invented, IPv4 alone on its
    management card, a static VLAN address for the tunnel's end, and settings that daemons own."""
    host = HostBuilder()
    uplink(host, qdisc="fq_codel", num_tx_queues=1, num_rx_queues=1, mtu=1500)
    host.link("mgmt0", inet6_conf={"disable_ipv6": 1}).address("mgmt0", "10.9.0.5/24")
    host.link("tun0", kind="tun", type=65534, flags=0x110D1, mtu=1200, qdisc="noqueue", info={"type": "tun"})
    host.tap_holder("tun0", comm="openvpn").address("tun0", "10.8.0.2/24")
    host.link("veth1", kind="veth", qdisc="noqueue").link("veth2", kind="veth", link="veth1", qdisc="noqueue")
    host.address("veth1", "10.77.0.1/30")
    host.clock(state=5, status=0x40, maxerror=16.0, boottime=100_000.0)  # kvm-clock: the host keeps the time
    host.resolver(hosts=("files",), present=True)
    host.path_mtus(PathMtu(family="inet", dst="198.51.100.9", mtu=1400, ifindex=host.ifindex("eth0"), expires=500.0))
    invented: dict[str, Any] = {"speed": 10000, "duplex": "half", "link": True, "bus_info": "virtio0"}
    virtio = EthtoolDevice(ifindex=host.ifindex("eth0"), ifname="eth0", driver="virtio_net", **invented)
    veth = EthtoolDevice(ifindex=host.ifindex("veth1"), ifname="veth1", driver="veth", speed=10000, duplex="full")
    irqs = (Irq(irq=30, label="virtio0-input.0", affinity="0", effective="0"),)
    queue = DeviceQueues(ifindex=host.ifindex("eth0"), ifname="eth0", irqs=(30,), rps_cpus=("0",), xps_cpus=("0",))
    first = [CpuTime(cpu=n, busy=10.0, idle=90.0, softirq=1.0) for n in (0, 1)]
    second = [CpuTime(cpu=0, busy=10.9, idle=90.1, softirq=1.8), CpuTime(cpu=1, busy=10.1, idle=90.9, softirq=1.0)]
    softirq = Softirqs(
        irqs=irqs,
        first=SoftirqSample(at=1.0, cpus=tuple(first), irqs=(IrqCount(irq=30, counts=(5, 0)),), queues=(queue,)),
        second=SoftirqSample(at=2.0, cpus=tuple(second), irqs=(IrqCount(irq=30, counts=(9000, 0)),), queues=(queue,)),
    )
    made = host.build()
    files = (SysctlLine(name="net.ipv4.conf.all.forwarding", value="0", path="/etc/sysctl.d/10.conf"),)
    files = (*files, SysctlLine(name="net.ipv6.conf.eth0.accept_ra", value="1", path="/etc/sysctl.d/10.conf"))
    return replace(
        made,
        ethtool=Ethtool(devices=(virtio, veth)),
        softirq=softirq,
        sysctls=Sysctls(values=made.sysctls.values, files=files),
    )


HOSTS: tuple[Callable[[], Tables], ...] = (
    bonded_storage,
    busy_proxy,
    small_cloud_machine,
)
