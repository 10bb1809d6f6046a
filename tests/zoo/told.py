"""Healthy hosts that other people have shown in public threads, said again as our tables: cards and clouds no lab has.

Only what they printed is kept (names and addresses are theirs where they are private ones); what they did not print is
as on any host. The thread is named with each.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from netdiag.model.snapshot import Tables
from netdiag.model.sockets import SocketOwners, UnixListener
from netdiag.rules.build import HostBuilder

ARPHRD_INFINIBAND, ARPHRD_TUNNEL = 32, 768
LOOSE = {"rp_filter": 2}
FORWARDS = {"forwarding": 1}


def _host() -> HostBuilder:
    return HostBuilder().sysctl("net.ipv4.ip_forward", 1).sysctl("net.ipv4.conf.all.forwarding", 1)


def _pods(host: HostBuilder, pods: dict[str, str], mtu: int) -> Iterator[str]:
    """A veth with a host route to each pod; gives the pods' addresses."""
    for number, (ifname, pod) in enumerate(pods.items()):
        host.link(ifname, kind="veth", mtu=mtu, inet_conf=FORWARDS | LOOSE, address=f"66:dd:ca:b1:37:{number:02x}")
        host.namespace(100 + number, netnsid=number, processes=2).peer(ifname, netnsid=number, mtu=mtu, ifindex=3)
        host.address(ifname, f"fe80::64dd:caff:feb1:37{number:02x}/64").route(f"{pod}/32", dev=ifname, scope=253)
        yield pod


def eks_node_with_two_enis() -> Tables:
    """An EKS node: the second ENI has no address in the host, rules by source take pods of it to table 2 and 3.
    (aws/amazon-vpc-cni-k8s 705, before the rules were lost)"""
    host = _host().sysctl("net.ipv4.conf.all.rp_filter", 2)
    host.link("eth0", mtu=9001, inet_conf=FORWARDS | LOOSE).address("eth0", "10.80.40.7/19")
    host.route("default", via="10.80.32.1", dev="eth0", protocol=16).neighbour("10.80.32.1", dev="eth0")
    pods = {"eni306cbc4b983": "10.80.36.229", "enifd8fb8f99f1": "10.80.38.149", "eni4b1c02a77d0": "10.80.33.161"}
    addresses = list(_pods(host, pods, 9001))
    for number, ifname in ((2, "eth1"), (3, "eth2")):
        host.link(ifname, mtu=9001, inet_conf=FORWARDS | LOOSE)
        host.route("10.80.32.1/32", dev=ifname, table=number, scope=253)
        host.route("default", via="10.80.32.1", dev=ifname, table=number).neighbour("10.80.32.1", dev=ifname)
    for pod in addresses:
        host.rule(512, dst=pod, dst_len=32, table=254)
    host.rule(1024, fwmark=0x80, fwmask=0x80, table=254)
    for pod, table in zip(addresses, (2, 3, 3), strict=True):
        host.rule(1536, src=pod, src_len=32, dst="10.80.0.0", dst_len=16, table=table)
    return host.build()


def eks_peer_pod_node() -> Tables:
    """A node whose only address comes by DHCP with a metric; its pods' veths have link-local addresses only.
    (confidential-containers/cloud-api-adaptor 1966)"""
    host = _host()
    host.link("ens5", mtu=9001, inet_conf=FORWARDS).address("ens5", "10.0.0.155/27", rt_priority=100)
    host.route("default", via="10.0.0.129", dev="ens5", prefsrc="10.0.0.155", protocol=16, priority=100)
    host.route("10.0.0.129/32", dev="ens5", prefsrc="10.0.0.155", protocol=16, priority=100, scope=253)
    host.neighbour("10.0.0.129", dev="ens5")
    list(_pods(host, {"eni306cbc4b983": "10.0.0.148", "enifd8fb8f99f1": "10.0.0.150"}, 9001))
    return host.build()


def calico_beside_docker() -> Tables:
    """Calico of old beside Docker and LXC: three idle bridges, blackholed block with pods in it, other nodes' blocks
    over a tunnel of IPIP with gateways on no subnet. (projectcalico/calicoctl 772)"""
    host = _host()
    host.link("eth0", mtu=9001, inet_conf=FORWARDS).address("eth0", "172.31.27.45/20")
    host.route("default", via="172.31.16.1", dev="eth0").neighbour("172.31.16.1", dev="eth0")
    for ifname, prefix in (
        ("lxcbr0", "10.0.3.1/24"),
        ("docker0", "172.17.42.1/16"),
        ("docker_gwbridge", "172.18.0.1/16"),
    ):
        host.link(ifname, kind="bridge", carrier=False, inet_conf=FORWARDS).address(ifname, prefix)
    host.route("192.168.0.0/26", type="blackhole", protocol=12)
    pods = {"calie8beb266c79": "192.168.0.12", "caliefab0610c79": "192.168.0.13", "calif2c7a52ec79": "192.168.0.14"}
    list(_pods(host, pods, 1440))
    host.link("tunl0", kind="ipip", type=ARPHRD_TUNNEL, mtu=1440, flags=0x10081, inet_conf=FORWARDS | LOOSE)
    host.address("tunl0", "192.168.0.1/32")
    host.route("192.168.0.64/26", via="172.31.27.46", dev="tunl0", protocol=12, onlink=True)
    bird = UnixListener(path="/var/run/calico/bird.ctl", inode=7)  # of a container that shares the host's network
    return replace(host.build(), socket_owners=SocketOwners(complete=True, unix=(bird,)))


