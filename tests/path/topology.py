"""Random routers with one to three neighbours: what is built, as text, from one seed.

        p0 r0 --- eth0          r, the router under test, also has some of: macvlan mv0 on eth0, bridge br0 over eth1,
        p1 r0 --- eth1   r      VXLAN vx0 to p0, WireGuard wg0 to p1
        p2 r0 --- eth2

Neighbours own whole subnets (routes of type local), so every next hop answers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

PORTS = (1000, 2000, 3000, 4000)
MARKS = (0, 1, 2, 0x12)
FAR = ("198.18.0", "198.18.1", "198.18.2", "203.0.113")
"""Networks that are behind neighbours, /24 each."""
FAR6 = ("2001:db8:f0", "2001:db8:f1", "2001:db8:f2")


@dataclass(frozen=True)
class Recipe:
    """What is done to the router: every line can be left out, which is how a failing one is made small."""

    links: tuple[str, ...]
    """``ip`` lines."""
    routing: tuple[str, ...]
    """``ip`` lines."""
    settings: tuple[tuple[str, str], ...]
    rules: tuple[str, ...]
    """Lines of an nftables ruleset; none for no ruleset."""
    programs: tuple[tuple[str, str], ...]
    """Hook and interface of each BPF program: xdp, tc-ingress, tc-egress, tcx-ingress, tcx-egress."""

    PARTS = ("programs", "rules", "routing", "settings", "links")

    def without(self, part: str, number: int) -> Recipe:
        """The same without one line."""
        lines = getattr(self, part)
        return replace(self, **{part: (*lines[:number], *lines[number + 1 :])})

    def __str__(self) -> str:
        told = [f"ip {line}" for line in (*self.links, *self.routing)]
        told += [f"sysctl {name}={value}" for name, value in self.settings]
        told += [f"bpf {hook} {device}" for hook, device in self.programs]
        return "\n".join([*told, *(["nft -f - <<E", *self.rules, "E"] if self.rules else [])])


class Topology:
    """One random router."""

    def __init__(self, seed: int, *, wireguard: bool = False, programs: bool = False) -> None:
        self.seed = seed
        self.random = Random(seed)
        pick = self.random
        self.cables = pick.choice((1, 2, 2, 3, 3))
        self.bridge = self.cables > 1 and pick.random() < 0.35
        self.macvlan = pick.random() < 0.3
        self.vxlan = pick.random() < 0.3
        self.wireguard = wireguard and self.cables > 1
        self.doors = [self._door(number) for number in range(self.cables)]
        self.extra = [
            name for name, there in (("mv0", self.macvlan), ("vx0", self.vxlan), ("wg0", self.wireguard)) if there
        ]
        self.devices = [*self.doors, *self.extra]
        self.subnet = {name: number for number, name in enumerate(self.doors)} | {"mv0": 10, "vx0": 11, "wg0": 12}
        self.peer_mtu = pick.choice((1500, 1500, 1500, 1400))
        self.recipe = self._recipe(programs)

    def _recipe(self, programs: bool) -> Recipe:
        links, routing = self.links(), [*self.routing(), *self.refusals()]
        return Recipe(
            links=tuple(links),
            routing=tuple(routing),
            settings=tuple(self.settings().items()),
            rules=tuple(self.ruleset().splitlines()),
            programs=self.programs() if programs else (),
        )

    def programs(self) -> tuple[tuple[str, str], ...]:
        """One to three programs that drop, mark or rewrite."""
        pick = self.random
        places = [("xdp", f"eth{number}") for number in range(self.cables)]
        hooks = ("tc-ingress", "tc-egress", "tcx-ingress", "tcx-egress")
        places += [(hook, device) for hook in hooks for device in (*self.doors, *(["mv0"] if self.macvlan else []))]
        return tuple(pick.sample(places, min(len(places), pick.choice((1, 2, 3)))))

    def _door(self, number: int) -> str:
        return "br0" if self.bridge and number == 1 else f"eth{number}"

    def own(self, device: str, family: str = "inet") -> str:
        """The router's address on a device."""
        number = self.subnet[device]
        return f"10.{number}.0.1" if family == "inet" else f"2001:db8:{number:x}::1"

    def near(self, device: str, family: str = "inet", last: int = 2) -> str:
        """A neighbour's address on a device."""
        number = self.subnet[device]
        return f"10.{number}.0.{last}" if family == "inet" else f"2001:db8:{number:x}::{last:x}"

    def far(self, family: str = "inet") -> str:
        """An address behind some neighbour."""
        pick = self.random
        if family == "inet":
            return f"{pick.choice(FAR)}.{pick.randint(1, 250)}"
        return f"{pick.choice(FAR6)}::{pick.randint(1, 250):x}"

    # -- what is built -----------------------------------------------------------------------------------------------

    def links(self) -> list[str]:
        """``ip`` lines of the router after its cables are there.

        Indexes rise as the interfaces are made, as on every real host: the order in which the kernel looks through
        them for a source address is the order in which they were made, and the dump has them by index.
        """
        lines = []
        if self.bridge:
            lines += ["link add br0 index 201 type bridge", "link set eth1 master br0", "link set br0 up"]
        if self.macvlan:
            lines += ["link add mv0 index 202 link eth0 type macvlan mode bridge", "link set mv0 up"]
        if self.vxlan:
            ends = f"local {self.own('eth0')} remote {self.near('eth0')}"
            lines += [f"link add vx0 index 203 type vxlan id 42 {ends} dstport 4789", "link set vx0 up"]
        for device in self.devices:
            lines.append(f"address add {self.own(device)}/24 dev {device}")
            lines.append(f"address add {self.own(device, 'inet6')}/64 dev {device} nodad")
        return lines

    def routing(self) -> list[str]:
        """Routes and rules of the router."""
        pick, lines = self.random, []
        for family, flag in (("inet", "-4"), ("inet6", "-6")):
            nets = [f"{net}.0/24" for net in FAR] if family == "inet" else [f"{net}::/48" for net in FAR6]
            for net in [*nets, "default"]:
                if pick.random() < 0.75:
                    lines.append(f"{flag} route add {net} {self._way(family)}")
            for table in (100, 101):
                for net in [*nets, "default"]:
                    if pick.random() < 0.4:
                        lines.append(f"{flag} route add {net} {self._way(family)} table {table}")
            for priority in range(pick.choice((0, 0, 1, 2, 3))):
                table = f"lookup {pick.choice((100, 101))}"
                action = table if pick.random() < 0.85 else pick.choice(("unreachable", "prohibit", "blackhole"))
                lines.append(f"{flag} rule add priority {100 + priority} {self._selector(family)} {action}")
        return lines

    def _way(self, family: str) -> str:
        pick = self.random
        chance = pick.random()
        if chance < 0.12:
            return f"via {self._gateway(family)}"
        if chance < 0.22 and len(self.devices) > 1 and family == "inet":
            first, second = pick.sample(self.devices, 2)
            return f"nexthop via {self.near(first)} nexthop via {self.near(second)}"
        mtu = f" mtu {pick.choice((1300, 1400))}" if pick.random() < 0.15 else ""
        src = f" src {self.own(pick.choice(self.devices), family)}" if pick.random() < 0.15 else ""
        return f"via {self._gateway(family)}{src}{mtu}"

    def refusals(self) -> list[str]:
        """Routes that refuse, over some of the others."""
        pick, lines = self.random, []
        for _ in range(pick.choice((0, 1, 2))):
            kind = pick.choice(("blackhole", "unreachable", "prohibit", "throw"))
            lines.append(f"-4 route add {kind} {pick.choice(FAR)}.{pick.choice((0, 128))}/25")
        return lines

    def _gateway(self, family: str) -> str:
        device = self.random.choice(self.devices)
        return f"{self.near(device, family)} dev {device}"

    def _selector(self, family: str) -> str:
        pick = self.random
        chance = pick.random()
        if chance < 0.3:
            return f"fwmark {pick.choice(MARKS[1:]):#x}" + pick.choice(("", "/0xf"))
        if chance < 0.5:
            return f"from {self.own(pick.choice(self.devices), family)}"
        if chance < 0.65:
            return f"iif {pick.choice(['lo', *self.devices])}"
        if chance < 0.75:
            return f"ipproto udp dport {pick.choice(PORTS)}"
        if chance < 0.85:
            net = f"{pick.choice(FAR)}.0/24" if family == "inet" else f"{pick.choice(FAR6)}::/48"
            return f"to {net}"
        return f"not from {self.own(pick.choice(self.devices), family)}"

    def settings(self) -> dict[str, str]:
        """Sysctls of the router, written when its devices are there."""
        pick = self.random
        settings = {
            "net/ipv4/conf/all/rp_filter": str(pick.choice((0, 0, 0, 1, 2))),
            "net/ipv4/conf/all/src_valid_mark": str(pick.choice((0, 0, 1))),
            "net/ipv4/conf/all/accept_local": str(pick.choice((0, 0, 0, 1))),
            "net/ipv6/conf/all/forwarding": str(pick.choice((0, 1, 1))),
            "net/ipv4/ip_forward": str(pick.choice((0, 1, 1, 1))),
        }
        for device in self.devices:
            settings[f"net/ipv4/conf/{device}/rp_filter"] = str(pick.choice((0, 0, 1, 2)))
            if pick.random() < 0.15:
                settings[f"net/ipv4/conf/{device}/forwarding"] = str(pick.choice((0, 1)))
        return settings

    # -- netfilter ---------------------------------------------------------------------------------------------------

    def ruleset(self) -> str:
        """An nftables ruleset; empty for none."""
        pick = self.random
        if pick.random() < 0.35:
            return ""
        family = pick.choice(("ip", "inet"))
        chains = []
        for hook in ("input", "forward", "output", "prerouting"):
            if pick.random() < 0.5:
                policy = pick.choice(("accept", "accept", "drop"))
                rules = ["ct state established,related accept"] if pick.random() < 0.5 else []
                rules += ["meta l4proto ipv6-icmp accept"] if family == "inet" else []
                rules += [self._filter(hook) for _ in range(pick.randint(0, 4))]
                priority = pick.choice(("filter", "filter", "mangle", "filter + 5"))
                chains.append(
                    f"chain f_{hook} {{ type filter hook {hook} priority {priority}; policy {policy};\n"
                    + "\n".join(rules)
                    + "\n}"
                )
        if pick.random() < 0.3:
            rules = [f"udp dport {pick.choice(PORTS)} meta mark set {pick.choice(MARKS[1:]):#x}"]
            chains.append(f"chain r_output {{ type route hook output priority mangle;\n{rules[0]}\n}}")
        if pick.random() < 0.3:
            device = pick.choice(self.devices)
            rule = f'iifname "{device}" udp dport {pick.choice(PORTS)} meta mark set {pick.choice(MARKS[1:]):#x}'
            chains.append(f"chain m_pre {{ type filter hook prerouting priority mangle;\n{rule}\n}}")
        sets = "set ports { type inet_service; elements = { 1000, 3000 } }\n"
        sets += "chain side { udp dport 2000 return\nudp dport 1000 drop\naccept\n}\n"
        fates = "2000 : drop, 3000 : jump side, 4000 : accept"
        sets += f"map fates {{ type inet_service : verdict; elements = {{ {fates} }} }}\n"
        return f"table {family} t {{\n{sets}{chr(10).join(chains)}\n}}\n{self._nat()}"

    def _filter(self, hook: str) -> str:
        pick = self.random
        verdict = pick.choice(("accept", "drop", "drop", "reject", "jump side"))
        if verdict == "reject" and hook == "prerouting":
            verdict = "drop"
        chance = pick.random()
        if chance < 0.2:
            return f"udp dport {pick.choice(PORTS)} {verdict}"
        if chance < 0.35:
            return f"udp dport @ports {verdict}"
        if chance < 0.45:
            return "udp dport vmap @fates"
        if chance < 0.55:
            return f"ip saddr {pick.choice(FAR)}.0/24 {verdict}"
        if chance < 0.65:
            return f"ip daddr {{ {self.far()}, {pick.choice(FAR)}.0/25 }} {verdict}"
        if chance < 0.75:
            key = "oifname" if hook in ("output", "forward") else "iifname"
            return f'{key} "{pick.choice(self.devices)}" {verdict}'
        if chance < 0.85:
            return f"meta mark {pick.choice(MARKS):#x} {verdict}"
        if chance < 0.98:
            return f"udp dport 1000-2500 ct state new {verdict}"
        return f"udp dport {pick.choice(PORTS)} limit rate 1/hour {verdict}"

    def _nat(self) -> str:
        pick, chains = self.random, []
        if pick.random() < 0.35:
            device = pick.choice(self.devices)
            target = pick.choice((self.far(), self.near(device), self.own(device)))
            where = pick.choice(("prerouting", "output"))
            name = "dstnat" if where == "prerouting" else "-100"
            port = pick.choice(("", f":{pick.choice(PORTS)}"))
            rule = f"udp dport {pick.choice(PORTS)} dnat to {target}{port}"
            chains.append(f"chain d {{ type nat hook {where} priority {name};\n{rule}\n}}")
        if pick.random() < 0.4:
            out = pick.choice(self.devices)
            target = pick.choice(("masquerade", "masquerade", f"snat to {self.own(out)}"))
            chains.append(f'chain s {{ type nat hook postrouting priority srcnat;\noifname "{out}" {target}\n}}')
        return f"table ip n {{\n{chr(10).join(chains)}\n}}\n" if chains else ""
