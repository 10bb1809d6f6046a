"""Cluster nodes and laptops: what Calico, Cilium, flannel, Swarm, libvirt, Tailscale and VPN clients leave behind."""

from tests.drills.bpfworld import program, tc
from tests.lab import Host, Lab
from tests.zoo import ping
from tests.zoo.workers import FORWARDING, hold_tun

KUBE_PROXY = """
table ip nat {
  chain KUBE-MARK-MASQ { counter meta mark set meta mark or 0x4000; }
  chain KUBE-SEP-A { ip saddr POD counter jump KUBE-MARK-MASQ; meta l4proto tcp counter dnat to POD:8080; }
  chain KUBE-SVC-WEB {
    ip saddr != 10.244.0.0/16 ip daddr 10.96.0.20 tcp dport 80 counter jump KUBE-MARK-MASQ
    counter jump KUBE-SEP-A
  }
  chain KUBE-EXT-WEB { counter jump KUBE-MARK-MASQ; counter jump KUBE-SVC-WEB; }
  chain KUBE-NODEPORTS { ip daddr != 127.0.0.0/8 tcp dport 30080 counter jump KUBE-EXT-WEB; }
  chain KUBE-SERVICES {
    ip daddr 10.96.0.20 tcp dport 80 counter jump KUBE-SVC-WEB
    fib daddr type local counter jump KUBE-NODEPORTS
  }
  chain KUBE-POSTROUTING {
    meta mark and 0x4000 != 0x4000 counter return
    counter meta mark set meta mark xor 0x4000
    counter masquerade fully-random
  }
  chain PREROUTING { type nat hook prerouting priority dstnat; policy accept; counter jump KUBE-SERVICES; }
  chain OUTPUT { type nat hook output priority -100; policy accept; counter jump KUBE-SERVICES; }
  chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept; counter jump KUBE-POSTROUTING; EXTRA; }
}
table ip mangle { chain KUBE-KUBELET-CANARY { }; }
table ip filter {
  chain KUBE-FIREWALL {
    ip saddr != 127.0.0.0/8 ip daddr 127.0.0.0/8 ct status and dnat|snat|0x8 == 0 counter drop
  }
  chain KUBE-FORWARD {
    ct state invalid counter drop
    meta mark and 0x4000 == 0x4000 counter accept
    ct state related,established counter accept
  }
  chain KUBE-SERVICES {
    ip daddr 10.96.0.77 tcp dport 443 counter reject
  }
  chain INPUT { type filter hook input priority filter; policy accept; counter jump KUBE-FIREWALL; }
  chain FORWARD {
    type filter hook forward priority filter; policy accept
    counter jump KUBE-FORWARD
    ct state new counter jump KUBE-SERVICES
  }
  chain OUTPUT {
    type filter hook output priority filter; policy accept
    ct state new counter jump KUBE-SERVICES
    counter jump KUBE-FIREWALL
  }
}
"""


def _node(lab: Lab, name: str, **sysctls: str) -> Host:
    """A host in a rack with one neighbour that is gateway and second node in one."""
    host, gateway = lab.host(name, sysctls=FORWARDING | sysctls), lab.host("gateway", sysctls=FORWARDING)
    lab.link(host, "eth0", gateway, "eth0", a_addresses="192.0.2.10/24", b_addresses="192.0.2.1/24")
    host.ip("route add default via 192.0.2.1")
    ping(host, "192.0.2.1")
    return host


def _kube_proxy(lab: Lab, host: Host, pod: str, extra: str = "") -> None:
    lab.nft(host, KUBE_PROXY.replace("POD", pod).replace("EXTRA", extra))


