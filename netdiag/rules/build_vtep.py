"""Examples of a VXLAN device without an underlay of its own: its forwarding entries tell where it sends."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.rules.build import HostBuilder
from netdiag.rules.build_fdb import entry, fdb
from netdiag.rules.shape import Example


def examples() -> Iterator[Example]:
    """For tunnel-mtu-headroom-missing: ends in the forwarding table, local address, MTU, how many findings."""
    for name, why, ends, local, mtu, fires in (
        ("ends in the forwarding table", "as agents of overlays write them", ["192.0.2.2"], "192.0.2.1", 1451, 1),
        ("ends in the forwarding table, it fits", "50 bytes are left", ["192.0.2.2"], "192.0.2.1", 1450, 0),
        ("IPv6 ends in the forwarding table", "70 bytes", ["2001:db8::7"], "2001:db8::1", 1431, 1),
        ("IPv6 ends in the forwarding table, it fits", "70 bytes are left", ["2001:db8::7"], "2001:db8::1", 1430, 0),
        ("one of the ends by a narrow way", "its packets are lost", ["192.0.2.2", "10.9.0.2"], "192.0.2.1", 1450, 1),
        ("ends that no route leads to", "it does not get as far", ["203.0.113.9"], "192.0.2.1", 9000, 0),
    ):
        info: dict[str, Any] = {"id": 5, "local": local, "df": "set", "port": 4789}
        host = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24").address("eth0", "2001:db8::1/64")
        host.link("eth1", mtu=1400).address("eth1", "10.9.0.1/24").link("t0", kind="vxlan", mtu=mtu, info=info)
        rows = [entry(host, f"02:00:00:00:00:0{n}", end, dev="t0") for n, end in enumerate(ends)]
        yield Example(name=name, why=why, tables=replace(host.build(), fdb=fdb(rows)), fires=fires)
    alone = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24")
    alone.link("t0", kind="vxlan", mtu=9000, info={"id": 5, "remote": "0.0.0.0"})
    yield Example(name="no device and no far end", why="nobody knows where it sends", tables=alone.build())
    why = "only they would tell"
    yield Example(name="entries that were not read", why=why, tables=alone.build(), late=("fdb",), unjudged=True)
