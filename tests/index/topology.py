"""Random hosts for routing: interfaces, addresses, routes of many types in many tables, nexthop objects, policy rules.

Everything follows from one seed. Commands that make no sense to the kernel (a gateway that cannot be reached, a route
that exists) are refused by it and leave a host that is as random as before. Addresses come from a small universe, so
that prefixes nest, rules match and packets meet what was built.
"""

import ipaddress
import random

VETHS = 5
TABLES = (254, 254, 254, 253, 255, 100, 100, 101, 1000, 70000)
MARKS = (0, 1, 2, 0x10, 0xFF, 0xDEADBEEF)
UIDS = (0, 1, 1000, 65534)
TOSES = (0, 0, 4, 8, 16, 28, 0x20, 0xB8, 0xE4)
PORTS = (1, 22, 53, 1024, 40000, 65535)
PROTOS = {"inet": (6, 17, 1), "inet6": (6, 17, 58)}
PROTO_NAMES = {6: "tcp", 17: "udp", 1: "icmp", 58: "ipv6-icmp"}
BASES = {
    "inet": ("10.1.0.0", "10.1.2.0", "10.2.0.0", "172.16.5.0", "192.168.0.0", "198.51.100.0", "224.0.0.0", "239.1.2.0"),
    "inet6": ("2001:db8::", "2001:db8:1::", "2001:db8:1:2::", "fd00::", "fd00:0:0:5::", "fe80::", "ff02::", "ff05::"),
}
LENGTHS = {
    "inet": (0, 0, 1, 4, 8, 12, 15, 16, 20, 23, 24, 24, 25, 28, 30, 31, 32, 32),
    "inet6": (0, 0, 3, 10, 16, 32, 48, 48, 56, 64, 64, 80, 112, 126, 127, 128, 128),
}
TYPES = ("unicast",) * 12 + ("blackhole", "unreachable", "prohibit", "throw", "throw", "local", "local")
ODD_TYPES = {"inet": ("broadcast", "multicast", "anycast"), "inet6": ("anycast", "multicast")}


def make_address(number: int, bits: int) -> str:
    return str(ipaddress.IPv4Address(number) if bits == 32 else ipaddress.IPv6Address(number))


