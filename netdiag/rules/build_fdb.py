"""Forwarding entries of bridges and vxlan devices for the examples of rules. Wrong input raises: an example is code."""

from ipaddress import ip_address

import numpy as np

from netdiag.model.bridge import FLAGS, Fdb, FdbEntry
from netdiag.rules.build import HostBuilder


def entry(
    host: HostBuilder,
    lladdr: str,
    dst: str | None,
    *,
    dev: str = "vx0",
    state: int = 0x80,
    flags: int = 2,
    bridge: str = "br0",
    vlan: int | None = None,
    vni: int | None = None,
) -> FdbEntry:
    """An entry of ``dev`` itself, or with flags 0 of its bridge; NUD_PERMANENT unless ``state`` says else."""
    flag = ("self",) if flags & 2 else ()
    words = {0x80: "permanent", 0x40: "static", 2: ""}[state]
    more = ("extern_learn",) * bool(flags & 0x10) + ("sticky",) * bool(flags & 0x40)
    index = host.ifindex(dev)
    master = None if flags & 2 else host.ifindex(bridge)
    common = {"port": None, "updated": None, "used": None}
    return FdbEntry(
        ifindex=index,
        lladdr=lladdr,
        master=master,
        state=words,
        flags=flag + more,
        dst=dst,
        vlan=vlan,
        vni=vni,
        **common,
    )


def fdb(rows: list[FdbEntry]) -> Fdb:
    """Columns of readable rows."""
    states = {"permanent": 0x80, "static": 0x40, "": 2}
    bits = {word: bit for bit, word in FLAGS.items()}
    lladdrs = b"".join(bytes.fromhex(row.lladdr.replace(":", "")) for row in rows)
    raw = [b"" if row.dst is None else ip_address(row.dst).packed for row in rows]
    count = len(rows)
    return Fdb(
        ifindex=np.array([row.ifindex for row in rows], np.int32),
        lladdr=np.frombuffer(lladdrs, np.uint8).reshape(count, 6),
        master=np.array([row.master or 0 for row in rows], np.int32),
        vlan=np.array([row.vlan or 0 for row in rows], np.uint16),
        state=np.array([states[row.state] for row in rows], np.uint16),
        flags=np.array([sum(bits.get(word, 0) for word in row.flags) for row in rows], np.uint8),
        dst=np.frombuffer(b"".join(each.ljust(16, b"\0") for each in raw), np.uint8).reshape(count, 16),
        dst_len=np.array([len(each) for each in raw], np.uint8),
        vni=np.array([row.vni or 0 for row in rows], np.uint32),
        port=np.zeros(count, np.uint16),
        updated=np.full(count, np.nan, np.float32),
        used=np.full(count, np.nan, np.float32),
    )
