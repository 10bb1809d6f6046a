"""Who holds the tun and tap devices of a namespace: the far side of each, as /proc tells it (drivers/net/tun.c).

The devices themselves, with type, owner, flags and queues, are interfaces (model.Link, ``kind`` tun): they are not
said again here. Which routes, neighbours and proxy entries point to one is netdiag.index.taps.
"""

import msgspec


class TapHolder(msgspec.Struct, frozen=True, kw_only=True):
    """A process with /dev/net/tun open, once for each device that it holds."""

    pid: int
    """Process id, as the reader's /proc numbers it."""
    comm: str
    """Name of the process (/proc/PID/comm), at most 15 bytes."""
    exe: str | None = None
    """Last part of the program's path; null: not told (a kernel refused, or the file is of another namespace)."""
    vmm: str | None = None
    """Virtual machine monitor that the names stand for: firecracker, cloud-hypervisor, qemu, crosvm; null: none of
    these."""
    state: str | None = None
    """One letter of /proc/PID/stat: R, S, D, T (stopped) ..."""
    ifname: str | None = None
    """Device behind the open file (``iff:`` of fdinfo); null: none: never attached, refused, or the device was
    deleted."""
    netns: int | None = None
    """Inode of the process's network namespace."""
    device_netns: int | None = None
    """Inode of the namespace that the device lives in (TUNGETDEVNETNS, Linux 5.2); null: could not be asked."""
    queues: int = 1
    """Open files of this process that are attached to the device."""


class TapWish(msgspec.Struct, frozen=True, kw_only=True):
    """A process whose command line names a tun or tap device; nothing else of the command line is kept."""

    pid: int
    """Process id."""
    comm: str
    """Name of the process."""
    vmm: str | None = None
    """Virtual machine monitor; null: none that is known."""
    ifname: str
    """The device that it names."""
    netns: int | None = None
    """Inode of the process's network namespace."""


class Taps(msgspec.Struct, frozen=True, kw_only=True):
    """Holders of tun and tap devices."""

    holders: tuple[TapHolder, ...] = ()
    """Every process with /dev/net/tun open that could be looked into, of any namespace."""
    wishes: tuple[TapWish, ...] = ()
    """Virtual machine monitors, and processes with /dev/net/tun open, that name a device on their command line."""
    filtered: tuple[int, ...] = ()
    """Indexes of tun and tap devices with a clsact or ingress qdisc: tc may take their frames elsewhere."""
    netns: int | None = None
    """Inode of the namespace whose tables these are."""
