"""eBPF on this host: programs, maps, links, where programs are attached, pins, and which processes hold what.

Sources: include/uapi/linux/bpf.h (struct bpf_prog_info, bpf_map_info, bpf_link_info; BPF_PROG_QUERY), IFLA_XDP, and
RTM_GETTFILTER. Object ids and cgroups belong to the whole machine, not to a network namespace: what this namespace's
packets meet is said by ``attachments``, never by the list of programs. Names of types are spelled as bpftool does.
"""

from typing import Literal

import msgspec

Hook = Literal["xdp", "tc", "tcx", "netkit", "cgroup", "flow_dissector", "sk_lookup", "netfilter", "sockmap"]
ObjectKind = Literal["prog", "map", "link"]


class BpfProgram(msgspec.Struct, frozen=True, kw_only=True):
    """One loaded program."""

    id: int
    type: str
    """``xdp``, ``sched_cls``, ``cgroup_skb`` ...; the number where netdiag knows no name."""
    name: str = ""
    """At most 15 bytes; the whole name is in ``function``."""
    function: str | None = None
    """Name of the main function, from the program's BTF; None: it has none, or ``name`` is whole."""
    tag: str = ""
    """Hash of the instructions, 16 hex digits: two builds of one source differ in it."""
    loaded_at: float = 0.0
    """Seconds of CLOCK_BOOTTIME when it was loaded."""
    uid: int = 0
    """Who loaded it."""
    map_ids: tuple[int, ...] = ()
    """Maps that it uses, in the program's order."""
    jited: bool = False
    """True: runs as machine code; False: is interpreted."""
    gpl: bool = False
    instructions_bytes: int = 0
    """Length of the translated program, in bytes."""
    run_time_ns: int | None = None
    run_count: int | None = None
    """How often it ran; None: the kernel does not count (kernel.bpf_stats_enabled)."""
    recursion_misses: int = 0
    """Runs that were skipped because the program was already running on that processor."""
    btf_id: int | None = None
    ifindex: int | None = None
    """The card that the program was handed to; None: it runs on the processor."""
    netns: int | None = None
    """Inode of that card's namespace."""


class BpfMap(msgspec.Struct, frozen=True, kw_only=True):
    """One map."""

    id: int
    type: str
    """``hash``, ``array``, ``devmap``, ``prog_array`` ..."""
    name: str = ""
    key_size: int = 0
    value_size: int = 0
    max_entries: int = 0
    flags: int = 0
    """BPF_F_* of map creation."""
    frozen: bool | None = None
    """True: cannot be written by processes any more; None: could not be told."""
    entries: int | None = None
    """Entries in use; None: this type cannot be counted without changing it, or there was no time."""
    entries_more: bool = False
    """True: there are more than ``entries``; counting was ended."""
    btf_id: int | None = None
    ifindex: int | None = None
    netns: int | None = None


class BpfMapEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a map whose values name interfaces, processors, programs or maps."""

    map_id: int
    key: int
    """Key of 32 bits: the slot, or the key of a devmap_hash."""
    ifindex: int | None = None
    """devmap, devmap_hash: where packets are sent."""
    qsize: int | None = None
    """cpumap: length of that processor's queue, in packets."""
    prog_id: int | None = None
    """prog_array: what is called; devmap, cpumap: what runs there then."""
    inner_map_id: int | None = None
    """array_of_maps, hash_of_maps."""


class BpfLink(msgspec.Struct, frozen=True, kw_only=True):
    """One bpf_link: an attachment that lives as long as somebody holds it."""

    id: int
    type: str
    """``xdp``, ``tcx``, ``cgroup``, ``netns``, ``netfilter``, ``tracing`` ..."""
    prog_id: int = 0
    attach_type: str | None = None
    ifindex: int | None = None
    """Of xdp, tcx and netkit; an index of the namespace that it was made in. 0: the interface is gone."""
    netns: int | None = None
    """Of netns: inode of the namespace."""
    cgroup_id: int | None = None
    """Of cgroup: inode of its folder; 0: the cgroup is gone."""
    map_id: int | None = None
    """Of sockmap, struct_ops and iter."""
    target: str | None = None
    """Of tracing: name of the tracepoint or function, where the kernel tells."""
    pf: int | None = None
    """Of netfilter: protocol family; 2 IPv4, 10 IPv6."""
    hook: int | None = None
    """Of netfilter: NF_INET_*; 0 prerouting to 4 postrouting."""
    priority: int | None = None


