"""The network namespaces that can be reached from here, and what keeps each of them alive."""

import msgspec


class NamespaceHolder(msgspec.Struct, frozen=True, kw_only=True):
    """A process that has a namespace open without living in it."""

    pid: int
    """Process id."""
    comm: str
    """Name of the process."""
    fd: int
    """One of the file descriptors."""


class Namespace(msgspec.Struct, frozen=True, kw_only=True):
    """One network namespace."""

    inode: int
    """Inode of nsfs: what ``readlink /proc/PID/ns/net`` shows."""
    own: bool = False
    """It is the one that the other tables are about."""
    names: tuple[str, ...] = ()
    """Names under /run/netns, sorted."""
    mounts: tuple[str, ...] = ()
    """Other places where it is mounted (/run/docker/netns/...), in this mount namespace."""
    netnsid: int | None = None
    """Number by which this namespace knows it; null: none was given."""
    processes: int = 0
    """Processes that live in it."""
    pids: tuple[int, ...] = ()
    """The first of them."""
    comm: str | None = None
    """Name of the first of them."""
    threads: int = 0
    """Threads that visit it while their process lives elsewhere; only looked for where no process lives in it."""
    holders: tuple[NamespaceHolder, ...] = ()
    """Processes with a file descriptor of it that live elsewhere."""
    path: str | None = None
    """A path by which it can be entered."""
    links: int | None = None
    """Interfaces in it, lo included; null: could not be entered."""

    @property
    def name(self) -> str:
        """Its name, else its inode."""
        return self.names[0] if self.names else str(self.inode)

    @property
    def held_by(self) -> str:
        """What keeps it alive: process, mount, fd, or nothing that is seen from here."""
        if self.processes or self.threads:
            return "process"
        if self.names or self.mounts:
            return "mount"
        return "fd" if self.holders else "unknown"


class Namespaces(msgspec.Struct, frozen=True, kw_only=True):
    """Every namespace that can be reached, and names that lead nowhere."""

    namespaces: tuple[Namespace, ...] = ()
    """By inode."""
    stale_names: tuple[str, ...] = ()
    """Files under /run/netns that are no namespace: what was mounted there is gone, or is seen elsewhere only."""
