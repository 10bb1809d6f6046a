"""Interfaces and addresses of a rich namespace, decoded, against `ip -j -d` and /proc/sys of the same namespace."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netdiag.model.link import IFF_UP, Link
from netdiag.sources.netlink import requests
from netdiag.sources.netlink.addresses import AddressSink
from netdiag.sources.netlink.links import LinkSink
from netdiag.sources.netlink.transport import dump
from tests.lab import Host, Lab

LINKS = """
    link add v0 mtu 1400 numtxqueues 3 type veth peer name v1
    link set v0 up alias "hello world" group 7 txqlen 77 promisc on
    link property add dev v0 altname uplink altname wan
    link set v1 up
    link add away type veth peer name home
    link add br0 type bridge stp_state 1 forward_delay 400 ageing_time 5000 nf_call_iptables 1
    link set home master br0
    link set br0 up
    link set home up
    link set home type bridge_slave cost 77 hairpin on isolated on neigh_suppress on
    link add vx0 type vxlan id 5 local 192.0.2.1 remote 192.0.2.2 dstport 4789 dev v0 ttl 7 df set gbp
    link add vx6 type vxlan id 6 local 2001:db8::1 group ff05::5 dev v0 dstport 4790 nolearning
    link add vxm type vxlan external dstport 4791
    link add mv0 link v0 type macvlan mode bridge
    link add mt0 link v0 type macvtap mode vepa
    tuntap add dev tap0 mode tap vnet_hdr multi_queue user 1000 group 100
    tuntap add dev tun0 mode tun
"""
OPTIONAL = """
    link add vl0 link v0 type vlan id 7
    link add bo0 type bond mode 802.3ad miimon 100
    link add vrf0 type vrf table 10
    link add dum0 type dummy
    link add gre1 type gre local 192.0.2.1 remote 192.0.2.2 ttl 64 key 5
    link add ipip1 type ipip local 192.0.2.1 remote 192.0.2.2
    link add sit1 type sit local 192.0.2.1 remote 192.0.2.2
    link add ip6t type ip6tnl local 2001:db8::1 remote 2001:db8::2
    link add gen0 type geneve id 5 remote 192.0.2.3
    link add nk0 type netkit
    link add wg0 type wireguard
"""
"""Kinds that a kernel may be built without."""
ADDRESSES = """
    address add 192.0.2.1/24 brd + dev v0
    address add 192.0.2.3/24 dev v0 label v0:second valid_lft 1000 preferred_lft 500
    address add 10.9.0.1 peer 10.9.0.2/32 dev v1 metric 77
    address add 2001:db8::1/64 dev v0 nodad
    address add 2001:db8::2/64 dev v0 home noprefixroute preferred_lft 0 valid_lft 600
    address add 2001:db8:1::1 peer 2001:db8:1::2/128 dev v1 nodad
    address add 2001:db8::3/64 dev v0 mngtmpaddr nodad