class BpfAttachment(msgspec.Struct, frozen=True, kw_only=True):
    """One program at one place. Which fields are set depends on ``hook``."""

    hook: Hook
    prog_id: int
    position: int = 0
    """Order at this place, 0 first: what a packet meets."""
    attach_type: str | None = None
    """``tcx_ingress``, ``cgroup_inet_egress`` ..., as bpftool spells BPF_* of enum bpf_attach_type."""
    direction: Literal["ingress", "egress"] | None = None
    ifindex: int | None = None
    link_id: int | None = None
    """The bpf_link that attached it; None: attached without one (netlink, BPF_PROG_ATTACH)."""
    mode: str | None = None
    """xdp: ``native``, ``generic`` or ``offload``."""
    parent: int | None = None
    """tc: handle of the qdisc or class, 0xfffffff2 ingress, 0xfffffff3 egress; None in a shared block."""
    block: int | None = None
    """tc: number of the shared block that the filter is in."""
    chain: int | None = None
    priority: int | None = None
    """tc: the smaller runs first; netfilter: likewise."""
    protocol: int | None = None
    """tc: EtherType, 3 (ETH_P_ALL) for all."""
    handle: int | None = None
    direct_action: bool | None = None
    """tc: True: what the program returns is the verdict."""
    action: bool = False
    """tc: the program is an action of the filter (act_bpf), not the filter."""
    name: str | None = None
    """tc: what the one who attached it called it, mostly ``object.o:[section]``."""
    tag: str | None = None
    """tc: the program's tag, told without any privilege."""
    cgroup: str | None = None
    """cgroup: path of its folder."""
    cgroup_id: int | None = None
    flags: tuple[str, ...] = ()
    """cgroup: ``override``, ``multi``."""
    effective: bool | None = None
    """cgroup: True: runs for the processes of that cgroup."""
    netns: int | None = None
    """flow_dissector, sk_lookup: inode of the namespace; None for netfilter, where the kernel does not tell."""
    pf: int | None = None
    hooknum: int | None = None
    """netfilter: NF_INET_*."""
    map_id: int | None = None
    """sockmap: the map whose sockets meet it."""


class BpfCgroup(msgspec.Struct, frozen=True, kw_only=True):
    """What runs for the processes of a cgroup at one hook; left out where it is the same as in the cgroup above."""

    cgroup: str
    cgroup_id: int
    attach_type: str
    effective: tuple[int, ...]
    """Program ids in the order in which they run, inherited ones included."""


class BpfPin(msgspec.Struct, frozen=True, kw_only=True):
    """One name in a bpffs that keeps an object alive."""

    path: str
    kind: ObjectKind
    id: int


class BpfHolder(msgspec.Struct, frozen=True, kw_only=True):
    """One process that keeps an object open."""

    pid: int
    comm: str
    kind: ObjectKind
    id: int


class Bpf(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of eBPF. What could not be read is empty, named in coverage, and listed in ``unread``."""

    programs: tuple[BpfProgram, ...] = ()
    maps: tuple[BpfMap, ...] = ()
    links: tuple[BpfLink, ...] = ()
    attachments: tuple[BpfAttachment, ...] = ()
    cgroups: tuple[BpfCgroup, ...] = ()
    entries: tuple[BpfMapEntry, ...] = ()
    entries_read: tuple[int, ...] = ()
    """Ids of the maps of which all entries are in ``entries``; a map in here without entries is empty."""
    pins: tuple[BpfPin, ...] = ()
    holders: tuple[BpfHolder, ...] = ()
    unread: tuple[str, ...] = ()
    """Fields of this table that were not read, or not wholly: rules that conclude from absence must look here."""

    def program(self, prog_id: int | None) -> BpfProgram | None:
        """The program of an id, or None where it was not read or is gone."""
        return next((row for row in self.programs if row.id == prog_id), None)


def type_name(names: tuple[str, ...], number: int) -> str:
    """The name at a position of an enum; the number itself where the kernel knows more than this list."""
    return names[number] if 0 <= number < len(names) else str(number)
