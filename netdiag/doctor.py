"""What netdiag can and cannot see on a host: the collectors' coverage, this process's capabilities, the kernel,
packages.

Everything is read through a source, so that a recording can be examined too. Facts come from /proc/self/status
(capabilities(7)), /sys/kernel/btf, /proc/sys and Debian's package directory. Nothing can fail: what cannot be read is
None.
"""

import re
from collections.abc import Iterable

import msgspec

from netdiag.model.coverage import REQUIRED, Coverage
from netdiag.model.snapshot import Snapshot
from netdiag.sources.protocol import Source, Unreadable

CAPABILITIES = (
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
)
"""By bit number, include/uapi/linux/capability.h."""

HELPS = {
    "wireguard": ("net_admin",),
    "bird": ("dac_override",),
    "bird_routes": ("dac_override",),
    "bird_sockets": ("dac_override",),
    "bpf": ("sys_admin", "bpf"),
    "peer_links": ("sys_admin",),
}
"""Which capabilities a collector needs where it was denied and does not say; for the others net_admin matters."""

PACKAGES = {"python3-bpfcc": ("/usr/lib/python3/dist-packages", "bcc", "reads BPF programs, maps and attachments")}
"""Debian package: the directory and the name in it that prove it, and what it is for."""
ANSWERED = ("ok", "partial", "inconsistent")


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """A package that is not required."""

    name: str
    installed: bool | None
    purpose: str


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """Something that would let netdiag see more."""

    collector: str
    why: str
    remedy: str


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What ``netdiag doctor`` prints."""

    schema: str = "netdiag.doctor/1"
    netdiag: str
    kernel: str
    verdict_possible: bool
    """Whether every required collector answered."""
    collectors: tuple[Coverage, ...]
    uid: int | None
    """Effective user id."""
    capabilities: tuple[str, ...] | None
    """Effective capabilities, lower case without ``cap_``."""
    features: dict[str, bool | None]
    """What the kernel offers; None: could not be told."""
    packages: tuple[Package, ...]
    advice: tuple[Advice, ...]


def examine(source: Source, snapshot: Snapshot) -> Health:
    """Put together what a fresh snapshot of this host says, and what else matters."""
    status = _text(source, "/proc/self/status") or ""
    capabilities = capabilities_of(status)
    packages = tuple(
        Package(name=name, installed=_contains(source, folder, entry), purpose=purpose)
        for name, (folder, entry, purpose) in PACKAGES.items()
    )
    answered = {row.collector for row in snapshot.coverage if row.status in ANSWERED}
    return Health(
        netdiag=snapshot.meta.netdiag,
        kernel=snapshot.meta.kernel,
        verdict_possible=answered.issuperset(REQUIRED),
        collectors=snapshot.coverage,
        uid=_uid_of(status),
        capabilities=capabilities,
        features=_features(source),
        packages=packages,
        advice=tuple(_advice(snapshot.coverage, capabilities)),
    )


def capabilities_of(status: str) -> tuple[str, ...] | None:
    """Names of the bits of ``CapEff`` in the text of /proc/self/status; None where there is no such line."""
    word = _field(status, "CapEff")
    if word is None:
        return None
    try:
        bits = int(word, 16)
    except ValueError:
        return None
    named = [name for number, name in enumerate(CAPABILITIES) if bits >> number & 1]
    return (*named, *(f"cap_{number}" for number in range(len(CAPABILITIES), 64) if bits >> number & 1))


def _field(status: str, name: str) -> str | None:
    for line in status.splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    return None


def _uid_of(status: str) -> int | None:
    words = (_field(status, "Uid") or "").split()
    return int(words[1]) if len(words) > 1 and words[1].isdecimal() else None


def _text(source: Source, path: str) -> str | None:
    try:
        return source.read(path).decode("utf-8", "replace").strip()
    except Unreadable:
        return None


def _contains(source: Source, folder: str, entry: str) -> bool | None:
    try:
        return entry in source.listdir(folder)
    except Unreadable as error:
        return False if error.why == "absent" else None


def _features(source: Source) -> dict[str, bool | None]:
    unprivileged = _text(source, "/proc/sys/kernel/unprivileged_bpf_disabled")
    mounts = _text(source, "/proc/self/mountinfo")
    jit = _text(source, "/proc/sys/net/core/bpf_jit_enable")
    return {
        "bpf": unprivileged is not None or jit is not None,
        "bpf_jit": None if jit is None else jit != "0",
        "btf": _contains(source, "/sys/kernel/btf", "vmlinux"),
        "cgroup2": None if mounts is None else " - cgroup2 " in mounts,
        "ipv6": _contains(source, "/proc/net", "if_inet6"),
    }


def _advice(coverage: Iterable[Coverage], capabilities: tuple[str, ...] | None) -> Iterable[Advice]:
    held = capabilities or ()
    for row in coverage:
        named = [name.lower() for name in re.findall(r"CAP_([A-Z_]+)", row.detail)]
        if row.status == "denied" or (row.status == "partial" and named):
            socket_file = ("dac_override",) if ".sock" in row.detail else None  # a daemon's, with owner and mode
            wanted = dict.fromkeys(named or socket_file or HELPS.get(row.collector, ("net_admin",)))
            missing = [name for name in wanted if name not in held]
            remedy = "needs " + " and ".join(f"CAP_{name.upper()}" for name in missing) if missing else "run as root"
        elif row.status == "timeout":
            remedy = "give more time with --deadline"
        else:
            continue
        yield Advice(collector=row.collector, why=row.detail or row.status, remedy=remedy)
