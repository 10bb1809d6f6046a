"""Near misses of the domain namespaces-vms-tap."""

from tests.zoo.near import Line, Near, link, links, routes, some

LINES: tuple[Line, ...] = (
    Near(
        "subnet-overlap-wg-vs-docker",
        "this node's share of a wider route",
        "kubernetes_node",
        lambda t: routes(t, dst="10.42.0.0/16", type="blackhole") and routes(t, dst="10.42.0.0/24", dev="cni0"),
    ),
    Near(
        "tap-down-vmm-eio",
        "a guest that is paused",
        "microvm_worker",
        lambda t: some(t.taps.holders, ifname="tap3", state="T") and link(t, "tap3").up,
    ),
    Near(
        "tap-ebusy-two-owners",
        "several queues of one tap",
        "microvm_worker",
        lambda t: (
            links(t, ifname="tapm", info=lambda i: i["multi_queue"]) and len(some(t.taps.holders, ifname="tapm")) == 2
        ),
    ),
    Near(
        "tap-no-owner-fd",
        "a pool that was made ahead",
        "microvm_worker",
        lambda t: links(t, ifname="pool0", kind="tun") and not some(t.taps.holders, ifname="pool0"),
    ),
    Near(
        "tap-route-missing",
        "taps in a bridge",
        "microvm_worker",
        lambda t: links(t, kind="tun", master=link(t, "br0").ifindex) and not routes(t, dev="tapb0", type="unicast"),
    ),
    Near(
        "vm-clone-dup-ip-mac",
        "clones, each in a namespace of its own",
        "one_address_many_namespaces",
        lambda t: len(some(t.namespaces.namespaces, names=lambda n: n and n[0].startswith("vm"))) == 3,
    ),
    Near(
        "netns-held-by-fd",
        "an agent holds it",
        "microvm_worker",
        lambda t: some(t.namespaces.namespaces, holders=lambda all_: all_ and all_[0].comm == "cilium-agent"),
    ),
    Near(
        "netns-leak",
        "a pool of namespaces with a cable each",
        "microvm_worker",
        lambda t: len(some(t.namespaces.namespaces, processes=0, links=2, names=lambda n: n)) == 6,
    ),
    Near(
        "tap-orphan-dead-vm",
        "a guest that is being started again: nothing points to its tap yet",
        "microvm_worker",
        lambda t: links(t, ifname="pool1", carrier_up_count=1) and not routes(t, dev="pool1"),
    ),
    Near(
        "tap-tx-drops-guest-slow",
        "a guest paused for a snapshot",
        "microvm_worker",
        lambda t: t.counters.second.links[0].stats.tx_dropped == 500 and some(t.taps.holders, ifname="tap3", state="T"),
    ),
    Near(
        "tap-vnet-hdr-mismatch",
        "an emulated card without virtio",
        "microvm_worker",
        lambda t: (
            links(t, ifname="tapq", info=lambda i: not i["vnet_hdr"])
            and some(t.taps.holders, ifname="tapq", comm="qemu")
        ),
    ),
    Near(
        "veth-orphan",
        "the other end waits in a named namespace",
        "microvm_worker",
        lambda t: link(t, "w0").link_netnsid == 10 and not routes(t, dev="w0"),
    ),
    Near(
        "vm-stale-neigh-after-restore",
        "the entry is being asked for again",
        "microvm_worker",
        lambda t: some(t.neighbours.rows(), dst="10.1.0.4", state="probe"),
    ),
    Near(
        "bridge-empty-linkdown",
        "an idle bridge of Docker's",
        "kubernetes_node",
        lambda t: link(t, "docker0").operstate == "down" and routes(t, dst="172.17.0.0/16", dev="docker0"),
    ),
    Near(
        "macvlan-host-isolation",
        "a macvlan beside its parent's address",
        "microvm_worker",
        lambda t: links(t, kind="macvlan", link=link(t, "eth0").ifindex),
    ),
)
