"""Near misses of the domain ebpf-xdp."""

from netdiag.model.snapshot import Tables
from tests.zoo.near import Line, Near, Shown, link, links, some


def attached(tables: Tables, ifname: str, **want: object) -> list[object]:
    """What is attached to an interface."""
    return some(tables.bpf.attachments, ifindex=link(tables, ifname).ifindex, **want)


def full(tables: Tables, *kinds: str) -> bool:
    """A map of each of these kinds has as many entries as it takes."""
    return all(some(tables.bpf.maps, type=kind, entries=lambda n: n) for kind in kinds) and all(
        row.entries >= 0.9 * row.max_entries for row in tables.bpf.maps if row.type in kinds
    )


LINES: tuple[Line, ...] = (
    Near(
        "bpf-cgroup-override-shadow",
        "systemd's IPAddressDeny below an agent's program",
        "policed_by_bpf",
        lambda t: some(t.bpf.attachments, hook="cgroup", prog_id=9, flags=("override",)),
    ),
    Near(
        "bpf-cgroup-stale-prog",
        "systemd's own",
        "policed_by_bpf",
        lambda t: some(t.bpf.programs, id=9, name="sd_fw_egress") and not some(t.bpf.holders, kind="prog", id=9),
    ),
    Near(
        "bpf-devmap-stale-ifindex",
        "a devmap, whose dead entries the kernel removes",
        "policed_by_bpf",
        lambda t: some(t.bpf.maps, type="devmap", entries=2),
    ),
    Near(
        "bpf-devmap-stale-ifindex",
        "a hash of interface numbers that are all there",
        "policed_by_bpf",
        lambda t: some(t.bpf.maps, type="hash", name="vm_ifindex") and len(some(t.bpf.entries, map_id=57)) == 3,
    ),
    Near(
        "bpf-expected-missing-on-iface",
        "the eleventh tap was made just now",
        "tap_made_just_now",
        lambda t: len(some(t.bpf.attachments, hook="tc")) == 10 and len(links(t, kind="tun")) == 11,
    ),
    Near(
        "bpf-expected-missing-on-iface",
        "a card for management among the policed",
        "policed_by_bpf",
        lambda t: not attached(t, "mgmt0", hook="tc") and attached(t, "eth0", hook="tc"),
    ),
    Near(
        "bpf-link-owner-dead",
        "a tracer's link, meant to go with it",
        "policed_by_bpf",
        lambda t: some(t.bpf.holders, kind="link", id=900) and not some(t.bpf.pins, id=900),
    ),
    Near("bpf-map-full", "an LRU at its most", "policed_by_bpf", lambda t: full(t, "lru_hash")),
    Near(
        "bpf-map-full", "tries and arrays are full by nature", "policed_by_bpf", lambda t: full(t, "lpm_trie", "array")
    ),
    Near(
        "bpf-map-full",
        "an LRU of every CPU evicts below its most, an array of every CPU is full",
        "policed_by_bpf",
        lambda t: some(t.bpf.maps, type="lru_percpu_hash", entries=97, max_entries=100) and full(t, "percpu_array"),
    ),
    Near(
        "bpf-map-full",
        "each kind of map that is meant to be full, on one program",
        "policed_by_bpf",
        lambda t: {50, 51, 52, 53} <= set(some(t.bpf.programs, name="balancer")[0].map_ids),
    ),
    Near(
        "bpf-map-stale-address-mapping",
        "addresses to interfaces, as the routes have them",
        "policed_by_bpf",
        lambda t: some(t.bpf.maps, name="vm_ifindex", key_size=4, entries=3),
    ),
    Near(
        "bpf-progarray-cleared",
        "slots for options stay empty",
        "policed_by_bpf",
        lambda t: some(t.bpf.maps, type="prog_array", entries=1, max_entries=8),
    ),
    Near(
        "bpf-tc-clsact-removed",
        "moved from clsact to tcx",
        "after_the_night",
        lambda t: attached(t, "eth0", hook="tcx", prog_id=1) and not attached(t, "eth0", hook="tc"),
    ),
    Near(
        "bpf-tc-duplicate-version",
        "a replacement under way: the new build has a name of its own",
        "canary_two_versions",
        lambda t: len({row.tag for row in t.bpf.programs if row.name.startswith("policy")}) >= 2,
    ),
    Near(
        "bpf-tc-duplicate-version",
        "one program at two priorities on purpose",
        "policed_by_bpf",
        lambda t: len(attached(t, "eth0", prog_id=3)) == 2,
    ),
    Near(
        "bpf-tc-terminal-shadow",
        "one that always decides, at the last place",
        "policed_by_bpf",
        lambda t: some(t.bpf.programs, id=4, verdicts=(0, 2)) and attached(t, "eth0", prog_id=4, priority=3),
    ),
    Near(
        "bpf-tcx-before-tc",
        "tcx hands on to what stands behind it",
        "policed_by_bpf",
        lambda t: attached(t, "eth0", hook="tcx") and attached(t, "eth0", hook="tc"),
    ),
    Near(
        "bpf-unexpected-program",
        "nobody said what there should be",
        "policed_by_bpf",
        lambda t: t.bpf.attachments and t.intent.bpf is None,
    ),
    Near(
        "bpf-unexpected-program",
        "an upgrade",
        "after_the_night",
        lambda t: attached(t, "eth1", prog_id=3) and len(some(t.bpf.programs, name="meter")) == 2,
    ),
    Near(
        "bpf-unexpected-program",
        "a tracing program is on no interface",
        "after_the_night",
        lambda t: some(t.bpf.programs, type="tracing") and not some(t.bpf.attachments, prog_id=4),
    ),
    Near(
        "bpf-unexpected-program",
        "a tap made since, with its usual program",
        "after_the_night",
        lambda t: attached(t, "tap1", prog_id=1),
    ),
    Near(
        "bpf-version-skew-across-ifaces",
        "a canary",
        "policed_by_bpf",
        lambda t: attached(t, "tap2", prog_id=2) and attached(t, "tap0", prog_id=1),
    ),
    Near(
        "bpf-version-skew-across-ifaces",
        "the interface's number is written into each build",
        "cilium_node",
        lambda t: len({row.tag for row in t.bpf.programs if row.name == "cil_to_netdev"}) == 2,
    ),
    Near(
        "bpf-xdp-generic-fallback",
        "generic on WireGuard, a tun and a tap",
        "policed_by_bpf",
        lambda t: attached(t, "wg0", mode="generic") and attached(t, "tun0", mode="generic"),
    ),
    Near(
        "bpf-xdp-mtu-too-big",
        "a program that takes frames in parts, on a jumbo veth",
        "policed_by_bpf",
        lambda t: attached(t, "v2", mode="native") and link(t, "v2").mtu == 9000,
    ),
    Near(
        "bpf-xdp-redirect-no-target",
        "a target that is drained",
        "policed_by_bpf",
        lambda t: some(t.bpf.entries, map_id=54, ifindex=link(t, "out0").ifindex) and not link(t, "out0").up,
    ),
    Near(
        "bpf-jit-disabled",
        "a kernel that always compiles",
        "policed_by_bpf",
        lambda t: "net.core.bpf_jit_enable" not in t.sysctls.values,
    ),
    Near(
        "bpf-jit-disabled",
        "the image may not be seen, its length is told",
        "policed_by_bpf",
        lambda t: some(t.bpf.programs, jited=True, instructions_bytes=0),
    ),
    Near(
        "bpf-jit-disabled",
        "a program that runs on the card",
        "policed_by_bpf",
        lambda t: some(t.bpf.programs, jited=False, ifindex=link(t, "mgmt0").ifindex),
    ),
    Near(
        "bpf-lru-thrash",
        "a scan takes a fifth of the table",
        "policed_by_bpf",
        lambda t: some(t.bpf.turnover, looked=256, left=200),
    ),
    Near(
        "bpf-orphan-by-mount",
        "a bpffs of a container's",
        "policed_by_bpf",
        lambda t: some(t.bpf.mounts, path=lambda path: path.startswith("/run/netns"), hidden=False),
    ),
    Near(
        "bpf-orphan-by-mount",
        "one below a later /sys, into which nobody pinned",
        "policed_by_bpf",
        lambda t: some(t.bpf.mounts, hidden=True, under=None),
    ),
    Near(
        "bpf-tc-same-handle-clobber",
        "an upgrade that was planned",
        "after_the_night",
        lambda t: attached(t, "eth1", prog_id=3, priority=1, handle=1),
    ),
    Near(
        "bpf-prog-pinned-unattached",
        "targets of tail calls, extensions, templates for guests to come",
        "policed_by_bpf",
        lambda t: some(t.bpf.pins, id=8) and some(t.bpf.entries, prog_id=7) and some(t.bpf.programs, type="ext"),
    ),
    Near(
        "bpf-stats-left-enabled",
        "an observer counts while it looks",
        "policed_by_bpf",
        lambda t: some(t.bpf.programs, run_count=9),
    ),
    Shown("bpf-unknown-on-some-hosts", "roles differ", "usual elsewhere"),
    Shown("bpf-unknown-on-some-hosts", "a known name is rolled out", "a new build"),
    Shown("bpf-unknown-on-some-hosts", "attached in no place of this host's", "attached elsewhere"),
    Shown("bpf-verdict-shot", "a policy drops what it should", "shot or ok"),
    Shown("bpf-xdp-drop-counter", "a filter against floods", "drop or pass"),
)
