"""Traffic control, forwarding entries, devices and CPUs as netdiag and as the stock commands read them."""

from __future__ import annotations

import json
import re
from struct import pack
from typing import Any

from netdiag.collectors import Options, bonds, ethtool, fdb, qdiscs, softirq
from netdiag.model.tc import Tc, TcAction, handle_text
from netdiag.sources.live import LiveSource
from netdiag.sources.netlink.requests import attribute
from netdiag.sources.netlink.tc import action_of
from tests.lab import Host, Lab

STATS = ("bytes", "packets", "drops", "overlimits", "requeues", "backlog", "qlen")
SHAPED = """
qdisc add dev eth0 root handle 1: htb default 20
class add dev eth0 parent 1: classid 1:1 htb rate 100mbit ceil 200mbit
class add dev eth0 parent 1:1 classid 1:20 htb rate 10mbit ceil 20mbit burst 15k
qdisc add dev eth0 parent 1:20 handle 20: pfifo limit 77
qdisc add dev eth1 root tbf rate 1mbit burst 10kb limit 3000
qdisc add dev eth2 clsact
filter add dev eth0 parent 1: protocol ip prio 3 u32 match ip dport 53 0xffff flowid 1:20
"""


def shaped(lab: Lab) -> Host:
    host, peer = lab.host("edge1"), lab.host("edge2")
    for number in range(3):
        lab.link(host, f"eth{number}", peer, f"eth{number}", a_addresses=f"192.0.2.{number * 4 + 1}/30")
    host.sh(f"tc -batch - <<'END'\n{SHAPED}END")
    return host


def same(ours: Any, stock: dict[str, Any], options: tuple[str, ...]) -> None:
    for name in STATS:
        assert getattr(ours.stats, name) == stock.get(name, 0), (name, stock)
    told = stock.get("options", stock)
    for name in options:
        assert ours.options[name] == told[name], (name, stock, ours.options)


def test_tc_agrees(lab: Lab) -> None:
    host = shaped(lab)
    lab.send_udp(host, "192.0.2.5", 9, count=20, size=1400)

    def looks() -> tuple[Tc, list[dict[str, Any]], str, Tc]:
        def ours() -> Tc:
            table: Tc = host.call(lambda: qdiscs.collect(LiveSource(), Options(interval=0))).tables["qdiscs"]
            return table

        first, said = ours(), json.loads(host.run("tc", "-j", "-s", "qdisc", "show").stdout)
        # This iproute2 has no JSON of htb classes.
        return first, said, host.run("tc", "-s", "class", "show", "dev", "eth0").stdout, ours()

    seen: list[tuple[Tc, list[dict[str, Any]], str, Tc]] = []

    def quiet() -> bool:
        seen[:] = [looks()]
        return seen[0][0] == seen[0][3]

    lab.wait(quiet, 10, "no packet between two looks")
    table, stock, text, _ = seen[0]
    assert len(stock) == len(table.qdiscs)
    options = {"htb": ("r2q", "default"), "tbf": ("rate", "burst", "limit"), "pfifo": ("limit",)}
    for row, said in zip(table.qdiscs, stock, strict=True):
        assert (row.kind, handle_text(row.handle)) == (said["kind"], said["handle"])
        same(row, said, options.get(row.kind, ()))
    assert {row.kind for row in table.qdiscs} == {"noqueue", "htb", "pfifo", "tbf", "clsact"}
    told = re.findall(r"class htb (\S+) .*burst (\w+) cburst \w+ *\n Sent (\d+) bytes (\d+) pkt \(dropped (\d+),", text)
    sizes = {"1600b": 1600, "15Kb": 15 * 1024}
    assert sorted(
        (handle_text(row.handle), row.options["burst"], row.stats.bytes, row.stats.packets, row.stats.drops)
        for row in table.classes
    ) == sorted((handle, sizes[burst], int(a), int(b), int(c)) for handle, burst, a, b, c in told)
    leaf = next(row for row in table.classes if row.handle == 0x10020)
    assert (leaf.options["rate"], leaf.options["ceil"], leaf.leaf) == (1_250_000, 2_500_000, 0x200000)
    assert [(row.kind, row.priority, row.classid) for row in table.filters if row.classid] == [("u32", 3, 0x10020)]


def test_actions_are_read() -> None:
    """Written after include/uapi/linux/tc_act: not every test kernel has them."""
    gact = {1: b"gact\0", 2: attribute(2, pack("=IIiii", 1, 0, 2, 1, 1))}
    assert action_of(gact) == TcAction(kind="gact", verdict="drop")
    mirred = {1: b"mirred\0", 2: attribute(2, pack("=IIiiiiI", 1, 0, 4, 1, 1, 1, 7))}
    assert action_of(mirred) == TcAction(kind="mirred", verdict="stolen", ifindex=7, direction="egress redirect")
    police = attribute(1, pack("=IiIII", 1, 2, 0, 0, 0) + pack("=BBHhHI", 0, 1, 0, 0, 0, 125_000) + bytes(32))
    assert action_of({1: b"police\0", 2: police}) == TcAction(kind="police", verdict="drop", rate=125_000)


def test_two_looks_and_the_table_shown(lab: Lab) -> None:
    host = shaped(lab)
    status, output, _ = host.netdiag("show", "qdiscs", "--json", "--interval", "0.1", "--dev", "eth1")
    (row,) = json.loads(output)
    assert (status, row["kind"], row["delta_drops"]) == (0, "tbf", 0)
    for name in ("ethtool", "softirq", "fdb"):
        assert host.netdiag("show", name, "--json")[0] == 0