def calico_node(lab: Lab) -> Host:
    """Calico: /32 routes to pods behind veths without an address, proxy ARP there, the node's own block a blackhole."""
    host = _node(lab, "fra-node1")
    host.ip(
        "link add vxlan.calico type vxlan id 4096 dev eth0 local 192.0.2.10 dstport 4789 nolearning\n"
        "link set vxlan.calico mtu 1450 up\naddress add 10.244.118.64/32 dev vxlan.calico\n"
        "neigh add 10.244.7.0 lladdr 66:5c:11:22:33:44 dev vxlan.calico nud permanent\n"
        "route add 10.244.7.0/26 via 10.244.7.0 dev vxlan.calico onlink\n"
        "route add blackhole 10.244.118.64/26 proto 80"
    )
    host.run(
        "bridge", "fdb", "add", "66:5c:11:22:33:44", "dev", "vxlan.calico", "dst", "192.0.2.1", "self", "permanent"
    )
    for number in (65, 66):
        pod, veth, address = lab.host(f"pod{number}"), f"cali{number:011x}", f"10.244.118.{number}"
        lab.link(host, veth, pod, "eth0", b_addresses=f"{address}/32", mtu=1450)
        host.sysctl({f"net.ipv4.conf.{veth}.proxy_arp": 1, f"net.ipv4.conf.{veth}.route_localnet": 1})
        host.sysctl({f"net.ipv4.conf.{veth}.rp_filter": 1, f"net.ipv4.neigh.{veth}.proxy_delay": 0})
        host.ip(f"link set {veth} address ee:ee:ee:ee:ee:ee\nroute add {address} dev {veth} scope link")
        pod.ip("route add 169.254.1.1 dev eth0 scope link\nroute add default via 169.254.1.1 dev eth0")
        ping(pod, "192.0.2.10")
        ping(host, address)
    masquerade = "ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 counter masquerade"
    _kube_proxy(lab, host, "10.244.118.65", masquerade)
    return host


def cilium_node(lab: Lab) -> Host:
    """Cilium: a veth pair of its own, programs on every lxc veth, pods routed to cilium_host, marks into two tables."""
    host = _node(lab, "fra-node2", **{"net.ipv4.conf.all.rp_filter": "0", "net.ipv4.conf.default.rp_filter": "0"})
    lab.link(host, "cilium_host", host, "cilium_net", a_addresses="10.0.1.15/32")
    host.ip(
        "link set cilium_host arp off\nlink set cilium_net arp off\n"
        "route add 10.0.1.15 dev cilium_host scope link\n"
        "route add 10.0.1.0/24 via 10.0.1.15 dev cilium_host src 10.0.1.15\n"
        "route add 10.0.0.0/24 via 10.0.1.15 dev cilium_host src 10.0.1.15 mtu 1450\n"
        "rule add pref 9 fwmark 0x200/0xf00 lookup 2004\nroute add local default dev lo table 2004 proto 2\n"
        "rule add pref 10 fwmark 0xa00/0xf00 lookup 2005\nroute add 10.0.1.15 dev cilium_host table 2005 proto 2\n"
        "route add default via 10.0.1.15 dev cilium_host table 2005 proto 2\n"
        "rule add pref 100 lookup local\nrule del pref 0"
    )
    program(host, "to_lxc", b"cil_to_containe", verdict=-1)
    program(host, "from_host", b"cil_from_host", verdict=-1)
    program(host, "from_netdev", b"cil_from_netdev", verdict=-1)
    tc(host, "cilium_host", "from_host", 1, "egress")
    tc(host, "eth0", "from_netdev", 1)
    lab.link(host, "eth1", lab.host("storage"), "eth0", a_addresses="198.51.100.1/24", b_addresses="198.51.100.2/24")
    for number in range(2):
        program(host, f"to_netdev{number}", b"cil_to_netdev", verdict=-1 - number)  # the device's index is written in
        tc(host, f"eth{number}", f"to_netdev{number}", 1, "egress")
    for number in (21, 22):
        pod, veth = lab.host(f"pod{number}"), f"lxc{number:012x}"
        lab.link(host, veth, pod, "eth0", b_addresses=f"10.0.1.{number}/32")
        program(host, f"from_lxc{number}", b"cil_from_contai", verdict=-number)  # each endpoint has a build of its own
        tc(host, veth, f"from_lxc{number}", 1)
        tc(host, veth, "to_lxc", 1, "egress")
        host.ip(f"route add 10.0.1.{number} dev {veth} scope link")
        pod.ip("route add 10.0.1.15 dev eth0 scope link\nroute add default via 10.0.1.15 dev eth0 mtu 1450")
        ping(pod, "10.0.1.15")
    return host