class Topology:
    """One random host, as lists of `ip` commands and settings."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        pick = self.random
        self.names = [f"v{number}" for number in range(VETHS)]
        self.extra_names: list[str] = []
        self.gateways: dict[str, list[tuple[str, str]]] = {"inet": [], "inet6": []}
        self.own: dict[str, list[str]] = {"inet": [], "inet6": []}
        self.nexthop_ids: dict[str, list[int]] = {"inet": [], "inet6": []}
        self.forwarding6 = pick.random() < 0.5
        self.settings = self._settings()
        before = [*self._links(), *self._addresses(), *self._carriers(0.3)]
        routes = [*self._nexthops(), *self._routes("inet"), *self._routes("inet6"), *self._neighbours()]
        self.first = before
        """To be run before the interfaces have come up; then wait."""
        self.second = [*routes, *self._rules("inet"), *self._rules("inet6")]
        self.third = self._carriers(0.15) + self._downs()
        """Changes to what was built."""

    @property
    def devices(self) -> list[str]:
        return self.names + self.extra_names

    def _settings(self) -> dict[str, str]:
        pick = self.random
        settings = {
            "net.ipv4.conf.all.forwarding": "1",
            "net.ipv4.conf.default.forwarding": "1",
            "net.ipv4.conf.all.accept_local": "1",
            "net.ipv4.conf.all.send_redirects": "0",
            "net.ipv4.conf.default.send_redirects": "0",
            "net.ipv4.conf.lo.send_redirects": "0",
            "net.ipv6.conf.all.forwarding": "1" if self.forwarding6 else "0",
            "net.ipv6.conf.default.router_solicitations": "0",
            "net.ipv4.conf.all.ignore_routes_with_linkdown": str(int(pick.random() < 0.25)),
            "net.ipv4.fib_multipath_use_neigh": str(int(pick.random() < 0.3)),
            "net.ipv4.conf.all.route_localnet": str(int(pick.random() < 0.2)),
            "net.ipv4.nexthop_compat_mode": str(int(pick.random() < 0.7)),
        }
        for family in ("ipv4", "ipv6"):
            settings[f"net.{family}.conf.default.ignore_routes_with_linkdown"] = str(int(pick.random() < 0.5))
        return settings

    def _links(self) -> list[str]:
        pick = self.random
        lines = []
        for number, name in enumerate(self.names):
            near, far = (
                f"index {100 + number} address 02:00:00:00:01:0{number}",
                f"index {200 + number} address 02:00:00:00:02:0{number}",
            )
            lines.append(f"link add {name} {near} type veth peer name p{number} {far}")
            lines.append(f"link set {name} group {pick.choice((0, 0, 7, 8))}")
        if pick.random() < 0.5:
            lines += [
                "link add br0 index 300 address 02:00:00:00:03:00 type bridge",
                f"link set p{pick.randrange(VETHS)} master br0",
            ]
            self.extra_names.append("br0")
        if pick.random() < 0.5:
            lines.append("link add mv0 index 301 address 02:00:00:00:03:01 link v0 type macvlan mode bridge")
            self.extra_names.append("mv0")
        if pick.random() < 0.4:
            lines.append("link add vx0 index 302 address 02:00:00:00:03:02 type vxlan id 7 dstport 4789 dev v1")
            self.extra_names.append("vx0")
        if pick.random() < 0.4:
            lines.append("tuntap add dev tun0 mode tun")  # no reader: never a carrier
            self.extra_names.append("tun0")
        if pick.random() < 0.35:  # kernels without VRF refuse this, and the host is then one without
            lines += ["link add red index 303 address 02:00:00:00:03:03 type vrf table 1000"]
            lines += [f"link set {name} master red" for name in self.names if pick.random() < 0.4]
            self.extra_names.append("red")
        for name in self.devices:
            if pick.random() < 0.3:
                lines.append(f"link set {name} addrgenmode none")
        lines += [f"link set {name} up" for name in [*self.devices, *(f"p{n}" for n in range(VETHS))]]
        return lines

    def _addresses(self) -> list[str]:
        pick = self.random
        lines = []
        for family, lengths in (("inet", (24, 24, 16, 28, 31, 32)), ("inet6", (64, 64, 48, 112, 127, 128))):
            for name in self.devices:
                for _ in range(pick.choice((0, 1, 1, 2))):
                    length = pick.choice(lengths)
                    address = self.address(family, spread=8, multicast=False)
                    options = pick.choice(("", "", "", " noprefixroute", " metric 77"))
                    if family == "inet6":
                        options += " nodad"
                    lines.append(f"address add {address}/{length} dev {name}{options}")
                    self.own[family].append(address)
                    self.gateways[family].append((self._neighbour_of(address, length), name))
            lines.append(
                f"address add {self.address(family, multicast=False)}/{32 if family == 'inet' else 128} dev lo"
            )
        return lines

    def _neighbour_of(self, address: str, length: int) -> str:
        network = ipaddress.ip_network(f"{address}/{length}", strict=False)
        offset = self.random.randrange(min(network.num_addresses, 8))
        return str(network[offset])

    def _carriers(self, probability: float) -> list[str]:
        pick = self.random
        return [f"link set p{number} down" for number in range(VETHS) if pick.random() < probability]

    def _downs(self) -> list[str]:
        return [f"link set {name} down" for name in self.devices if self.random.random() < 0.08]

    # -- addresses -------------------------------------------------------------------------------------------------

    def address(self, family: str, spread: int = 10, *, multicast: bool = True) -> str:
        """Somewhere in the universe: a base with its last ``spread`` bits at random."""
        bits = 32 if family == "inet" else 128
        bases = BASES[family] if multicast else BASES[family][:-3]
        base = int(ipaddress.ip_address(self.random.choice(bases)))
        return make_address(base | self.random.getrandbits(spread), bits)

    def prefix(self, family: str) -> str:
        length = self.random.choice(LENGTHS[family])
        return str(ipaddress.ip_network(f"{self.address(family)}/{length}", strict=False))

    # -- routes ----------------------------------------------------------------------------------------------------

    def _hop(self, family: str) -> str:
        pick = self.random
        device = pick.choice(self.devices)
        chance = pick.random()
        if chance < 0.25 or not self.gateways[family]:
            return f"dev {device}"
        gateway, near = pick.choice(self.gateways[family])
        if chance < 0.35:
            return f"via {self.address(family, multicast=False)} dev {device} onlink"
        if chance < 0.42 and family == "inet" and self.gateways["inet6"]:
            gateway, near = pick.choice(self.gateways["inet6"])
            return f"via inet6 {gateway} dev {near}"
        return f"via {gateway} dev {near}"

    def _nexthops(self) -> list[str]:
        pick = self.random
        lines, number = [], 0
        for family in ("inet", "inet6"):
            flag, singles = ("-4" if family == "inet" else "-6"), []
            for _ in range(pick.choice((0, 3, 6))):
                number += 1
                hop = self._hop(family).replace("inet6 ", "")
                if family == "inet" and ":" in hop:
                    hop = f"dev {pick.choice(self.devices)}"
                lines.append(f"{flag} nexthop add id {number} {hop}")
                singles.append(number)
            if pick.random() < 0.4:
                number += 1
                lines.append(f"{flag} nexthop add id {number} blackhole")
                self.nexthop_ids[family].append(number)
            for _ in range(pick.choice((0, 2, 3)) if singles else 0):
                number += 1
                members = pick.sample(singles, pick.randint(1, len(singles)))
                group = "/".join(f"{member},{pick.randint(1, 5)}" for member in members)
                kind = pick.choice(("", "", " type resilient buckets 8"))
                lines.append(f"nexthop add id {number} group {group}{kind}")
                self.nexthop_ids[family].append(number)
            self.nexthop_ids[family] += singles
        return lines

    def _routes(self, family: str) -> list[str]:
        pick = self.random
        flag = "-4" if family == "inet" else "-6"
        known: list[str] = []
        lines = []
        for _ in range(pick.choice((5, 20, 60, 120))):
            prefix = pick.choice(known) if known and pick.random() < 0.4 else self.prefix(family)
            known.append(prefix)
            kind = pick.choice(TYPES) if pick.random() < 0.97 else pick.choice(ODD_TYPES[family])
            words = [flag, "route", pick.choice(("add", "add", "append")), kind, prefix]
            words += self._route_options(family, kind)
            if kind in ("blackhole", "unreachable", "prohibit", "throw"):
                pass
            elif kind == "local":
                words.append(f"dev {pick.choice(('lo', 'lo', *self.devices))}")
            elif kind == "unicast" and self.nexthop_ids[family] and prefix[:2] != "ff" and pick.random() < 0.25:
                words.append(f"nhid {pick.choice(self.nexthop_ids[family])}")
            elif kind == "unicast" and pick.random() < 0.35:
                for _ in range(pick.randint(2, 4)):
                    words.append(f"nexthop {self._hop(family)} weight {pick.randint(1, 9)}")
            else:
                words.append(self._hop(family))
            lines.append(" ".join(words))
        return lines + self._scenes(family, flag)

    def _scenes(self, family: str, flag: str) -> list[str]:
        """What chance alone would rarely bring about."""
        pick = self.random
        lines = []
        if pick.random() < 0.4:  # default routes of one metric, some with a TOS
            table, metric = pick.choice(TABLES), pick.choice((0, 5, 10))
            for _ in range(pick.randint(2, 5)):
                tos = f"tos {pick.choice((4, 8)):#x}" if family == "inet" and pick.random() < 0.25 else ""
                command = f"{flag} route append default {self._hop(family)} table {table} {tos}"
                lines.append(f"{command} metric {metric + pick.choice((0, 0, 0, 1))}")
        if family == "inet6" and pick.random() < 0.5:  # source-specific routes beside plain ones
            table, prefix = pick.choice(TABLES), self.prefix(family)
            for _ in range(pick.randint(2, 6)):
                source = f"from {self.prefix(family)}" if pick.random() < 0.7 else ""
                lines.append(f"{flag} route append {prefix} {source} {self._hop(family)} table {table}")
        if pick.random() < 0.5:  # one prefix, many ways
            table, prefix = pick.choice(TABLES), self.prefix(family)
            for _ in range(pick.randint(3, 8)):
                preference = f"pref {pick.choice(('low', 'medium', 'high'))}" if family == "inet6" else ""
                command = f"{flag} route append {prefix} table {table} {preference} metric {pick.choice((7, 7, 8, 9))}"
                hops = [f"nexthop {self._hop(family)}" for _ in range(pick.choice((1, 1, 2, 3)))]
                lines.append(f"{command} {hops[0].removeprefix('nexthop') if len(hops) == 1 else ' '.join(hops)}")
        return lines

    def _route_options(self, family: str, kind: str) -> list[str]:
        pick = self.random
        words = [f"table {pick.choice(TABLES)}", f"metric {pick.choice((0, 0, 1, 10, 10, 100, 1024))}"]
        if family == "inet":
            if pick.random() < 0.2:
                words.append(f"tos {pick.choice((4, 8, 16, 28)):#x}")
            if kind == "unicast" and pick.random() < 0.2:
                words.append(f"scope {pick.choice(('link', 'global', 'host'))}")
            if kind == "unicast" and pick.random() < 0.2:
                words.append(f"src {pick.choice(['127.0.0.1', *self.own[family]])}")
        else:
            if kind == "unicast" and pick.random() < 0.1:
                words.append(f"src {pick.choice(['::1', *self.own[family]])}")
            if pick.random() < 0.15:
                words.append(f"from {self.prefix(family)}")
            if pick.random() < 0.2:
                words.append(f"pref {pick.choice(('low', 'medium', 'high'))}")
        return words

    def _neighbours(self) -> list[str]:
        pick = self.random
        lines = []
        for family in ("inet", "inet6"):
            for gateway, device in self.gateways[family]:
                if pick.random() < 0.4:
                    state = pick.choice(("permanent", "stale", "failed", "failed", "noarp"))
                    lines.append(f"neigh replace {gateway} lladdr 02:00:00:00:00:77 dev {device} nud {state}")
        return lines

    # -- rules -----------------------------------------------------------------------------------------------------

    def _rules(self, family: str) -> list[str]:
        pick = self.random
        flag = "-4" if family == "inet" else "-6"
        style = pick.random()
        if style < 0.12:
            return []  # the kernel then does not look at rules at all
        lines = []
        priorities = sorted(pick.randint(1, 60) for _ in range(pick.choice((1, 3, 8, 20))))
        for priority in priorities:
            lines.append(
                f"{flag} rule add priority {priority} {self._selectors(family)} {self._action(family, priority)}"
            )
        # Without main at its end a suppressed route could be released twice on the way in (see test_kernel_surprises).
        if pick.random() < 0.15:
            lines.append(f"{flag} rule del priority 0")
        if family == "inet" and pick.random() < 0.15:
            lines.append(f"{flag} rule del priority {pick.choice((32766, 32767))}")
        return lines

    def _selectors(self, family: str) -> str:
        pick = self.random
        words = ["not"] if pick.random() < 0.1 else []
        if pick.random() < 0.25:
            words.append(f"from {self.prefix(family)}")
        if pick.random() < 0.25:
            words.append(f"to {self.prefix(family)}")
        if pick.random() < 0.15:
            words.append(f"iif {pick.choice(('lo', 'lo', 'gone', *self.devices))}")
        if pick.random() < 0.12:
            words.append(f"oif {pick.choice(('gone', *self.devices))}")
        if pick.random() < 0.2:
            mask = pick.choice(("", "/0xff", "/0xf0", "/0x1"))
            words.append(f"fwmark {pick.choice(MARKS):#x}{mask}")
        if pick.random() < 0.12:
            low = pick.choice(UIDS)
            words.append(f"uidrange {low}-{pick.choice((low, 70000, 4294967294))}")
        if pick.random() < 0.15:
            words.append(f"tos {pick.choice((4, 8, 16, 28) if family == 'inet' else (4, 16, 0x20, 0xB8)):#x}")
        if pick.random() < 0.15:
            words.append(f"ipproto {PROTO_NAMES[pick.choice(PROTOS[family])]}")
        for port in ("sport", "dport"):
            if pick.random() < 0.1:
                low = pick.choice(PORTS[:-1])
                words.append(f"{port} {low}" + pick.choice(("", f"-{max(low, 50000)}")))
        return " ".join(words)

    def _action(self, family: str, priority: int) -> str:
        pick = self.random
        chance = pick.random()
        if chance < 0.12:
            return pick.choice(("blackhole", "unreachable", "prohibit"))
        if chance < 0.22:
            return f"goto {pick.choice((priority + 1, priority + 5, 61, 32766, 9999))}"
        if chance < 0.26:
            return "nop"
        action = f"table {pick.choice((*TABLES, 4711))}"
        if pick.random() < 0.25:
            lengths = (0, 0, 8, 24, 32) if family == "inet" else (0, 0, 10, 64, 128)
            action += f" suppress_prefixlength {pick.choice(lengths)}"
        if pick.random() < 0.1:
            action += " suppress_ifgroup 7"
        return action
