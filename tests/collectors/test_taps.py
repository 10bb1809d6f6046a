"""Taps and their holders on a real kernel: names, namespaces, queues, and what points to them."""

import os
from typing import Any

import pytest

from netdiag.collect import Options
from netdiag.collectors import taps
from netdiag.index.taps import holders_of, pointers, unattached
from netdiag.model.tap import TapHolder, Taps
from netdiag.rules.build import HostBuilder
from netdiag.sources.live import LiveSource
from tests.lab import Host, Lab
from tests.lab.taps import IFF_MULTI_QUEUE, IFF_NO_PI, IFF_TAP, attach, hold


def read(host: Host) -> tuple[Taps, str, str, int]:
    def inside() -> Any:
        collected = taps.collect(LiveSource(), Options())
        return collected.tables["taps"], collected.status, collected.detail, collected.rows

    found: tuple[Taps, str, str, int] = host.call(inside)
    return found


def test_holders_of_every_kind(lab: Lab) -> None:
    host = lab.host("node1")
    host.ip("tuntap add dev tap0 mode tap\ntuntap add dev pool0 mode tap\ntuntap add dev mq0 mode tap multi_queue")
    hold(host, "tap0", comm="firecracker")
    hold(host, "mq0", comm="qemu-system-x86", multi_queue=True, count=2)

    def refused() -> None:
        os.open("/dev/net/tun", os.O_RDWR)
        with pytest.raises(OSError, match="busy"):
            attach("tap0")

    hold(host, "own0", comm="vmm", first=refused)
    table, status, detail, rows = read(host)
    assert (status, detail, rows) == ("ok", "", 4)
    seen = {holder.ifname: (holder.comm, holder.vmm, holder.queues) for holder in table.holders}
    assert seen == {
        "tap0": ("firecracker", "firecracker", 1),
        "mq0": ("qemu-system-x86", "qemu", 2),
        "own0": ("vmm", None, 1),
        None: ("vmm", None, 1),
    }
    assert {holder.device_netns for holder in table.holders if holder.ifname} == {table.netns}
    assert [holder.comm for holder in unattached(table)] == ["vmm"]


def test_holder_in_another_namespace(lab: Lab) -> None:
    """The device was moved away, its name exists twice: the open file tells which is which."""
    host = lab.host("node1")
    host.run("ip", "netns", "add", "vm1")
    host.run("ip", "netns", "exec", "vm1", "ip", "tuntap", "add", "dev", "tap0", "mode", "tap")
    hold(host, "tap0", comm="firecracker")
    table, *_ = read(host)
    (mine,) = table.holders
    assert mine.device_netns == table.netns
    host.run("ip", "link", "set", "tap0", "netns", "vm1", "name", "tap1")
    host.ip("tuntap add dev tap1 mode tap")
    table, *_ = read(host)
    (moved,) = table.holders
    assert (moved.ifname, moved.netns) == ("tap1", table.netns)
    assert moved.device_netns != table.netns
    tables = HostBuilder().link("tap1", kind="tun", info={"type": "tap"}, carrier=False).build()
    assert holders_of(table, tables.links[-1]) == ()


def test_without_the_open_file_the_namespace_of_the_process_counts() -> None:
    link = HostBuilder().link("tap0", kind="tun", info={"type": "tap"}).build().links[-1]
    here = TapHolder(pid=1, comm="a", ifname="tap0", netns=10)
    away = TapHolder(pid=2, comm="b", ifname="tap0", netns=11)
    assert holders_of(Taps(holders=(here, away), netns=10), link) == (here,)
    assert holders_of(Taps(holders=(away,), netns=10), link) == (away,)
    sure = TapHolder(pid=3, comm="c", ifname="tap0", netns=11, device_netns=10)
    assert holders_of(Taps(holders=(sure, away), netns=10), link) == (sure,)
    other = TapHolder(pid=3, comm="c", ifname="tap0", netns=10, device_netns=11)
    assert holders_of(Taps(holders=(other,), netns=10), link) == ()


def test_what_points_to_a_tap() -> None:
    host = HostBuilder().link("eth0").link("tap0", kind="tun", info={"type": "tap"}).link("tap1", kind="tun")
    host.address("tap0", "10.0.0.1/24").route("10.1.0.5/32", dev="tap0").route("2001:db8::5/128", dev="tap0")
    host.route("10.9.0.0/16", hops=[host.hop("tap0"), host.hop("tap1")]).route("10.8.0.0/16", dev="eth0")
    host.neighbour("10.0.0.5", dev="tap0").neighbour("2001:db8::5", dev="tap1", flags=8)
    tables = host.build()
    at = {link.ifname: link.ifindex for link in tables.links}
    found = pointers([at["tap0"], at["tap1"]], tables.routes, tables.routes6, tables.neighbours)
    routes = {route.dst for route in tables.routes.rows(list(found[at["tap0"]].routes))}
    assert routes == {"10.0.0.0/24", "10.1.0.5/32", "10.9.0.0/16"}
    assert len(found[at["tap0"]].routes6) == 1
    assert len(found[at["tap1"]].routes) == 1
    assert (len(found[at["tap0"]].neighbours), len(found[at["tap1"]].proxies)) == (1, 1)


def test_flags_of_the_devices_agree_with_iproute2(lab: Lab) -> None:
    host = lab.host("node1")
    hold(host, "mq0", multi_queue=True)
    code, out, _ = host.netdiag("show", "taps", "--json")
    assert code == 0
    assert '"multi_queue":true' in out
    assert IFF_MULTI_QUEUE & (IFF_TAP | IFF_NO_PI) == 0
