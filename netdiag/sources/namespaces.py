"""The network namespaces that can be reached from here; ``fetch`` is the only door.

Keys are ``all``, and ``tables DUMP ...`` followed by lines ``INODE PATH``, see netdiag.sources.netnssweep.

Found by mounts of nsfs (/run/netns and others), by /proc/*/ns/net, and by open file descriptors. Each is opened read
only, asked for its number (RTM_GETNSID, net/core/net_namespace.c rtnl_net_getid()) and entered for one dump of its
interfaces; neither the file nor the socket is kept, for either would keep a dead namespace alive. Opening those of
other processes needs CAP_SYS_PTRACE, entering CAP_SYS_ADMIN. The answer is JSON.
"""

import ctypes
import fcntl
import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass, field
from struct import pack

import msgspec

from netdiag.model.namespace import Namespace, NamespaceHolder, Namespaces
from netdiag.model.text import kernel_text
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink import requests, transport
from netdiag.sources.netlink.messages import NetlinkError, walk_messages
from netdiag.sources.netlink.small import NetnsIdSink
from netdiag.sources.procwalk import Process, Walk, inode_of

PATIENCE = 2.0
"""Seconds for everything."""
NAMED = "/run/netns"
NAMESPACES_LIMIT = 20_000
PIDS_SHOWN = 8
HOLDERS_SHOWN = 8
FILES_LIMIT = 4096
CLONE_NEWNET = 0x40000000
NETNSA_FD = 3
NS_GET_NSTYPE = 0xB703
"""ioctl_ns(2)."""
READ = os.O_RDONLY | os.O_CLOEXEC


class Reply(msgspec.Struct, frozen=True):
    """What ``fetch`` sends."""

    namespaces: Namespaces
    numbers: tuple[int, ...]
    """Every number that this namespace has given to a peer, reachable or not."""
    trouble: str = ""


@dataclass
class Found:
    """What is known of one namespace so far."""

    inode: int
    names: list[str] = field(default_factory=list)
    mounts: list[str] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)
    processes: int = 0
    comm: str | None = None
    threads: int = 0
    holders: list[NamespaceHolder] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


class Search:
    """Looks everywhere, in the order in which the places are cheap."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.found: dict[int, Found] = {}
        self.stale: list[str] = []
        self.unseen = ""
        self.device = os.stat("/proc/self/ns/net").st_dev
        self.own = os.stat("/proc/self/ns/net").st_ino

    def at(self, inode: int) -> Found:
        """What is known of a namespace."""
        return self.found.setdefault(inode, Found(inode))

    def named(self) -> None:
        """Names under /run/netns."""
        try:
            names = sorted(os.listdir(NAMED))
        except OSError:
            return
        for name in names:
            path = f"{NAMED}/{name}"
            try:
                seen = os.stat(path)
            except OSError:
                continue
            text = kernel_text(os.fsencode(name))
            if seen.st_dev == self.device and stat.S_ISREG(seen.st_mode):
                self.at(seen.st_ino).names.append(text)
                self.at(seen.st_ino).paths.append(path)
            else:
                self.stale.append(text)

    def mounted(self) -> None:
        """Mounts of nsfs elsewhere; those under /run/netns are known by then."""
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                words = line.split(" ")
                inode = inode_of(words[3]) if len(words) > 5 else None
                if inode is None:
                    continue
                place = words[4].encode("utf-8", "surrogateescape").decode("unicode_escape", "replace")
                if not place.startswith((f"{NAMED}/", "/var/run/netns/")):
                    self.at(inode).mounts.append(kernel_text(place.encode("utf-8", "surrogateescape")))
                    self.at(inode).paths.append(place)

    def lived_in(self) -> None:
        """Namespaces of processes, and those that processes hold open."""
        walk = Walk(self.until)
        for process in walk:
            try:
                self._process(process)
            except PermissionError:
                walk.denied += 1
            except OSError:
                continue  # it ended meanwhile
        self.unseen = walk.unseen
        own = self.at(self.own)
        own.processes += not own.processes  # the reader itself
        if any(not known.processes for known in self.found.values()):
            self._visited()

    def _process(self, process: Process) -> None:
        home = inode_of(os.readlink("ns/net", dir_fd=process.folder))
        if home is None:
            return
        known = self.at(home)
        known.processes += 1
        if len(known.pids) < PIDS_SHOWN:
            known.pids.append(process.pid)
            known.paths.append(f"/proc/{process.pid}/ns/net")
            known.comm = known.comm or process.comm()
        self._held(process, home)

    def _held(self, process: Process, home: int) -> None:
        for fd in process.names("fd")[:FILES_LIMIT]:
            inode = self._behind(process, fd)
            if inode is None or inode == home:
                continue
            known = self.at(inode)
            known.paths.append(f"/proc/{process.pid}/fd/{fd}")
            if len(known.holders) < HOLDERS_SHOWN and all(holder.pid != process.pid for holder in known.holders):
                known.holders.append(NamespaceHolder(pid=process.pid, comm=process.comm(), fd=int(fd)))

    def _behind(self, process: Process, fd: str) -> int | None:
        """The namespace behind a descriptor. One that was opened by its mount shows that path, and "/" when the mount
        is gone (fs/d_path.c, d_path())."""
        target = process.link(f"fd/{fd}") or ""
        if target.startswith("net:["):
            return inode_of(target)
        if target != "/" and "/netns/" not in target:
            return None
        try:
            if os.stat(f"fd/{fd}", dir_fd=process.folder).st_dev != self.device:
                return None
            opened = os.open(f"fd/{fd}", READ, dir_fd=process.folder)
        except OSError:
            return None
        try:  # other kinds of namespaces are files of nsfs as well
            return os.fstat(opened).st_ino if fcntl.ioctl(opened, NS_GET_NSTYPE) == CLONE_NEWNET else None
        except OSError:
            return None
        finally:
            os.close(opened)

    def _visited(self) -> None:
        """Threads that live elsewhere than their process."""
        for process in Walk(self.until):
            try:
                tasks = process.names("task")
            except OSError:
                continue
            for task in tasks if len(tasks) > 1 else ():
                inode = inode_of(process.link(f"task/{task}/ns/net"))
                known = self.found.get(inode) if inode is not None else None
                if known is not None and not known.processes:
                    known.threads += 1


def opened_path(found: Found) -> tuple[int, str] | None:
    """An open file of the namespace, and the path by which it was opened; None where none can be."""
    for path in found.paths:
        try:
            fd = os.open(path, READ)
        except OSError:
            continue
        if os.fstat(fd).st_ino == found.inode:
            return fd, path
        os.close(fd)
    return None


def enter(fd: int) -> None:
    """Move this thread into a network namespace. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class _Count:
    """Sink that counts interfaces."""

    def __init__(self) -> None:
        self.links = 0

    def reset(self) -> None:
        self.links = 0

    def feed(self, buffer: memoryview) -> None:
        self.links += sum(message.type == nl.RTM_NEWLINK for message in walk_messages(bytes(buffer)))