def infiniband_storage() -> Tables:
    """IP over InfiniBand in datagram mode, 2044 bytes, two ports on networks of their own beside a slow Ethernet.
    (nasty-project/nasty 611)"""
    host = HostBuilder()
    host.link("eno1").address("eno1", "192.168.20.15/24").route("default", via="192.168.20.1", dev="eno1")
    host.neighbour("192.168.20.1", dev="eno1")
    for number, (ifname, guid) in enumerate(
        (("ibs6f1", "e4:1d:2d:03:00:e7:0f:8f"), ("ibp5s0d1", "00:02:c9:03:00:e7:7e:12"))
    ):
        host.link(
            ifname,
            type=ARPHRD_INFINIBAND,
            mtu=2044,
            qdisc="fq_codel",
            address=f"80:00:01:de:fe:80:00:00:00:00:00:00:{guid}",
            broadcast="00:ff:ff:ff:ff:12:40:1b:ff:ff:00:00:00:00:00:00:ff:ff:ff:ff",
        )
        host.address(ifname, f"10.149.{number}.4/24").address(ifname, f"fe80::{number + 1}:c903:e7:7e12/64")
        lladdr = f"80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:11:22:3{number}"
        host.neighbour(f"10.149.{number}.5", dev=ifname, lladdr=lladdr)
    return host.build()


def gpu_node_with_rails() -> Tables:
    """A training node: eight RDMA ports, each a network of its own that nothing is routed to; one has no address yet,
    InfiniBand ports are down for Ethernet. (stepfun-ai/StepMesh 15, imbue-ai/cluster-health 4)"""
    host = HostBuilder()
    host.link("enp27s0f0np0", mtu=1500).address("enp27s0f0np0", "10.20.0.150/24")
    host.route("default", via="10.20.0.1", dev="enp27s0f0np0").neighbour("10.20.0.1", dev="enp27s0f0np0")
    host.link("ens110np0", mtu=1500, qdisc="mq").address("ens110np0", "fe80::966d:aeff:feec:18fe/64")
    for number in range(31, 38):
        ifname = f"ens{number + 77}np0"
        host.link(ifname, mtu=9000, qdisc="mq").address(ifname, f"172.31.{number}.1/24")
        host.address(ifname, f"fe80::966d:aeff:feeb:f0{number}/64")
    for ifname in ("ibp26s0", "ibp60s0", "ibp77s0"):
        host.link(ifname, type=ARPHRD_INFINIBAND, mtu=4092, up=False, flags=0x1002)
    return host.build()


def gcp_router_of_two_networks() -> Tables:
    """A router of two VPC networks: /32 addresses, gateways by link routes, rules by source, addresses of internal load
    balancers as local routes of protocol 66. (GoogleCloudPlatform/guest-configs 10)"""
    host = _host()
    for number, (net, table) in enumerate((("10.33.0", 10), ("10.37.0", 11))):
        ifname, metric = f"eth{number}", 100 + number
        host.link(ifname, mtu=1460, inet_conf=FORWARDS).address(ifname, f"{net}.59/32")
        host.route(f"{net}.1/32", dev=ifname, scope=253, protocol=16, priority=metric)
        host.route(f"{net}.0/20", via=f"{net}.1", dev=ifname, protocol=16, priority=metric)
        host.neighbour(f"{net}.1", dev=ifname)
        for other in (10, 11):
            host.route(f"{net}.1/32", dev=ifname, scope=253, table=other)
        host.route("default", via=f"{net}.1", dev=ifname, table=table)
        host.route(f"{net}.23/32", dev=ifname, type="local", scope=254, table=255, protocol=66)
        for address in (f"{net}.59", f"{net}.23"):
            host.rule(32764 + number, src=address, src_len=32, table=table)
    return host.route("default", via="10.33.0.1", dev="eth0", protocol=16, priority=100).build()