"""


@pytest.fixture
def host(lab: Lab) -> Host:
    made, other = lab.host("h"), lab.host("other")
    made.ip(LINKS + ADDRESSES)
    made.ip(f"link set away netns {other.netns_path}")
    for line in OPTIONAL.strip().splitlines():
        made.run("ip", *line.split(), check=False)
    return made


def links_of(host: Host) -> tuple[dict[str, Link], LinkSink]:
    sink = LinkSink()
    host.inside_network(lambda: dump(requests.links(), sink))
    return {link.ifname: link for link in sink.links}, sink


def said(host: Host, *words: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(host.run("ip", "-j", "-d", "-s", *words).stdout)
    return rows


PLAIN: dict[str, Callable[[Link], Any]] = {
    "ifindex": lambda link: link.ifindex,
    "mtu": lambda link: link.mtu,
    "min_mtu": lambda link: link.min_mtu or 0,
    "max_mtu": lambda link: link.max_mtu or 0,
    "qdisc": lambda link: link.qdisc,
    "operstate": lambda link: link.operstate.upper(),
    "group": lambda link: str(link.group) if link.group else "default",
    "txqlen": lambda link: link.txqlen,
    "address": lambda link: link.address,
    "broadcast": lambda link: link.broadcast,
    "promiscuity": lambda link: link.promiscuity,
    "num_tx_queues": lambda link: link.num_tx_queues,
    "num_rx_queues": lambda link: link.num_rx_queues,
    "gso_max_size": lambda link: link.gso_max_size,
    "gso_max_segs": lambda link: link.gso_max_segs,
    "ifalias": lambda link: link.alias,
    "altnames": lambda link: list(link.altnames),
    "link_netnsid": lambda link: link.link_netnsid,
    "link_index": lambda link: link.link,
}


def test_every_link_is_what_ip_says_it_is(host: Host) -> None:
    links, sink = links_of(host)
    rows = {row["ifname"]: row for row in said(host, "link")}
    assert list(links) == list(rows), "the same interfaces in the same order"
    names = {row["ifindex"]: name for name, row in rows.items()}
    for name, row in rows.items():
        link = links[name]
        for key, read in PLAIN.items():
            if key in row:
                assert read(link) == row[key], f"{name} {key}"
        assert ("UP" in row["flags"], "LOWER_UP" in row["flags"]) == (link.up, link.lower_up)
        assert names.get(link.master or 0) == row.get("master")
        if "link" in row and row["link"] is not None:
            assert names[link.link or 0] == row["link"]
        counters = row["stats64"]
        assert counters["rx"]["packets"] <= link.stats.rx_packets + 50
        assert (link.stats.tx_dropped, link.stats.rx_nohandler) == (
            counters["tx"]["dropped"],
            counters["rx"].get("nohandler", 0),
        )
        assert link.kind == row.get("linkinfo", {}).get("info_kind")
        assert link.slave_kind == row.get("linkinfo", {}).get("info_slave_kind")
    assert (sink.unknown, sink.malformed) == ({}, 0)


SPELLED = {
    # ip prints names of interfaces where the kernel and we have numbers, flags by name, and timers that run
    "link",
    "flags",
    "hello_timer",
    "tcn_timer",
    "topology_change_timer",
    "gc_timer",
    "message_age_timer",
    "forward_delay_timer",
    "hold_timer",
    "topology_change_ack",
    "config_pending",
    "no_linklocal_learn",
    "mcast_vlan_snooping",
    "mst_enabled",
    "group_fwd_mask_str",
    "mcast_eht_hosts_limit",
    "mcast_eht_hosts_cnt",
    "ttl",  # "auto" for 0
    "bclim",
    "external",
    "remote",
    "local",
    "mode",
    "pmtudisc",
    "ikey",  # as if keys were addresses
    "okey",
    "arp_validate",  # null for "none"
    "proto",  # of an IP tunnel, by name
    "prefix",  # of 6rd
    "prefixlen",
    "tclass",  # out of flowinfo
    "flowlabel",
    "user",
    "group",
    "id",  # of a bridge port: ip prints hexadecimal text
    "no",
    "designated_port",
    "group_fwd_mask",
    "state",
}


@pytest.mark.parametrize("values", ["info", "slave_info"])
def test_what_a_kind_says_is_what_ip_says(host: Host, values: str) -> None:
    links, _ = links_of(host)
    compared, wrong = 0, []
    for row in said(host, "link"):
        printed = row.get("linkinfo", {}).get("info_data" if values == "info" else "info_slave_data") or {}
        ours = getattr(links[row["ifname"]], values)
        for spelled, value in printed.items():
            # One name for either family here.
            key = spelled.removesuffix("6") if spelled in ("group6", "remote6", "local6") else spelled
            if key in SPELLED:
                continue
            mine = ours.get(key)
            if value is None or value is True:  # how ip prints a flag
                right = bool(mine)
            elif value is False or (isinstance(mine, bool) and value in (0, 1)):
                right = bool(mine) == bool(value)
            else:
                right = mine == value
            compared += 1
            if not right:
                wrong.append(f"{row['ifname']} {key}: {mine!r} is not {value!r}")
    assert not wrong, "\n".join(wrong)
    assert compared > (40 if values == "info" else 15)


def test_what_a_kind_says_in_its_own_words(host: Host) -> None:
    links, _ = links_of(host)
    v0 = links["v0"].ifindex
    assert links["v0"].info == {}
    vx0 = links["vx0"].info
    assert (vx0["id"], vx0["remote"], vx0["local"], vx0["link"], vx0["port"]) == (5, "192.0.2.2", "192.0.2.1", v0, 4789)
    assert (vx0["ttl"], vx0["df"], vx0["gbp"], vx0["learning"]) == (7, "set", True, True)
    vx6 = links["vx6"].info
    assert (vx6["group"], vx6["local"], vx6["learning"]) == ("ff05::5", "2001:db8::1", False)
    assert "remote" not in vx6
    assert links["vxm"].info["external"] is True
    assert (links["mv0"].info["mode"], links["mt0"].info["mode"]) == ("bridge", "vepa")
    assert (links["mv0"].link, links["mv0"].link_netnsid) == (v0, None)
    tap = links["tap0"].info
    assert (tap["type"], tap["vnet_hdr"], tap["multi_queue"], tap["persist"]) == ("tap", True, True, True)
    assert (tap["user"], tap["group"]) == (1000, 100)
    assert (links["tun0"].info["type"], links["tun0"].address, links["tun0"].type) == ("tun", None, 65534)
    bridge = links["br0"].info
    assert (bridge["stp_state"], bridge["nf_call_iptables"]) == (1, 1)
    assert (bridge["forward_delay"], bridge["ageing_time"]) == (400, 5000)
    home = links["home"]
    assert (home.slave_kind, home.slave_info["cost"], home.slave_info["hairpin"]) == ("bridge", 77, True)
    assert home.slave_info["isolated"] is True
    assert home.link_netnsid is not None, "its peer is in another namespace"
    assert (home.carrier, home.operstate) == (False, "lowerlayerdown")
    assert links["lo"].kind is None


NEVER_SENT = {"stable_secret", "ra_honor_pio_life", "ra_honor_pio_pflag", "regen_min_advance"}
"""Settings of an interface that have no place in IFLA_INET6_CONF (net/ipv6/addrconf.c, ipv6_store_devconf())."""


def proc_conf(host: Host, version: int, name: str) -> dict[str, int]:
    folder = Path(f"/proc/sys/net/ipv{version}/conf/{name}")
    script = f"cd {folder} && for key in *; do [ $key = stable_secret ] || echo $key $(cat $key); done"
    lines = [line.split() for line in host.sh(script).stdout.splitlines()]
    return {key: int(value) for key, value in lines}


@pytest.mark.parametrize("version", [4, 6])
def test_every_sysctl_of_a_link_is_the_one_in_proc(host: Host, version: int) -> None:
    """Each is given a value of its own where it takes one, so that two that are swapped cannot pass."""
    folder = f"/proc/sys/net/ipv{version}/conf/v0"
    # What the kernel does not take is set to 1 or left. Settings that would act on the test itself are left alone.
    host.sh(f"""
        i=2; cd {folder}
        for key in *; do
            i=$((i+1))
            case $key in stable_secret|disable_ipv6|mtu|forwarding) continue;; esac
            echo $i > $key || echo 1 > $key || true
        done 2> /dev/null
    """)
    theirs = proc_conf(host, version, "v0")
    links, _ = links_of(host)
    ours = links["v0"].inet_conf if version == 4 else links["v0"].inet6_conf
    shared = {key: value for key, value in theirs.items() if key in ours}
    assert len(shared) > 20
    assert len(set(shared.values())) > 15, "too few values of their own for this test to mean anything"
    # Unsigned for /proc, signed in the array.
    assert {key: ours[key] & 0xFFFFFFFF for key in shared} == {key: value & 0xFFFFFFFF for key, value in shared.items()}
    assert set(theirs) - set(ours) <= NEVER_SENT


def test_every_address_is_what_ip_says_it_is(host: Host) -> None:
    sink = AddressSink()
    host.inside_network(lambda: dump(requests.addresses(), sink))
    assert (sink.unknown, sink.malformed) == ({}, 0)
    ours = {(row.ifindex, row.local): row for row in sink.addresses}
    seen = 0
    for row in said(host, "address"):
        for info in row["addr_info"]:
            mine = ours[row["ifindex"], info["local"]]
            seen += 1
            assert (mine.family, mine.prefixlen, mine.peer) == (info["family"], info["prefixlen"], info.get("address"))
            assert (mine.broadcast, mine.label) == (info.get("broadcast"), info.get("label"))
            assert {0: "global", 253: "link", 254: "host"}[mine.scope] == info["scope"]
            assert mine.rt_priority == info.get("metric")
            for ours_lft, their_lft in (
                (mine.valid_lft, info["valid_life_time"]),
                (mine.preferred_lft, info["preferred_life_time"]),
            ):
                assert (ours_lft is None) == (their_lft == 0xFFFFFFFF)
                assert ours_lft is None or abs(ours_lft - their_lft) <= 2
            for bit, name in ((0x20, "deprecated"), (0x200, "noprefixroute"), (0x02, "nodad"), (0x10, "home")):
                assert bool(mine.flags & bit) == info.get(name, False), name
            if info["family"] == "inet":
                assert bool(mine.flags & 1) == info.get("secondary", False)
            assert bool(mine.flags & 0x100) == info.get("mngtmpaddr", False)
            assert bool(mine.flags & 0x80) == (not info.get("dynamic", False))
    assert seen == len(sink.addresses) > 8


def test_addresses_of_one_family(host: Host) -> None:
    sink = AddressSink()
    host.inside_network(lambda: dump(requests.addresses("inet6"), sink))
    assert {row.family for row in sink.addresses} == {"inet6"}


def test_a_link_that_dies_in_another_namespace_is_asked_for_by_netnsid(host: Host) -> None:
    home = links_of(host)[0]["home"]
    sink = LinkSink()
    host.inside_network(lambda: dump(requests.links(netnsid=home.link_netnsid), sink))
    peer = next(link for link in sink.links if link.ifindex == home.link)
    assert (peer.ifname, peer.kind, bool(peer.flags & IFF_UP)) == ("away", "veth", False)
