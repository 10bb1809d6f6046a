"""eBPF on this host: programs, maps, links, where programs are attached, pins, and which processes hold what.

Sources: include/uapi/linux/bpf.h (struct bpf_prog_info, bpf_map_info, bpf_link_info; BPF_PROG_QUERY), IFLA_XDP, and
RTM_GETTFILTER. Object ids and cgroups belong to the whole machine, not to a network namespace: what this namespace's
packets meet is said by ``attachments``, never by the list of programs. Names of types are spelled as bpftool does.
"""

import re
from collections.abc import Iterable
from typing import Literal

import msgspec

Hook = Literal["xdp", "tc", "tcx", "netkit", "cgroup", "flow_dissector", "sk_lookup", "netfilter", "sockmap"]
ObjectKind = Literal["prog", "map", "link"]
INTERFACES = re.compile(
    r"if_?index|if_?idx|if(ace)?s?_?map|tx_?port|redirect|(out|egress)_?if|(^|_)oif(_|$)"
    r"|(to|2)_?(if|iface|tap|veth|dev|nic)s?$|^(if|iface|tap|veth|dev|nic)s?_(by|for|of)_"
    r"|^(vm|guest|pod|container|endpoint|ep)s?_(if|iface|tap|veth|dev|nic)s?$",
    re.IGNORECASE,
)
"""Names of plain hash maps that say that a value is, or begins with, the index of an interface."""
INWARD = re.compile(r"(in|ingress|rx|src|from|last)_", re.IGNORECASE)
"""How names begin that say that packets came in by an interface: a program remembers it, and sends nothing there."""


class BpfProgram(msgspec.Struct, frozen=True, kw_only=True):
    """One loaded program."""

    id: int
    """Id of the program, machine-wide and never used again until the next boot."""
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
    """Whether its licence lets it call the kernel's GPL-only helpers."""
    instructions_bytes: int = 0
    """Length of the translated program, in bytes."""
    verdicts: tuple[int, ...] | None = None
    """xdp, sched_cls: all that it can return, where its instructions return constants only; None: not told by them."""
    run_time_ns: int | None = None
    """Nanoseconds spent in it; None: the kernel does not count."""
    run_count: int | None = None
    """How often it ran; None: the kernel does not count (kernel.bpf_stats_enabled)."""
    recursion_misses: int = 0
    """Runs that were skipped because the program was already running on that processor."""
    btf_id: int | None = None
    """Id of its type information; None: it has none."""
    ifindex: int | None = None
    """The card that the program was handed to; None: it runs on the processor."""
    netns: int | None = None
    """Inode of that card's namespace."""


class BpfMap(msgspec.Struct, frozen=True, kw_only=True):
    """One map."""

    id: int
    """Id of the map, machine-wide."""
    type: str
    """``hash``, ``array``, ``devmap``, ``prog_array`` ..."""
    name: str = ""
    """At most 15 bytes."""
    key_size: int = 0
    """Bytes of a key."""
    value_size: int = 0
    """Bytes of a value."""
    max_entries: int = 0
    """How many entries it may have."""
    flags: int = 0
    """BPF_F_* of map creation."""
    frozen: bool | None = None
    """True: cannot be written by processes any more; None: could not be told."""
    entries: int | None = None
    """Entries in use; None: this type cannot be counted without changing it, or there was no time."""
    entries_more: bool = False
    """True: there are more than ``entries``; counting was ended."""
    btf_id: int | None = None
    """Id of its type information; None: it has none."""
    value_member: str | None = None
    """Plain hashes whose values are structures: the member whose name says that it is an interface's index."""
    value_member_at: int | None = None
    """Bytes in front of it."""
    ifindex: int | None = None
    """The card that holds the map; None: the machine's memory."""
    netns: int | None = None
    """Inode of that card's namespace."""


class BpfMapEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a map whose values name interfaces, processors, programs or maps."""

    map_id: int
    """The map."""
    key: int
    """Key of 32 bits: the slot, or the key of a devmap_hash; 0 where ``address`` is the key."""
    address: str | None = None
    """Plain hashes with keys of 16 bytes: the key as an IPv6 address."""
    ifindex: int | None = None
    """devmap, devmap_hash, and plain hashes: where packets are sent. Of hashes these are the first 32 bits of a value,
    where the name says so (``redirect_ifindex``), or most of them are indexes of interfaces of this namespace."""
    target_can: bool | None = None
    """devmap, devmap_hash: whether that interface takes frames from another one's XDP (NETDEV_XDP_ACT_NDO_XMIT); of a
    veth whose driver tells nothing, whether its other end has GRO on. None: could not be asked."""
    target_took: int | None = None
    """devmap, devmap_hash: frames of another one's XDP that a veth took since it was made; None: it does not tell."""
    qsize: int | None = None
    """cpumap: length of that processor's queue, in packets."""
    prog_id: int | None = None
    """prog_array: what is called; devmap, cpumap: what runs there then."""
    inner_map_id: int | None = None
    """array_of_maps, hash_of_maps."""


class BpfLink(msgspec.Struct, frozen=True, kw_only=True):
    """One bpf_link: an attachment that lives as long as somebody holds it."""

    id: int
    """Id of the link, machine-wide."""
    type: str
    """``xdp``, ``tcx``, ``cgroup``, ``netns``, ``netfilter``, ``tracing`` ..."""
    prog_id: int = 0
    """The program; 0: none (struct_ops)."""
    attach_type: str | None = None
    """``tcx_ingress``, ``cgroup_inet_egress`` ...; None: the type says it all."""
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
    """Of netfilter: the smaller runs first."""


class BpfAttachment(msgspec.Struct, frozen=True, kw_only=True):
    """One program at one place. Which fields are set depends on ``hook``."""

    hook: Hook
    """Which kind of place."""
    prog_id: int
    """The program."""
    position: int = 0
    """Order at this place, 0 first: what a packet meets."""
    attach_type: str | None = None
    """``tcx_ingress``, ``cgroup_inet_egress`` ..., as bpftool spells BPF_* of enum bpf_attach_type."""
    direction: Literal["ingress", "egress"] | None = None
    """Which way the packets go that meet it; None: a hook without one."""
    ifindex: int | None = None
    """Index of the interface; None: not on one."""
    link_id: int | None = None
    """The bpf_link that attached it; None: attached without one (netlink, BPF_PROG_ATTACH)."""
    mode: str | None = None
    """xdp: ``native``, ``generic`` or ``offload``."""
    driver_can: bool | None = None
    """xdp, generic: True: the driver says that it runs programs itself (NETDEV_XDP_ACT_BASIC); None: not asked. False
    proves nothing: veth says so of pairs that do run them."""
    sent: int | None = None
    """xdp, of a veth: packets that a program sent elsewhere, or failed to, since the interface was made; None: it does
    not tell."""
    failed: int | None = None
    """xdp, of a veth: those of ``sent`` that came nowhere, since the interface was made; None: it does not tell."""
    parent: int | None = None
    """tc: handle of the qdisc or class, 0xfffffff2 ingress, 0xfffffff3 egress; None in a shared block."""
    block: int | None = None
    """tc: number of the shared block that the filter is in."""
    chain: int | None = None
    """tc: number of the chain; 0 is tried first, the others are only jumped to."""
    priority: int | None = None
    """tc: the smaller runs first; netfilter: likewise."""
    protocol: int | None = None
    """tc: EtherType, 3 (ETH_P_ALL) for all."""
    handle: int | None = None
    """tc: number of the filter within its priority."""
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
    """Inode of that folder."""
    cgroup_hidden: bool | None = None
    """cgroup: processes that another PID namespace hides are in it, below or above; None: not looked at."""
    flags: tuple[str, ...] = ()
    """cgroup: ``override``, ``multi``."""
    effective: bool | None = None
    """cgroup: True: runs for the processes of that cgroup."""
    netns: int | None = None
    """flow_dissector, sk_lookup: inode of the namespace; None for netfilter, where the kernel does not tell."""
    pf: int | None = None
    """netfilter: protocol family; 2 IPv4, 10 IPv6."""
    hooknum: int | None = None
    """netfilter: NF_INET_*."""
    map_id: int | None = None
    """sockmap: the map whose sockets meet it."""