def flannel_node(lab: Lab) -> Host:
    """flannel and the bridge plug-in: flannel.1, cni0 with hairpin ports, 1450 bytes from the pods on."""
    host = _node(lab, "fra-node3", **{"net.ipv4.conf.default.rp_filter": "2"})
    host.ip(
        "link add flannel.1 type vxlan id 1 dev eth0 local 192.0.2.10 dstport 8472 nolearning\n"
        "link set flannel.1 mtu 1450 up\naddress add 10.244.1.0/32 dev flannel.1\n"
        "neigh add 10.244.2.0 lladdr 2e:aa:bb:cc:dd:01 dev flannel.1 nud permanent\n"
        "route add 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink\n"
        "link add cni0 type bridge\nlink set cni0 mtu 1450\naddress add 10.244.1.1/24 dev cni0\nlink set cni0 up"
    )
    host.run("bridge", "fdb", "add", "2e:aa:bb:cc:dd:01", "dev", "flannel.1", "dst", "192.0.2.1", "self", "permanent")
    for number in (5, 6):
        pod, veth = lab.host(f"pod{number}"), f"veth{number:08x}"
        lab.link(host, veth, pod, "eth0", b_addresses=f"10.244.1.{number}/24", mtu=1450)
        host.ip(f"link set {veth} master cni0")
        host.run("bridge", "link", "set", "dev", veth, "hairpin", "on")
        pod.ip("route add default via 10.244.1.1\nroute add 10.244.0.0/16 via 10.244.1.1")
        ping(pod, "10.244.1.1")
    pods = "ip saddr 10.244.0.0/16 ip daddr"
    masquerade = f"{pods} 10.244.0.0/16 counter return; {pods} != 224.0.0.0/4 counter masquerade fully-random"
    _kube_proxy(lab, host, "10.244.1.5", masquerade)
    return host


def lxc_macvlan(lab: Lab) -> Host:
    """LXC with macvlan children of the uplink, addresses of the rack's network; the host speaks to them by a shim."""
    host = _node(lab, "ams-lxc1")
    for number in (2, 3):
        host.sh(
            f"ip netns add web{number}\nip link add mv{number} link eth0 type macvlan mode bridge\n"
            f"ip link set mv{number} netns web{number}\nip -n web{number} link set mv{number} name eth0\n"
            f"ip -n web{number} link set lo up\nip -n web{number} address add 192.0.2.2{number}/24 dev eth0\n"
            f"ip -n web{number} link set eth0 up\nip -n web{number} route add default via 192.0.2.1\n"
            f"ip netns exec web{number} ping -c1 -W2 192.0.2.1"
        )
    host.ip("link add shim0 link eth0 type macvlan mode bridge\naddress add 192.0.2.11/32 dev shim0\nlink set shim0 up")
    host.ip("route add 192.0.2.22 dev shim0\nroute add 192.0.2.23 dev shim0")
    ping(host, "192.0.2.22", "192.0.2.23")
    return host


