"""The tables of the namespace that the calling process is in, and the sysctls that routing depends on."""

import os
import socket
from pathlib import Path
from struct import unpack

from netdiag.model.nexthop import Nexthop, NexthopMember
from netdiag.model.policyrule import PolicyRule
from netdiag.model.snapshot import Tables
from netdiag.model.sysctl import Sysctls
from netdiag.sources.netlink import requests, transport
from netdiag.sources.netlink.addresses import AddressSink
from netdiag.sources.netlink.attributes import index
from netdiag.sources.netlink.links import LinkSink
from netdiag.sources.netlink.messages import walk_messages
from netdiag.sources.netlink.neighbours import NeighbourColumns
from netdiag.sources.netlink.routes import RouteColumns

SETTINGS = (
    "net.ipv4.conf.all.ignore_routes_with_linkdown",
    "net.ipv4.conf.all.route_localnet",
    "net.ipv4.fib_multipath_use_neigh",
    "net.ipv6.conf.all.forwarding",
)
ACTIONS = {1: "lookup", 2: "goto", 3: "nop", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
FIB_RULE_INVERT, FIB_RULE_UNRESOLVED, FIB_RULE_IIF_DETACHED, FIB_RULE_OIF_DETACHED = 2, 4, 8, 16


class Messages:
    """A sink that keeps whole messages."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []

    def feed(self, buffer: memoryview) -> None:
        octets = bytes(buffer)
        self.payloads += [octets[m.start : m.end] for m in walk_messages(octets)]

    def reset(self) -> None:
        self.payloads.clear()


def _name(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode()


def decode_rule(payload: bytes) -> PolicyRule:
    family, dst_len, src_len, tos, table, _, _, action, flags = unpack("=8BI", payload[:12])
    attributes = {kind: bytes(value) for kind, value in index(payload[12:]).items()}
    number = {kind: unpack("=I", value)[0] for kind, value in attributes.items() if len(value) == 4}
    octet = {kind: value[0] for kind, value in attributes.items() if len(value) == 1}
    pair = socket.AF_INET if family == socket.AF_INET else socket.AF_INET6

    def ports(kind: int) -> tuple[int | None, int | None]:
        return unpack("=HH", attributes[kind]) if kind in attributes else (None, None)

    def off(value: int | None) -> int | None:
        return None if value in (None, 0xFFFFFFFF) else value

    uid = unpack("=II", attributes[20]) if 20 in attributes else (None, None)
    l3mdev = bool(octet.get(19))
    known = {1, 2, 3, 4, 6, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 28, 29, 30}
    exact = [attributes[k] == b"\xff\xff" for k in (28, 29) if k in attributes]
    exact += [octet[30] == 0x3F for _ in (0,) if 30 in octet]
    return PolicyRule(
        family="inet" if family == socket.AF_INET else "inet6",
        priority=number.get(6, 0),
        action=ACTIONS.get(action, f"act{action}"),
        table=number.get(15, table) if action == 1 and not l3mdev else None,
        src=socket.inet_ntop(pair, attributes[2]) if 2 in attributes else None,
        src_len=src_len,
        dst=socket.inet_ntop(pair, attributes[1]) if 1 in attributes else None,
        dst_len=dst_len,
        iif=_name(attributes[3]) if 3 in attributes else None,
        iif_detached=bool(flags & FIB_RULE_IIF_DETACHED),
        oif=_name(attributes[17]) if 17 in attributes else None,
        oif_detached=bool(flags & FIB_RULE_OIF_DETACHED),
        fwmark=number.get(10),
        fwmask=number.get(16),
        tos=tos,
        dscp=octet.get(25),
        uid_start=uid[0],
        uid_end=uid[1],
        ip_proto=octet.get(22),
        sport_start=ports(23)[0],
        sport_end=ports(23)[1],
        dport_start=ports(24)[0],
        dport_end=ports(24)[1],
        l3mdev=l3mdev,
        suppress_prefixlength=off(number.get(14)),
        suppress_ifgroup=off(number.get(13)),
        goto=number.get(4),
        goto_unresolved=bool(flags & FIB_RULE_UNRESOLVED),
        invert=bool(flags & FIB_RULE_INVERT),
        protocol=octet.get(21, 0),
        unknown=len(set(attributes) - known) + exact.count(False),
    )


def decode_nexthop(payload: bytes) -> Nexthop:
    family, scope, protocol, _, flags = unpack("=4BI", payload[:8])
    attributes = {kind: bytes(value) for kind, value in index(payload[8:]).items()}
    names = {socket.AF_INET: "inet", socket.AF_INET6: "inet6"}
    raw = attributes.get(2, b"")
    members = [unpack("=IBBH", raw[at : at + 8]) for at in range(0, len(raw), 8)]
    gateway = attributes.get(6)
    return Nexthop(
        id=unpack("=I", attributes[1])[0],
        family=names.get(family),
        gateway=socket.inet_ntop(family, gateway) if gateway else None,
        oif=unpack("=I", attributes[5])[0] if 5 in attributes else None,
        flags=flags,
        scope=scope,
        protocol=protocol,
        blackhole=4 in attributes,
        fdb=11 in attributes,
        group=tuple(NexthopMember(id=member, weight=1 + low + (high << 8)) for member, low, high, _ in members),
        resilient=attributes.get(3) == b"\1\0",
    )


def read_tables() -> Tables:
    links, addresses, neighbours = LinkSink(), AddressSink(), NeighbourColumns()
    routes, routes6 = RouteColumns("inet"), RouteColumns("inet6")
    rules, rules6, nexthops = Messages(), Messages(), Messages()
    for request, sink in (
        (requests.links(), links),
        (requests.addresses(), addresses),
        (requests.routes("inet"), routes),
        (requests.routes("inet6"), routes6),
        (requests.rules("inet"), rules),
        (requests.rules("inet6"), rules6),
        (requests.nexthops(), nexthops),
        (requests.neighbours(), neighbours),
    ):
        transport.dump(request, sink)
    values = {}
    for name in SETTINGS:
        path = Path("/proc/sys", name.replace(".", os.sep))
        if path.exists():
            values[name] = path.read_text("ascii").strip()
    return Tables(
        links=tuple(links.links),
        addresses=tuple(addresses.addresses),
        routes=routes.finish(),
        routes6=routes6.finish(),
        rules=tuple(decode_rule(payload) for payload in (*rules.payloads, *rules6.payloads)),
        nexthops=tuple(decode_nexthop(payload) for payload in nexthops.payloads),
        neighbours=neighbours.finish(),
        sysctls=Sysctls(values=values),
    )
