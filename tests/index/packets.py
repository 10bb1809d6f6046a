"""Random packets that meet what a host has: its routes, addresses, rules and interfaces."""

import ipaddress
import random

from netdiag.index.policy import Query
from netdiag.model.snapshot import Tables
from tests.index.topology import MARKS, PORTS, PROTOS, TOSES, UIDS, Topology, make_address


class Packets:
    """Packets for one host, from one seed."""

    def __init__(self, topology: Topology, tables: Tables, seed: int) -> None:
        self.random = random.Random(seed)
        self.topology = topology
        self.devices = [link.ifname for link in tables.links if link.ifname in topology.devices]
        self.points = {family: self._points(tables, family) for family in ("inet", "inet6")}
        self.own = {
            family: [address.local for address in tables.addresses if address.family == family] or ["127.0.0.1", "::1"]
            for family in ("inet", "inet6")
        }

    def _points(self, tables: Tables, family: str) -> list[int]:
        """Addresses at and around the ends of every prefix."""
        bits = 32 if family == "inet" else 128
        routes = tables.routes if family == "inet" else tables.routes6
        prefixes = {row.dst for row in routes.rows()}
        prefixes |= {
            f"{text}/{length}"
            for rule in tables.rules
            if rule.family == family
            for text, length in ((rule.src, rule.src_len), (rule.dst, rule.dst_len))
            if text is not None
        }
        points = {0, (1 << bits) - 1, int(ipaddress.ip_address("224.0.0.5" if bits == 32 else "ff02::5"))}
        for prefix in prefixes:
            network = ipaddress.ip_network(prefix, strict=False)
            first, last = int(network.network_address), int(network.broadcast_address)
            points |= {first, last, (first + last) // 2, first + self.random.randint(0, last - first)}
            points |= {point for point in (first - 1, last + 1) if 0 <= point < 1 << bits}
        return sorted(points)

    def _address(self, family: str) -> str:
        pick = self.random
        if pick.random() < 0.15:
            return self.topology.address(family)
        return make_address(pick.choice(self.points[family]), 32 if family == "inet" else 128)

    def one(self) -> Query:
        """The next packet."""
        pick = self.random
        family = pick.choice(("inet", "inet6"))
        iif = pick.choice((*self.devices, "lo")) if pick.random() < 0.3 else None
        while True:
            dst, src = self._address(family), self._source(family, iif)
            if iif is None or self._may_arrive(family, dst, src):
                break
        proto = pick.choice(PROTOS[family])
        ports = proto in (6, 17)
        return Query(
            family=family,
            dst=dst,
            src=src,
            iif=iif,
            oif=pick.choice(self.devices) if iif is None and pick.random() < 0.25 else None,
            mark=pick.choice(MARKS),
            uid=pick.choice(UIDS),
            tos=pick.choice(TOSES),
            ip_proto=proto,
            sport=pick.choice(PORTS) if ports and pick.random() < 0.5 else None,
            dport=pick.choice(PORTS) if ports and pick.random() < 0.5 else None,
        )

    def _source(self, family: str, iif: str | None) -> str | None:
        pick = self.random
        chance = pick.random()
        if iif is None and chance < 0.45:
            return None
        if iif is None and (chance < 0.9 if family == "inet" else chance < 0.6):
            return pick.choice(self.own[family])
        return self._address(family)

    @staticmethod
    def _may_arrive(family: str, dst: str, src: str | None) -> bool:
        """Packets that arrive with other addresses are judged before or beside the routing tables."""
        if family == "inet6":
            return not ipaddress.IPv6Address(dst).is_multicast
        ends = [ipaddress.IPv4Address(end) for end in (dst, src or "0.0.0.0")]
        return not any(end.is_multicast or end.is_loopback or int(end) in (0, 0xFFFFFFFF) for end in ends)
