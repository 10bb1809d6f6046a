"""Near misses of the domain addressing."""

from tests.zoo.near import Line, Near, Shown, exported, link, routes, some

IFA_F_OPTIMISTIC, IFA_F_TENTATIVE = 0x04, 0x40

LINES: tuple[Line, ...] = (
    Near(
        "addr-missing-expected-lo32",
        "announced and on no interface: AnyIP takes the whole network in, XDP has its service",
        "anycast_networks",
        lambda t: routes(t, dst="203.0.113.128/26", type="local") and some(t.bpf.attachments, hook="xdp"),
    ),
    Near(
        "addr-missing-expected-lo32",
        "given up under attack: the neighbour is asked by community to drop it",
        "transit_router",
        lambda t: (
            exported(t, "up1", net="203.0.113.66/32", type="blackhole")
            and some(t.bird_routes[0].exports, rtbh=("203.0.113.66/32",))
        ),
    ),
    Near(
        "addr-orphaned-primary-delete-flushes-secondary",
        "secondary addresses where they are promoted",
        "busy_proxy",
        lambda t: some(t.addresses, flags=lambda n: n & 1) and link(t, "eth0").inet_conf["promote_secondaries"],
    ),
    Near(
        "addr-wrong-prefixlen",
        "a /32 whose gateway is outside and told to be on the link",
        "cloud_host_onlink",
        lambda t: (
            some(t.addresses, local="203.0.113.9", prefixlen=32) and routes(t, dst="0.0.0.0/0", flags=lambda n: n & 4)
        ),
    ),
    Near("ipv6-dad-failed", "detection still runs", "just_booted", lambda t: some(t.addresses, flags=IFA_F_TENTATIVE)),
    Near(
        "ipv6-dad-failed",
        "optimistic: usable while detection runs",
        "just_booted",
        lambda t: some(t.addresses, flags=IFA_F_TENTATIVE | IFA_F_OPTIMISTIC),
    ),
    Near(
        "overlap-subnet-two-ifaces",
        "single addresses inside the subnet of a card, the mesh's inside a wide route",
        "mesh_hub",
        lambda t: some(t.addresses, local="10.64.0.1", prefixlen=32) and routes(t, dst="10.64.0.0/16", dev="wg0"),
    ),
    Near(
        "addr-deprecated-source",
        "a service address that is deprecated so that nothing chooses it",
        "standby_pair",
        lambda t: some(t.addresses, preferred_lft=0, local="2001:db8:53::1"),
    ),
    Near(
        "addr-duplicate-same-host",
        "one gateway on every tap",
        "microvm_worker",
        lambda t: len(some(t.addresses, local="10.1.0.1", prefixlen=32)) > 1,
    ),
    Near(
        "ipv6-tentative-stuck",
        "a card without a carrier",
        "just_booted",
        lambda t: (
            some(t.addresses, flags=IFA_F_TENTATIVE, ifindex=link(t, "eth9").ifindex)
            and link(t, "eth9").operstate == "down"
        ),
    ),
    Near(
        "ula-gua-scope-mixup",
        "unique local addresses and nothing else",
        "private_mesh_member",
        lambda t: (
            some(t.addresses, local=lambda a: a.startswith("fd"))
            and not some(t.addresses, family="inet6", local=lambda a: a.startswith("2"))
        ),
    ),
    Shown("addr-duplicate-across-hosts", "anycast, link-local, docker0, gateways of guests", "anycast"),
    Shown("addr-owner-mapping-stale", "a machine that is stopped everywhere", "stopped"),
    Shown("addr-owner-mapping-stale", "anycast", "anycast"),
    Shown("addr-owner-mapping-stale", "a migration in which the old host still sends on", "a router between"),
    Shown("addr-owner-mapping-stale", "sources without a mapping", "a mesh in order"),
)
