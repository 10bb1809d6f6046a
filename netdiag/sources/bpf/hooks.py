"""Which programs stand at a hook: BPF_PROG_QUERY for interfaces (tcx, netkit), cgroups, namespaces and sockmaps.

Needs CAP_NET_ADMIN (kernel/bpf/syscall.c, bpf_prog_query()). A kernel that does not know a hook says EINVAL, which
means that nothing is attached there. The order of the ids is the order in which the programs run. Raises OSError where
nothing may be asked.
"""

import errno
import itertools
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

import msgspec

from netdiag.model.bpf import BpfAttachment, BpfCgroup
from netdiag.sources.bpf import names
from netdiag.sources.bpf.calls import QUERY_EFFECTIVE, Calls, Queried
from netdiag.sources.bpf.mounts import mounts
from netdiag.sources.bpf.objects import opened

CGROUPS_LIMIT = 20_000
ABSENT = {errno.EINVAL, errno.ENODEV, errno.EOPNOTSUPP, errno.ENOENT, errno.EBUSY}
"""What a hook that does not exist here answers. EBUSY: a sockmap has the other of two verdicts that exclude each other
(net/core/sock_map.c, sock_map_prog_link_lookup())."""
FLAGS = {1: "override", 2: "multi"}
"""BPF_F_ALLOW_OVERRIDE, BPF_F_ALLOW_MULTI."""
SOCKMAP_HOOKS = ("sk_skb_stream_parser", "sk_skb_stream_verdict", "sk_msg_verdict", "sk_skb_verdict")


class Asker:
    """Queries hooks, and asks no more of those that the kernel does not know."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.unknown: set[str] = set()

    def programs(self, target: int, hook: str, flags: int = 0) -> Queried:
        """What stands at a hook of this interface or file descriptor; nothing where there is no such hook."""
        if hook in self.unknown:
            return Queried(0, ())
        try:
            return self.calls.query(target, names.NUMBER[hook], flags)
        except OSError as error:
            if error.errno not in ABSENT:
                raise
            if error.errno == errno.EINVAL:
                self.unknown.add(hook)
            return Queried(0, ())


def on_interfaces(calls: Calls, plain: Iterable[int], netkits: Iterable[int]) -> list[BpfAttachment]:
    """tcx of every interface, and netkit's own hooks where interfaces are of that kind."""
    asker = Asker(calls)
    rows: list[BpfAttachment] = []
    asked = [(ifindex, "tcx", hook) for ifindex in plain for hook in ("tcx_ingress", "tcx_egress")]
    asked += [(ifindex, "netkit", hook) for ifindex in netkits for hook in ("netkit_primary", "netkit_peer")]
    for ifindex, kind, hook in asked:
        for position, prog_id in enumerate(asker.programs(ifindex, hook).prog_ids):
            rows.append(
                BpfAttachment(
                    hook="tcx" if kind == "tcx" else "netkit",
                    prog_id=prog_id,
                    position=position,
                    attach_type=hook,
                    direction=("ingress" if hook == "tcx_ingress" else "egress") if kind == "tcx" else None,
                    ifindex=ifindex,
                )
            )
    return rows


def in_namespace(calls: Calls) -> list[BpfAttachment]:
    """Flow dissector and socket lookup of the namespace that netdiag is in."""
    asker = Asker(calls)
    rows: list[BpfAttachment] = []
    with opened(os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)) as fd:
        netns = os.fstat(fd).st_ino
        for position, prog_id in enumerate(asker.programs(fd, "flow_dissector").prog_ids):
            rows.append(
                BpfAttachment(
                    hook="flow_dissector",
                    prog_id=prog_id,
                    position=position,
                    attach_type="flow_dissector",
                    netns=netns,
                )
            )
        for position, prog_id in enumerate(asker.programs(fd, "sk_lookup").prog_ids):
            rows.append(
                BpfAttachment(
                    hook="sk_lookup", prog_id=prog_id, position=position, attach_type="sk_lookup", netns=netns
                )
            )
    return rows