def test_fdb_agrees(lab: Lab) -> None:
    host = lab.switch("worker")
    lab.plug(lab.host("web"), "eth0", host, "10.0.0.1/24")
    host.ip(
        "link add vx0 type vxlan id 42 dstport 4789 local 127.0.0.1\nlink set dev vx0 master br0\nlink set dev vx0 up"
    )
    host.sh(
        "bridge fdb append 00:00:00:00:00:00 dev vx0 dst 192.0.2.7\n"
        "bridge fdb add 02:00:00:00:00:07 dev vx0 dst 2001:db8::7 port 8472 vni 5 self || true\n"
        "bridge fdb add 02:00:00:00:00:09 dev web0 master static\n"
        "bridge mdb add dev br0 port web0 grp 239.1.2.3 permanent"
    )
    names = {
        int(i): n
        for i, n in (
            line.split()
            for line in host.sh(
                "for i in /sys/class/net/*; do echo $(cat $i/ifindex) ${i##*/}; done"
            ).stdout.splitlines()
        )
    }

    def told() -> list[tuple[object, ...]]:
        return sorted(
            (e["mac"], e["ifname"], e.get("master"), e.get("vlan"), e.get("dst"), e["state"], sorted(e["flags"]))
            for e in json.loads(host.run("bridge", "-j", "fdb").stdout)
        )

    # The bridge learns at any moment from what "web" says of itself: only a table that stood still can be compared.
    for _ in range(20):
        stock = told()
        collected = host.call(lambda: fdb.collect(LiveSource(), Options(interval=0)))
        if told() == stock:
            break
    ours = sorted(
        (e.lladdr, names[e.ifindex], names.get(e.master or 0), e.vlan, e.dst, e.state, sorted(e.flags))
        for e in collected.tables["fdb"].rows()
    )
    assert str(ours) == str(stock)
    assert len(ours) > 8
    bridging = collected.tables["bridging"]
    assert [(row.group, row.permanent) for row in bridging.mdb if row.group.startswith("239")] == [("239.1.2.3", True)]


def test_ethtool_agrees(lab: Lab) -> None:
    host = shaped(lab)
    host.run("ethtool", "-K", "eth0", "tso", "off")
    table = host.call(lambda: ethtool.collect(LiveSource(), Options(interval=0))).tables["ethtool"]
    device = next(row for row in table.devices if row.ifname == "eth0")
    stock = json.loads(host.run("ethtool", "--json", "-k", "eth0").stdout)[0]
    raw = {name: said for name, said in stock.items() if name in table.feature_names}
    assert len(raw) > 30
    for name, said in raw.items():
        assert table.has(device.features, name) == said["active"], name
    assert table.has(device.features, "tx-tcp-segmentation") is False
    assert (device.driver, device.speed, device.duplex) == ("veth", 10000, "full")


def test_cpus(lab: Lab) -> None:
    host = shaped(lab)
    table = host.call(lambda: softirq.collect(LiveSource(), Options(interval=0.05))).tables["softirq"]
    assert table.sysfs
    assert len(table.first.cpus) == len(table.second.cpus) > 0


BONDING = """Ethernet Channel Bonding Driver: v6.1.0

Bonding Mode: IEEE 802.3ad Dynamic link aggregation
MII Status: up

802.3ad info
LACP active: on
Active Aggregator Info:
\tAggregator ID: 1
\tNumber of ports: 1

Slave Interface: eth0
MII Status: up
Permanent HW addr: 02:00:00:00:00:01
Aggregator ID: 1
Actor Churn State: none
Partner Churn State: churned
details actor lacp pdu:
    system priority: 65535
    system mac address: 02:00:00:00:00:01
    port key: 15
details partner lacp pdu:
    system priority: 65535
    system mac address: 02:00:00:00:00:99
    oper key: 7

Slave Interface: eth1
MII Status: down
Aggregator ID: 2
Actor Churn State: churned
"""


def test_proc_bonding_is_read() -> None:
    bond = bonds.parse("bond0", BONDING)
    assert bond.active_aggregator == 1
    first, second = bond.legs
    assert (first.ifname, first.mii_status, first.aggregator, first.partner_churn) == ("eth0", "up", 1, "churned")
    assert (first.partner_mac, first.partner_key) == ("02:00:00:00:00:99", 7)
    assert (second.mii_status, second.aggregator, second.actor_churn) == ("down", 2, "churned")


def test_addresses_that_move_between_the_looks() -> None:
    here = {(2, "02:00:00:00:00:01", 0): 5, (2, "02:00:00:00:00:02", 7): 5, (2, "02:00:00:00:00:03", 0): 6}
    there = {(2, "02:00:00:00:00:01", 0): 6, (2, "02:00:00:00:00:02", 7): 5}
    (move,) = fdb.moves([here, there, here])
    assert (move.master, move.lladdr, move.vlan, move.ports, move.moves) == (2, "02:00:00:00:00:01", None, (5, 6, 5), 2)
    (move,) = fdb.moves([{(2, "02:00:00:00:00:02", 7): 5}, {}, {(2, "02:00:00:00:00:02", 7): 6}])
    assert (move.vlan, move.ports, move.moves) == (7, (5, 6), 1)
    assert fdb.moves([here]) == fdb.moves([]) == ()