def tailscale_node(lab: Lab) -> Host:
    """Tailscale: a tun with a /32 of 100.64/10, everything about it in table 52, its own packets marked past it."""
    host = _node(lab, "laptop2")
    hold_tun(host, "tailscale0")
    host.ip(
        "link set tailscale0 mtu 1280 up\naddress add 100.101.102.103/32 dev tailscale0\n"
        "rule add pref 5210 fwmark 0x80000/0xff0000 lookup main\n"
        "rule add pref 5230 fwmark 0x80000/0xff0000 lookup default\n"
        "rule add pref 5250 fwmark 0x80000/0xff0000 unreachable\nrule add pref 5270 lookup 52\n"
        "route add 100.100.100.100 dev tailscale0 table 52\nroute add 100.90.1.2 dev tailscale0 table 52\n"
        "route add 10.77.0.0/16 dev tailscale0 table 52"
    )
    lab.nft(
        host,
        "table ip filter { chain ts-input { iifname lo ip saddr 100.101.102.103 counter accept; "
        'iifname != "tailscale0" ip saddr 100.115.92.0/23 counter return; '
        'iifname != "tailscale0" ip saddr 100.64.0.0/10 counter drop; iifname "tailscale0" counter accept; '
        "udp dport 41641 counter accept; }\n"
        'chain ts-forward { iifname "tailscale0" counter meta mark set mark and 0xff00ffff xor 0x40000; '
        'meta mark and 0xff0000 == 0x40000 counter accept; oifname "tailscale0" ip saddr 100.64.0.0/10 counter drop; '
        'oifname "tailscale0" counter accept; }\n'
        "chain INPUT { type filter hook input priority filter; policy accept; counter jump ts-input; }\n"
        "chain FORWARD { type filter hook forward priority filter; policy accept; counter jump ts-forward; }; };\n"
        "table ip nat { chain ts-postrouting { meta mark and 0xff0000 == 0x40000 counter masquerade; }\n"
        "chain POSTROUTING { type nat hook postrouting priority srcnat; counter jump ts-postrouting; }; }",
    )
    lab.listen_udp(host, "0.0.0.0", 41641)
    return host


def killswitch_laptop(lab: Lab) -> Host:
    """A VPN client with a kill switch: nothing leaves but the tunnel, and an unreachable default stands behind it."""
    host = _node(lab, "laptop3", **{"net.ipv4.ip_forward": "0"})
    hold_tun(host, "tun0")
    host.ip(
        "link set tun0 mtu 1400 up\naddress add 10.8.0.6/24 dev tun0\nroute add 198.51.100.9/32 via 192.0.2.1\n"
        "route add 0.0.0.0/1 via 10.8.0.1 dev tun0\nroute add 128.0.0.0/1 via 10.8.0.1 dev tun0\n"
        "route add unreachable default metric 4278198272"
    )
    lab.nft(
        host,
        "table inet killswitch { chain output { type filter hook output priority filter; policy drop; "
        'oifname { "lo", "tun0" } accept; ip daddr 198.51.100.9 udp dport 1194 accept; '
        "ip daddr 192.0.2.0/24 accept; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; "
        "counter reject; }; }",
    )
    return host


def tproxy_host(lab: Lab) -> Host:
    """A transparent proxy: marked packets are local, whatever their destination, by a table of one local default."""
    host = _node(lab, "fra-proxy1")
    host.ip("rule add fwmark 1 lookup 100\nroute add local default dev lo table 100")
    host.sh("ip -6 rule add fwmark 1 lookup 100; ip -6 route add local default dev lo table 100")
    lab.nft(
        host,
        "table ip mangle { chain DIVERT { meta mark set 0x1; accept; }\n"
        "chain PREROUTING { type filter hook prerouting priority mangle; policy accept; "
        'meta l4proto tcp socket transparent 1 jump DIVERT; iifname "eth0" ip daddr != 192.0.2.0/24 tcp dport 80 '
        "TPROXY meta mark set 0x1 accept; }; }".replace("TPROXY", "tproxy to 127.0.0.1:3129"),
    )
    lab.listen_tcp(host, "127.0.0.1", 3129)
    return host