def on_sockmaps(calls: Calls, map_ids: Iterable[int]) -> list[BpfAttachment]:
    """Parsers and verdicts of sockmaps and sockhashes (Linux 5.17)."""
    asker = Asker(calls)
    rows: list[BpfAttachment] = []
    for map_id in map_ids:
        with suppress(FileNotFoundError), opened(calls.fd_by_id("map", map_id)) as fd:
            for hook in SOCKMAP_HOOKS:
                rows += [
                    BpfAttachment(hook="sockmap", prog_id=prog_id, position=n, attach_type=hook, map_id=map_id)
                    for n, prog_id in enumerate(asker.programs(fd, hook).prog_ids)
                ]
    return rows


def folders(limit: int = CGROUPS_LIMIT) -> Iterator[str]:
    """Every cgroup of every cgroup2 mount, each after the one above it."""
    seen: set[tuple[int, int]] = set()
    count = 0
    for mount in mounts("cgroup2"):
        for path, below, _ in os.walk(mount):
            below.sort()
            try:
                there = os.stat(path)
            except OSError:
                continue
            if (there.st_dev, there.st_ino) in seen:
                below.clear()  # the same tree mounted twice
                continue
            seen.add((there.st_dev, there.st_ino))
            count += 1
            if count > limit:
                return
            yield path


def on_cgroups(calls: Calls, hooks: Iterable[str], deadline: float) -> tuple[list[BpfAttachment], list[BpfCgroup], str]:
    """Own and effective programs of every cgroup at these hooks; the third says why there may be more."""
    asker = Asker(calls)
    wanted = tuple(hooks)
    rows: list[BpfAttachment] = []
    effective: list[BpfCgroup] = []
    above: dict[tuple[str, str], tuple[int, ...]] = {}
    for count, path in enumerate(folders()):
        if time.monotonic() > deadline:
            return rows, effective, f"no time for more than {count} cgroups"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        with opened(fd):
            number = os.fstat(fd).st_ino
            for hook in wanted:
                own = asker.programs(fd, hook)
                running = asker.programs(fd, hook, QUERY_EFFECTIVE).prog_ids
                above[path, hook] = running
                if running and (own.prog_ids or above.get((os.path.dirname(path), hook)) != running):
                    effective.append(BpfCgroup(cgroup=path, cgroup_id=number, attach_type=hook, effective=running))
                rows += _of_cgroup(path, number, hook, own, running)
    looked = {path: hidden(path) for path in {row.cgroup or "" for row in rows}}
    return [msgspec.structs.replace(row, cgroup_hidden=looked[row.cgroup or ""]) for row in rows], effective, ""


def hidden(path: str) -> bool:
    """Whether a cgroup, one below it or one above it but the root holds a process that /proc does not show: 0 stands
    for one outside the reader's PID namespace (kernel/cgroup/cgroup.c, cgroup_procs_show())."""
    root = next((mount for mount in mounts("cgroup2") if path == mount or path.startswith(f"{mount}/")), path)
    above = path
    near = [folder for folder, _, _ in itertools.islice(os.walk(path), CGROUPS_LIMIT)]
    while above != root:
        near.append(above)
        above = os.path.dirname(above)
    return any(_strangers(folder) for folder in near)


def _strangers(folder: str) -> bool:
    try:
        with open(f"{folder}/cgroup.procs", "rb") as file:
            return b"0" in file.read().split()
    except OSError:
        return False  # it has gone, or holds threads only


def _of_cgroup(path: str, number: int, hook: str, own: Queried, running: tuple[int, ...]) -> list[BpfAttachment]:
    flags = tuple(word for bit, word in FLAGS.items() if own.flags & bit)
    directions = {"cgroup_inet_ingress": "ingress", "cgroup_inet_egress": "egress"}
    return [
        BpfAttachment(
            hook="cgroup",
            prog_id=prog_id,
            position=position,
            attach_type=hook,
            direction="ingress" if directions.get(hook) == "ingress" else "egress" if hook in directions else None,
            cgroup=path,
            cgroup_id=number,
            flags=flags,
            effective=prog_id in running,
        )
        for position, prog_id in enumerate(own.prog_ids)
    ]
