"""The link stack on small hosts, and on rows that cannot be true."""

from typing import Any

import pytest

from netdiag.index.links import Layer, LinkStack
from netdiag.model.link import Link, PeerLink


def link(ifindex: int, ifname: str, **fields: Any) -> Link:
    return Link(ifindex=ifindex, ifname=ifname, **fields)


def names(layers: tuple[Layer, ...]) -> list[tuple[str, str, int]]:
    return [(layer.link.ifname, layer.relation, layer.depth) for layer in layers]


def test_a_vxlan_in_a_bridge_leads_down_to_its_underlay() -> None:
    stack = LinkStack(
        [
            link(1, "br0", kind="bridge", mtu=1450),
            link(2, "vx0", kind="vxlan", mtu=1450, master=1, link=3),
            link(3, "eth0.5", kind="vlan", mtu=1500, link=4),
            link(4, "eth0", mtu=1500),
            link(5, "tap0", kind="tun", mtu=1500, master=1),
        ]
    )
    assert names(stack.egress_stack(1)) == [
        ("br0", "self", 0),
        ("vx0", "port", 1),
        ("eth0.5", "lower", 2),
        ("eth0", "lower", 3),
        ("tap0", "port", 1),
    ]
    assert [port.ifname for port in stack.ports(1)] == ["tap0", "vx0"]
    assert [upper.ifname for upper in stack.uppers(3)] == ["vx0"]
    assert [upper.ifname for upper in stack.uppers(2)] == ["br0"]
    master = stack.master(5)
    assert master is not None and master.ifname == "br0"


@pytest.mark.parametrize(
    ("info", "expected"),
    [({"remote": "192.0.2.1"}, 1450), ({"remote6": "2001:db8::1"}, 1430), ({"group": "ff05::1"}, 1430), ({}, 1450)],
)
def test_the_path_mtu_of_a_vxlan_is_what_its_underlay_leaves(info: dict[str, Any], expected: int) -> None:
    stack = LinkStack([link(2, "vx0", kind="vxlan", mtu=1500, link=3, info=info), link(3, "eth0", mtu=1500)])
    assert stack.path_mtu(2) == expected


def test_the_smallest_port_bounds_a_bridge() -> None:
    ports = [link(2, "a", master=1, mtu=9000), link(3, "b", master=1, mtu=1400)]
    assert LinkStack([link(1, "br0", kind="bridge", mtu=9000), *ports]).path_mtu(1) == 1400


def test_two_ports_over_one_device_both_count() -> None:
    stack = LinkStack(
        [
            link(1, "br0", kind="bridge", mtu=1500),
            link(2, "v", kind="vlan", link=4, master=1, mtu=1500),
            link(3, "vx0", kind="vxlan", link=4, master=1, mtu=1500),
            link(4, "eth0", mtu=1500),
        ]
    )
    assert stack.path_mtu(1) == 1450


def test_members_of_a_vrf_do_not_bound_it() -> None:
    stack = LinkStack([link(1, "red", kind="vrf", mtu=65575), link(2, "eth0", master=1, mtu=1500)])
    assert stack.path_mtu(1) == 65575
    assert names(stack.egress_stack(1)) == [("red", "self", 0)]


def test_a_veth_has_no_device_below_it_but_a_far_end() -> None:
    far = link(2, "eth0", kind="veth", mtu=1400)
    stack = LinkStack(
        [
            link(2, "a", kind="veth", link=3),
            link(3, "b", kind="veth", link=2),
            link(4, "c", kind="veth", link=2, link_netnsid=0),
            link(5, "d", kind="veth", link=2, link_netnsid=1),
        ],
        [PeerLink(ifindex=4, peer=far)],
    )
    peer = stack.veth_peer(2)
    assert peer is not None and peer.ifname == "b"
    assert stack.veth_peer(4) == far, "index 2 of the other namespace is not our index 2"
    assert stack.veth_peer(5) is None, "that namespace could not be asked"
    assert names(stack.egress_stack(2)) == [("a", "self", 0)]
    assert stack.uppers(2) == ()


def test_a_macvlan_whose_parent_is_in_another_namespace_stands_alone() -> None:
    stack = LinkStack([link(2, "m", kind="macvlan", link=3, link_netnsid=0, mtu=1500), link(3, "eth0", mtu=1280)])
    assert stack.lower(2) is None
    assert stack.path_mtu(2) == 1500


def test_rings_end_where_they_close() -> None:
    stack = LinkStack(
        [link(1, "a", kind="vlan", link=2, mtu=1500), link(2, "b", kind="vlan", link=1, mtu=1400), link(3, "c", link=3)]
    )
    assert names(stack.egress_stack(1)) == [("a", "self", 0), ("b", "lower", 1)]
    assert stack.path_mtu(1) == 1400
    assert stack.lower(3) is None
    own_master = LinkStack([link(1, "x", master=1)])
    assert names(own_master.egress_stack(1)) == [("x", "self", 0)]


def test_a_name_beats_an_alternative_name() -> None:
    stack = LinkStack([link(1, "eth0"), link(2, "eth1", altnames=("eth0", "uplink"))])
    assert stack.by_name["eth0"].ifindex == 1
    assert stack.by_name["uplink"].ifindex == 2


def test_an_index_that_does_not_exist() -> None:
    stack = LinkStack([])
    assert stack.egress_stack(7) == ()
    assert stack.path_mtu(7) is None
    assert stack.veth_peer(7) is None
    assert stack.master(7) is None