def swarm_node(lab: Lab) -> Host:
    """Docker Swarm: bridges with and without containers, ports published by DNAT and held by docker-proxy as well."""
    host = _node(lab, "fra-swarm1")
    bridges = {"docker0": 17, "docker_gwbridge": 18, "br-1a2b3c4d5e6f": 19, "br-77aa88bb99cc": 20}
    nat, forward = "", ""
    for name, net in bridges.items():
        host.ip(f"link add {name} type bridge\naddress add 172.{net}.0.1/16 dev {name}\nlink set {name} up")
        nat += f'oifname != "{name}" ip saddr 172.{net}.0.0/16 counter masquerade; '
        forward += f'oifname "{name}" ct state related,established accept; iifname "{name}" accept; '
    published = ""
    for name, port in (("docker_gwbridge", 8443), ("br-1a2b3c4d5e6f", 8080)):
        task, net = lab.host(f"task{port}"), bridges[name]
        lab.link(host, f"veth{port}", task, "eth0", b_addresses=f"172.{net}.0.3/16")
        host.ip(f"link set veth{port} master {name}")
        task.ip(f"route add default via 172.{net}.0.1")
        lab.listen_tcp(task, "0.0.0.0", 80)
        published += f'iifname != "{name}" tcp dport {port} counter dnat to 172.{net}.0.3:80; '
        forward += f'iifname != "{name}" oifname "{name}" ip daddr 172.{net}.0.3 tcp dport 80 accept; '
        lab.listen_tcp(host, "0.0.0.0", port)
    lab.nft(
        host,
        f"table ip nat {{ chain POSTROUTING {{ type nat hook postrouting priority srcnat; policy accept; {nat} }}\n"
        f"chain DOCKER {{ {published} }}\n"
        "chain PREROUTING { type nat hook prerouting priority dstnat; fib daddr type local jump DOCKER; }\n"
        "chain OUTPUT { type nat hook output priority -100; policy accept; "
        "ip daddr != 127.0.0.0/8 fib daddr type local jump DOCKER; }; };\n"
        f"table ip filter {{ chain FORWARD {{ type filter hook forward priority filter; policy drop; {forward} }}; }}",
    )
    for port in (8080, 8443):
        ping(lab.hosts[f"task{port}"], "192.0.2.1")
        lab.send_tcp(lab.hosts["gateway"], "192.0.2.10", port)
    return host


def idle_libvirt(lab: Lab) -> Host:
    """libvirt without a guest beside Docker without a container: two bridges with an address and without a carrier."""
    host = _node(lab, "desktop1")
    host.ip(
        "link add virbr0 type bridge stp_state 1\naddress add 192.168.122.1/24 dev virbr0\nlink set virbr0 up\n"
        "link add docker0 type bridge\naddress add 172.17.0.1/16 dev docker0\nlink set docker0 up"
    )
    net = "192.168.122.0/24"
    lab.nft(
        host,
        "table ip libvirt_network { chain guest_nat { type nat hook postrouting priority srcnat; policy accept; "
        f"ip saddr {net} ip daddr 224.0.0.0/24 counter return; "
        f"ip saddr {net} ip daddr != {net} counter masquerade; }}\n"
        "chain forward { type filter hook forward priority filter; policy accept; "
        f'oifname "virbr0" ip daddr {net} ct state established,related counter accept; '
        f'oifname "virbr0" counter reject; iifname "virbr0" ip saddr {net} counter accept; '
        'iifname "virbr0" counter reject; }; };\n'
        "table ip nat { chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept; "
        'oifname != "docker0" ip saddr 172.17.0.0/16 counter masquerade; }; }',
    )
    lab.listen_udp(host, "192.168.122.1", 53)
    lab.listen_tcp(host, "192.168.122.1", 53)
    return host


def resolved_stub(lab: Lab) -> Host:
    """systemd-resolved: resolv.conf names 127.0.0.53, and both of its sockets are there."""
    host = _node(lab, "fra-app5", **{"net.ipv4.ip_forward": "0"})
    lab.listen_udp(host, "127.0.0.53", 53)
    lab.listen_tcp(host, "127.0.0.53", 53)
    host.write("/etc/resolv.conf", "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch example.net\n")
    return host


ANIMALS = (
    calico_node,
    cilium_node,
    flannel_node,
    lxc_macvlan,
    tailscale_node,
    killswitch_laptop,
    tproxy_host,
    swarm_node,
    idle_libvirt,
    resolved_stub,
)