def _number(fd: int) -> int | None:
    """The number by which the present namespace knows another; None: it never gave one."""
    body = pack("=B3x", 0) + pack("=HHI", 8, NETNSA_FD, fd)
    try:
        reply = transport.request_one(nl.NETLINK_ROUTE, nl.RTM_GETNSID, body)
    except NetlinkError:
        return None
    sink = NetnsIdSink()
    sink.feed(memoryview(reply.octets))
    return sink.ids[0] if sink.ids else None


def _row(found: Found, own: int, home: int) -> tuple[Namespace, bool]:
    """The finished row, and whether entering was refused."""
    number = links = path = None
    refused = False
    opened = opened_path(found)
    if opened is not None:
        fd, path = opened
        try:
            number = None if found.inode == own else _number(fd)
            count = _Count()
            enter(fd)
            try:
                transport.dump(requests.links(stats=False), count)
            finally:
                enter(home)
            links = count.links
        except OSError:
            refused = True
        finally:
            os.close(fd)
    row = Namespace(
        inode=found.inode,
        own=found.inode == own,
        names=tuple(sorted(found.names)),
        mounts=tuple(sorted(found.mounts)),
        netnsid=number,
        processes=found.processes,
        pids=tuple(found.pids),
        comm=found.comm,
        threads=found.threads,
        holders=tuple(found.holders),
        path=None if path is None else kernel_text(os.fsencode(path)),
        links=links,
    )
    return row, refused


def search(until: float) -> Search:
    """Everything that can be found before ``until`` (seconds of time.monotonic()). Raises OSError without /proc."""
    looked = Search(until)
    looked.at(looked.own).paths.append("/proc/self/ns/net")
    looked.named()
    looked.mounted()
    looked.lived_in()
    return looked


def fetch(key: str, deadline: float | None) -> bytes:
    """The reply. ``deadline``: seconds of time.monotonic(). Raises OSError, ValueError for no such key."""
    word, _, rest = key.partition("\n")
    if word.startswith("tables "):
        from netdiag.sources.netnssweep import sweep

        return sweep(rest.split("\n") if rest else [], tuple(word.split(" ")[1:]), deadline)
    if word != "all":
        raise ValueError(f"no such key: {word}")
    until = time.monotonic() + PATIENCE
    until = until if deadline is None else min(deadline, until)
    looked = search(until)
    rows: list[Namespace] = []
    refused = 0
    home = os.open("/proc/thread-self/ns/net", READ)
    try:
        for inode in sorted(looked.found)[:NAMESPACES_LIMIT]:
            row, no = _row(looked.found[inode], looked.own, home)
            rows.append(row)
            refused += no
    finally:
        os.close(home)
    sink = NetnsIdSink()
    with suppress(NetlinkError):
        transport.dump(requests.netns_ids(), sink)
    troubles = [looked.unseen] if looked.unseen else []
    if refused:
        troubles.append(f"{refused} namespaces could not be entered (needs CAP_SYS_ADMIN)")
    whole = Namespaces(namespaces=tuple(rows), stale_names=tuple(looked.stale))
    return msgspec.json.encode(Reply(whole, tuple(sorted(sink.ids)), "; ".join(troubles)))