class BpfCgroup(msgspec.Struct, frozen=True, kw_only=True):
    """What runs for the processes of a cgroup at one hook; left out where it is the same as in the cgroup above."""

    cgroup: str
    """Path of its folder."""
    cgroup_id: int
    """Inode of that folder."""
    attach_type: str
    """The hook, ``cgroup_inet_ingress`` ..."""
    effective: tuple[int, ...]
    """Program ids in the order in which they run, inherited ones included."""


class BpfPin(msgspec.Struct, frozen=True, kw_only=True):
    """One name in a bpffs that keeps an object alive."""

    path: str
    """Path in this mount namespace."""
    kind: ObjectKind
    """What it names."""
    id: int
    """Id of that object."""


class BpfHolder(msgspec.Struct, frozen=True, kw_only=True):
    """One process that keeps an object open."""

    pid: int
    """The process."""
    comm: str
    """Its name, at most 15 bytes."""
    kind: ObjectKind
    """What it holds."""
    id: int
    """Id of that object."""


class BpfMount(msgspec.Struct, frozen=True, kw_only=True):
    """One bpffs of this mount namespace."""

    path: str
    """Where it is mounted."""
    device: str
    """Its device number, ``0:41``: the same for two mounts of one file system."""
    hidden: bool = False
    """Another file system lies over it: its names cannot be reached."""
    under: str | None = None
    """Device number of the bpffs that was mounted right upon it at the same place; None: there is none."""


class BpfTurnover(msgspec.Struct, frozen=True, kw_only=True):
    """How many of an LRU map's keys were there still at a second look."""

    map_id: int
    """The map."""
    looked: int
    """Keys of the first look, at most 256."""
    left: int
    """How many of those were there at the second one."""
    seconds: float
    """Time between the looks."""


class Bpf(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of eBPF. What could not be read is empty, named in coverage, and listed in ``unread``."""

    programs: tuple[BpfProgram, ...] = ()
    """All programs of the machine, whoever's packets meet them."""
    maps: tuple[BpfMap, ...] = ()
    """All maps of the machine."""
    links: tuple[BpfLink, ...] = ()
    """All links of the machine."""
    attachments: tuple[BpfAttachment, ...] = ()
    """Where programs are attached in this namespace; cgroups, netfilter and sockmaps are the machine's."""
    cgroups: tuple[BpfCgroup, ...] = ()
    """What runs in cgroups, inherited programs included."""
    entries: tuple[BpfMapEntry, ...] = ()
    """Entries of maps that name interfaces, processors, programs or maps."""
    entries_read: tuple[int, ...] = ()
    """Ids of the maps of which all entries are in ``entries``; a map in here without entries is empty."""
    pins: tuple[BpfPin, ...] = ()
    """Names in every bpffs of this mount namespace."""
    holders: tuple[BpfHolder, ...] = ()
    """Processes with open objects."""
    mounts: tuple[BpfMount, ...] = ()
    """Every bpffs of this mount namespace, hidden ones too, in the order of mounting."""
    turnover: tuple[BpfTurnover, ...] = ()
    """Of LRU maps of attached programs that were nearly full, where there were two looks."""
    unread: tuple[str, ...] = ()
    """Fields of this table that were not read, or not wholly: rules that conclude from absence must look here."""

    def program(self, prog_id: int | None) -> BpfProgram | None:
        """The program of an id, or None where it was not read or is gone."""
        return next((row for row in self.programs if row.id == prog_id), None)

    def running(self, attached: Iterable[int]) -> set[int]:
        """Ids of the programs that packets come to by these attached ones: themselves and what they call."""
        return with_called(attached, self.programs, self.entries)


def with_called(attached: Iterable[int], programs: Iterable[BpfProgram], entries: Iterable[BpfMapEntry]) -> set[int]:
    """These programs, and those that a prog_array of theirs names, which may call further ones (bpf_tail_call)."""
    slots = [(entry.map_id, entry.prog_id) for entry in entries if entry.prog_id is not None]
    found, maps = set(attached), {one.id: set(one.map_ids) for one in programs} if slots else {}
    added = found
    while added:
        used = set[int]().union(*(maps.get(number, set[int]()) for number in added))
        added = {number for map_id, number in slots if map_id in used} - found
        found |= added
    return found


def type_name(names: tuple[str, ...], number: int) -> str:
    """The name at a position of an enum; the number itself where the kernel knows more than this list."""
    return names[number] if 0 <= number < len(names) else str(number)