def azure_with_mana() -> Tables:
    """A synthetic interface and the virtual function of the same hardware address that it uses when it is there; the
    second one has no address yet. (vyos/vyos-1x 5338)"""
    host = HostBuilder()
    for number, mac in enumerate(("70:a8:a5:31:48:a8", "70:a8:a5:31:4d:8b")):
        host.link(f"e{number}", qdisc="mq", address=mac)
        host.link(f"vf_eth{number}", qdisc="mq", address=mac, master=f"e{number}")
        host.address(f"e{number}", f"fe80::72a8:a5ff:fe31:4{number}a8/64")
    host.address("e0", "10.1.0.4/24").route("default", via="10.1.0.1", dev="e0", protocol=16, priority=100)
    host.route("168.63.129.16/32", via="10.1.0.1", dev="e0", protocol=16, priority=100)
    host.route("169.254.169.254/32", via="10.1.0.1", dev="e0", protocol=16, priority=100)
    return host.neighbour("10.1.0.1", dev="e0", lladdr="12:34:56:78:9a:bc").build()


def routed_hypervisor_with_one_address() -> Tables:
    """A rented server whose provider routes further addresses to it: its own /32 also stands on the bridge as the
    guests' gateway, the guests have host routes. (hetzneronline/community-content 463 and 1134)"""
    host = _host()
    host.link("enp0s31f6", inet_conf=FORWARDS).address("enp0s31f6", "198.51.100.10/32", peer="198.51.100.1")
    host.route("198.51.100.1/32", dev="enp0s31f6", scope=253, protocol=2, prefsrc="198.51.100.10")
    host.route("default", via="198.51.100.1", dev="enp0s31f6", onlink=True).neighbour("198.51.100.1", dev="enp0s31f6")
    host.link("vmbr0", kind="bridge", inet_conf=FORWARDS).address("vmbr0", "198.51.100.10/32")
    for number, guest in enumerate(("203.0.113.20", "198.51.100.30")):
        host.route(f"{guest}/32", dev="vmbr0", scope=253).tap(f"tap10{number}i0", holder="qemu", master="vmbr0")
        host.neighbour(guest, dev="vmbr0", lladdr=f"bc:24:11:00:00:0{number}")
    return host.build()


def proxmox_on_a_board() -> Tables:
    """A small host whose address came by NetworkManager without a prefix route of the kernel's, with bridges that wait
    for machines. (jiangcuo/Proxmox-Arm64 17)"""
    host = HostBuilder()
    host.link("eth0", qdisc="mq").address("eth0", "10.0.3.16/22", flags=0x200)
    host.route("10.0.0.0/22", dev="eth0", scope=253, prefsrc="10.0.3.16", protocol=2, priority=100)
    host.route("default", via="10.0.0.1", dev="eth0", protocol=16, priority=100).neighbour("10.0.0.1", dev="eth0")
    for ifname, prefix in (("vmbr1", "192.168.0.1/24"), ("vmbr0", ""), ("vmbr2", "")):
        host.link(ifname, kind="bridge", carrier=False)
        if prefix:
            host.address(ifname, prefix)
    return host.link("ovs-system", kind="openvswitch", up=False).link("vmbr3", kind="openvswitch", up=False).build()


def neutron_compute() -> Tables:
    """A compute node: the switch's own interfaces are down for good, each guest has a bridge for its filter between its
    tap and the switch, vxlan carries the tenants. (Launchpad bug 1542032)"""
    host = _host().sysctl("net.ipv4.ip_forward", 0)
    host.link("eno1", mtu=9000).address("eno1", "10.255.4.21/24").route("default", via="10.255.4.1", dev="eno1")
    host.neighbour("10.255.4.1", dev="eno1")
    for ifname in ("ovs-system", "br-int", "br-tun"):
        host.link(ifname, kind="openvswitch", up=False)
    host.link(
        "vxlan_sys_4789", kind="vxlan", mtu=65000, master="ovs-system", info={"port": 4789, "collect_metadata": True}
    )
    for tail in ("795dc7f8-15", "b4bd9f8d-c4"):
        host.link(f"qbr{tail}", kind="bridge", mtu=8950)
        host.link(f"qvb{tail}", kind="veth", mtu=8950, master=f"qbr{tail}")
        host.link(f"qvo{tail}", kind="veth", mtu=8950, master="ovs-system", link=f"qvb{tail}")
        host.tap(f"tap{tail}", holder="qemu", mtu=8950, master=f"qbr{tail}")
    return host.build()


TOLD: tuple[Callable[[], Tables], ...] = (
    eks_node_with_two_enis,
    eks_peer_pod_node,
    calico_beside_docker,
    infiniband_storage,
    gpu_node_with_rails,
    gcp_router_of_two_networks,
    azure_with_mana,
    routed_hypervisor_with_one_address,
    proxmox_on_a_board,
    neutron_compute,
)
