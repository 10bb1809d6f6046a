"""Small hosts for the examples of rules: a builder that adds what the kernel would add by itself.

``HostBuilder`` keeps to what a real host looks like: loopback, the three default policy rules of each family, and for
every address its local and connected routes. An example then says only what matters to it. Wrong input raises
ValueError from ipaddress: an example is code.
"""

import ipaddress
from typing import Any

import msgspec

from netdiag.model.address import IFA_F_NOPREFIXROUTE, IFA_F_PERMANENT, IFA_F_TENTATIVE, Address
from netdiag.model.bpf import Bpf
from netdiag.model.conntrack import ConntrackEntry, ConntrackState, conntrack_from_rows
from netdiag.model.counters import Counters, CounterSample
from netdiag.model.host import ClockState, Identity, Resolver
from netdiag.model.intent import Intent
from netdiag.model.link import (
    IFF_BROADCAST,
    IFF_LOOPBACK,
    IFF_LOWER_UP,
    IFF_MULTICAST,
    IFF_RUNNING,
    IFF_UP,
    Link,
    LinkCounters,
    NetnsId,
    PeerLink,
)
from netdiag.model.namespace import Namespace, Namespaces
from netdiag.model.neighbour import Neighbour, neighbours_from_rows
from netdiag.model.nexthop import Nexthop
from netdiag.model.nft import Nft, NftTable, XtTable
from netdiag.model.pathmtu import PathMtu
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import RTNH_F_ONLINK, Route, RouteExtra, RouteHop, routes_from_rows
from netdiag.model.snapshot import Tables
from netdiag.model.sockets import SocketOwner, SocketOwners, sockets_from_rows
from netdiag.model.sysctl import NeighTable, Sysctls
from netdiag.model.tap import TapHolder, Taps, TapWish
from netdiag.rules.build_sockets import socket_row

DEFAULT_SYSCTLS = {
    "net.ipv4.ip_forward": "0",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv4.conf.all.forwarding": "0",
    "net.ipv4.conf.all.ignore_routes_with_linkdown": "0",
    "net.ipv4.conf.all.src_valid_mark": "0",
    "net.ipv4.ip_nonlocal_bind": "0",
    "net.ipv6.ip_nonlocal_bind": "0",
    "net.ipv6.conf.all.forwarding": "0",
    "net.ipv6.conf.all.disable_ipv6": "0",
    "net.ipv6.conf.all.ignore_routes_with_linkdown": "0",
    "net.ipv6.conf.default.disable_ipv6": "0",
    "net.ipv6.conf.default.accept_ra": "1",
}
INET_CONF = {
    "forwarding": 0,
    "rp_filter": 0,
    "accept_local": 0,
    "arp_ignore": 0,
    "arp_announce": 0,
    "proxy_arp": 0,
    "src_valid_mark": 0,
    "route_localnet": 0,
    "ignore_routes_with_linkdown": 0,
    "promote_secondaries": 0,
}
INET6_CONF = {
    "forwarding": 0,
    "accept_ra": 1,
    "disable_ipv6": 0,
    "accept_dad": 1,
    "proxy_ndp": 0,
    "autoconf": 1,
    "ignore_routes_with_linkdown": 0,
}


def _default(dst: str, family: str) -> str:
    return {"default": "0.0.0.0/0" if family == "inet" else "::/0"}.get(dst, dst)


class HostBuilder:
    """Builds ``Tables`` step by step; every method returns the builder."""

    def __init__(self) -> None:
        self._links: dict[str, Link] = {}
        self._peers: list[PeerLink] = []
        self._netns: list[NetnsId] = []
        self._addresses: list[Address] = []
        self._routes: dict[str, list[Route]] = {"inet": [], "inet6": []}
        self._nexthops: list[Nexthop] = []
        self._neighbours: list[Neighbour] = []
        self._sysctls = dict(DEFAULT_SYSCTLS)
        self._neigh_tables: list[NeighTable] = []
        self._first: dict[str, Any] = {"at": 1000.0}
        self._second: dict[str, Any] | None = None
        self._rules: list[PolicyRule] = []
        self._sockets: list[dict[str, Any]] = []
        self._path_mtus: tuple[PathMtu, ...] = ()
        self._owners: list[SocketOwner] = []
        self._resolver, self._clock, self._identity = Resolver(), ClockState(), Identity()
        self._bpf = Bpf()
        self._nft = Nft()
        self._ct: list[ConntrackEntry] = []
        self._ct_state = ConntrackState(max=65536, buckets=16384)
        self._holders: list[TapHolder] = []
        self._wishes: list[TapWish] = []
        self._namespaces: list[Namespace] = [Namespace(inode=1, own=True, processes=9, links=2)]
        self._stale_names: tuple[str, ...] = ()
        self._filtered: list[int] = []
        self._intent = Intent()
        for family in ("inet", "inet6"):
            tables = [(0, 255), (32766, 254), (32767, 253)] if family == "inet" else [(0, 255), (32766, 254)]
            self._rules += [PolicyRule(family=family, priority=p, table=t, protocol=2) for p, t in tables]
        self.link(
            "lo", type=772, mtu=65536, flags=IFF_UP | IFF_LOOPBACK | IFF_LOWER_UP | IFF_RUNNING, operstate="unknown"
        )
        self.address("lo", "127.0.0.1/8", scope=254).address("lo", "::1/128", scope=254)

    def _index(self, ifname: str | None) -> int:
        return self._links[ifname].ifindex if ifname else 0

    def link(self, ifname: str, *, up: bool = True, carrier: bool = True, **fields: Any) -> "HostBuilder":
        """An Ethernet-like interface; ``master`` and ``link`` may be names. Any field of model.Link can be given."""
        flags = IFF_BROADCAST | IFF_MULTICAST
        if up:
            flags |= IFF_UP | (IFF_LOWER_UP | IFF_RUNNING if carrier else 0)
        for pointer in ("master", "link"):
            if isinstance(fields.get(pointer), str):
                fields[pointer] = self._index(fields[pointer])
        defaults: dict[str, Any] = {
            "flags": flags,
            "operstate": "up" if up and carrier else "down",
            "carrier": carrier if up else None,
            "carrier_up_count": 1,
            "carrier_down_count": 0,
            "inet_conf": INET_CONF | fields.pop("inet_conf", {}),
            "inet6_conf": INET6_CONF | fields.pop("inet6_conf", {}) if fields.get("mtu", 1500) >= 1280 else {},
        }
        ifindex = fields.pop("ifindex", len(self._links) + 1)
        self._links[ifname] = Link(ifindex=ifindex, ifname=ifname, **(defaults | fields))
        return self

    def vanished(self, ifname: str) -> "HostBuilder":
        """An interface that went while the host was read: what is on it was told, itself not. Say it last."""
        del self._links[ifname]
        return self

    def peer(self, ifname: str, *, netnsid: int = 0, **fields: Any) -> "HostBuilder":
        """The far end of a veth in another namespace, which could be read (model.PeerLink)."""
        link = self._links[ifname]
        self._links[ifname] = msgspec.structs.replace(link, link_netnsid=netnsid, link=fields.get("ifindex", 2))
        defaults: dict[str, Any] = {"ifindex": 2, "ifname": "eth0", "kind": "veth", "flags": link.flags}
        far = Link(**(defaults | {"operstate": "up"} | fields))
        self._peers.append(PeerLink(ifindex=link.ifindex, peer=far))
        return self

    def tap(self, ifname: str, *, holder: str | None = "firecracker", info: Any = None, **fields: Any) -> "HostBuilder":
        """A tap; ``holder`` is the VMM that has it open, None: nobody, and then it has no carrier."""
        shown = {"type": "tap", "pi": False, "vnet_hdr": True, "persist": True, "multi_queue": False} | (info or {})
        self.link(ifname, kind="tun", info=shown, **({"carrier": holder is not None} | fields))
        return self.tap_holder(ifname, comm=holder) if holder else self

    def tap_filtered(self, ifname: str) -> "HostBuilder":
        """A clsact qdisc on a tap."""
        self._filtered.append(self._index(ifname))
        return self

    def namespace(self, inode: int, **fields: Any) -> "HostBuilder":
        """Another namespace; with ``netnsid`` veths of this one can lead there."""
        self._namespaces.append(Namespace(**({"inode": inode, "links": 1} | fields)))
        if fields.get("netnsid") is not None:
            name = (fields.get("names") or (None,))[0]
            self._netns.append(NetnsId(netnsid=fields["netnsid"], inode=inode, name=name))
        return self

    def stale_names(self, *names: str) -> "HostBuilder":
        """Files under /run/netns that are no namespace."""
        self._stale_names = names
        return self

    def tap_holder(self, ifname: str | None, **fields: Any) -> "HostBuilder":
        """A process with /dev/net/tun open, attached to ``ifname`` or (None) to nothing."""
        vmm = fields.get("comm") if fields.get("comm") in ("firecracker", "qemu", "crosvm") else None
        known: dict[str, Any] = {
            "pid": 1000 + len(self._holders),
            "comm": "firecracker",
            "vmm": vmm,
            "netns": 1,
            "state": "S",
        }
        self._holders.append(TapHolder(ifname=ifname, **(known | {"device_netns": 1 if ifname else None} | fields)))
        return self

    def tap_wish(self, ifname: str, pid: int, **fields: Any) -> "HostBuilder":
        """A process whose command line names a tap."""
        known: dict[str, Any] = {"comm": "firecracker", "netns": 1} | fields
        self._wishes.append(TapWish(ifname=ifname, pid=pid, **known))
        return self

    def address(self, ifname: str, prefix: str, **fields: Any) -> "HostBuilder":
        """An address with its local route (IPv6: unless down) and, unless NOPREFIXROUTE or down, its connected one."""
        interface = ipaddress.ip_interface(prefix)
        family = "inet" if interface.version == 4 else "inet6"
        host = f"{interface.ip}/{interface.max_prefixlen}"
        link = self._links[ifname]
        fields.setdefault("flags", IFA_F_PERMANENT)
        fields.setdefault("scope", 253 if interface.version == 6 and interface.is_link_local else 0)
        row = Address(
            ifindex=link.ifindex,
            family=family,
            local=str(interface.ip),
            prefixlen=interface.network.prefixlen,
            **fields,
        )
        self._addresses.append(row)
        if (link.up or family == "inet") and not row.flags & IFA_F_TENTATIVE:  # (IPv4 is answered for while it is down)
            self.route(host, dev=ifname, table=255, type="local", scope=254)
        whole = link.loopback or host == str(interface.network)
        if link.up and not row.flags & IFA_F_NOPREFIXROUTE and not whole:
            self.route(
                str(interface.network),
                dev=ifname,
                scope=253 if family == "inet" else 0,
                prefsrc=str(interface.ip) if family == "inet" else None,
                protocol=2,
            )
        return self

    def route(
        self,
        dst: str,
        *,
        dev: str | None = None,
        via: str | None = None,
        family: str | None = None,
        hops: list[RouteHop] | None = None,
        metrics: dict[str, int] | None = None,
        onlink: bool = False,
        **fields: Any,
    ) -> "HostBuilder":
        """A route; ``default`` takes its family from ``via`` or ``family``. ``fields`` are those of model.Route."""
        inet6 = ":" in dst or (dst == "default" and ((via is not None and ":" in via) or family == "inet6"))
        family = "inet6" if inet6 else "inet"
        extra = RouteExtra(metrics=metrics or {}, multipath=tuple(hops or ())) if hops or metrics else None
        defaults: dict[str, Any] = {
            "table": 254,
            "type": "unicast",
            "protocol": 3,
            "scope": 0,
            "priority": 1024 if inet6 else 0,
            "tos": 0,
            "flags": RTNH_F_ONLINK if onlink else 0,
            "oif": self._index(dev) or None,
            "gateway": via,
            "prefsrc": None,
            "nh_id": None,
            "expires": None,
            "extra": extra,
        }
        row = Route(family=family, dst=_default(dst, family), **(defaults | fields))
        self._routes[family].append(row)
        return self

    def hop(self, dev: str, via: str | None = None, *, weight: int = 1, flags: int = 0) -> RouteHop:
        """One next hop for ``route(hops=[...])``."""
        return RouteHop(oif=self._index(dev), gateway=via, weight=weight, flags=flags)

    def without_routes(self, *, table: int, family: str = "inet") -> "HostBuilder":
        """Take away every route of a table."""
        self._routes[family] = [row for row in self._routes[family] if row.table != table]
        return self

    def nexthop(self, id: int, **fields: Any) -> "HostBuilder":
        """A nexthop object; ``oif`` may be a name."""
        if isinstance(fields.get("oif"), str):
            fields["oif"] = self._index(fields["oif"])
        self._nexthops.append(Nexthop(id=id, **fields))
        return self

    def rule(self, priority: int, *, family: str = "inet", **fields: Any) -> "HostBuilder":
        """A policy rule, put where its priority belongs; after its equals, as the kernel does. A mark has a mask."""
        if fields.get("fwmark") is not None:
            fields.setdefault("fwmask", 0xFFFFFFFF)
        self._rules.append(PolicyRule(family=family, priority=priority, **({"protocol": 3} | fields)))
        return self

    def without_rule(self, priority: int, *, family: str = "inet") -> "HostBuilder":
        """Take away a rule."""
        self._rules = [rule for rule in self._rules if (rule.family, rule.priority) != (family, priority)]
        return self

    def neighbour(self, dst: str, *, dev: str, state: str = "reachable", **fields: Any) -> "HostBuilder":
        """A neighbour entry."""
        defaults: dict[str, Any] = {
            "lladdr": None if state in ("failed", "incomplete") else "02:00:00:00:00:01",
            "flags": 0,
            "protocol": None,
            "confirmed": 1.0,
            "used": 1.0,
            "updated": 1.0,
            "probes": 0,
        }
        family = "inet6" if ":" in dst else "inet"
        row = Neighbour(family=family, ifindex=self._index(dev), dst=dst, state=state, **(defaults | fields))
        self._neighbours.append(row)
        return self

    def sysctl(self, name: str, value: int | str) -> "HostBuilder":
        """A net.* setting; one of an interface goes where netlink shows it."""
        for prefix, attribute in (("net.ipv4.conf.", "inet_conf"), ("net.ipv6.conf.", "inet6_conf")):
            ifname, _, key = name.removeprefix(prefix).rpartition(".")
            if name.startswith(prefix) and ifname in self._links:
                link = self._links[ifname]
                conf = getattr(link, attribute) | {key: int(value)}
                self._links[ifname] = msgspec.structs.replace(link, **{attribute: conf})
                return self
        self._sysctls[name] = str(value)
        return self

    def neigh_table(self, **fields: Any) -> "HostBuilder":
        """A neighbour table of the kernel."""
        self._neigh_tables.append(NeighTable(**({"name": "arp_cache", "family": "inet"} | fields)))
        return self

    def counters(self, *, before: dict[str, Any], after: dict[str, Any], seconds: float = 1.0) -> "HostBuilder":
        """Two samples; the fields of model.CounterSample but ``at``."""
        self._first = {"at": 1000.0, **before}
        self._second = {"at": 1000.0 + seconds, **after}
        return self

    def link_counters(self, ifname: str, **fields: Any) -> LinkCounters:
        """One interface's line of a sample."""
        return LinkCounters(ifindex=self._index(ifname), ifname=ifname, **fields)

    def bpf(self, **fields: Any) -> "HostBuilder":
        """eBPF: any fields of model.Bpf; lists may be given for tuples. Given again, rows are added."""
        added = {name: (*getattr(self._bpf, name), *rows) for name, rows in fields.items()}
        self._bpf = msgspec.structs.replace(self._bpf, **added)
        return self

    def nft(self, *tables: NftTable, legacy: tuple[NftTable, ...] = ()) -> "HostBuilder":
        """nftables, see netdiag.rules.build_nft, and tables of iptables-legacy. Given again, tables are added."""
        named = tuple(XtTable(family=one.family, name=one.name, rules=1) for one in legacy)
        self._nft = Nft(
            generation=1,
            tables=(*self._nft.tables, *tables),
            xtables=(*self._nft.xtables, *named),
            legacy=(*self._nft.legacy, *legacy),
        )
        return self

    def intend(self, **sections: Any) -> "HostBuilder":
        """What the host is meant to be: sections of model.Intent."""
        self._intent = msgspec.structs.replace(self._intent, **sections)
        return self

    def socket(self, **fields: Any) -> "HostBuilder":
        """A socket: columns of model.Sockets (``dev`` may name its interface); TCP listens unless ``state`` says else.

        ``comm`` names the process that holds it. Everything that the kernel can tell counts as told.
        """
        row, owner = socket_row(len(self._sockets) + 1, fields, self._index)
        self._sockets.append(row)
        self._owners += owner
        return self

    def path_mtus(self, *rows: PathMtu) -> "HostBuilder":
        """Path MTUs that were learnt."""
        self._path_mtus = rows
        return self

    def resolver(self, *nameservers: str, **fields: Any) -> "HostBuilder":
        """/etc/resolv.conf with these nameservers, and any field of model.Resolver."""
        given: dict[str, Any] = {"present": True, "nameservers": nameservers}
        self._resolver = Resolver(**(given | fields))
        return self

    def clock(self, **fields: Any) -> "HostBuilder":
        """The kernel's clock: fields of model.ClockState; synchronised unless ``status`` says else."""
        self._clock = ClockState(**({"state": 0, "maxerror": 0.01, "boottime": 100_000.0} | fields))
        return self

    def identity(self, **fields: Any) -> "HostBuilder":
        """The machine: fields of model.Identity."""
        self._identity = Identity(**fields)
        return self

    def conntrack(self, proto: int, orig: str, reply: str, **fields: Any) -> "HostBuilder":
        """A tracked connection; ``orig`` and ``reply`` are ``SRC SPORT DST DPORT``."""
        ends: dict[str, Any] = {}
        for side, text in (("orig", orig), ("reply", reply)):
            src, sport, dst, dport = text.split()
            ends |= {f"{side}_src": src, f"{side}_sport": int(sport), f"{side}_dst": dst, f"{side}_dport": int(dport)}
        known: dict[str, Any] = {"status": 0xE, "timeout": 100, "mark": 0, "zone": 0, "tcp_state": None}
        family = "inet6" if ":" in ends["orig_src"] else "inet"
        self._ct.append(ConntrackEntry(family=family, proto=proto, **(known | ends | fields)))
        return self

    def conntrack_state(self, **fields: Any) -> "HostBuilder":
        """Fields of model.ConntrackState."""
        self._ct_state = msgspec.structs.replace(self._ct_state, **fields)
        return self

    def ifindex(self, ifname: str) -> int:
        """Index of an interface made before."""
        return self._index(ifname)

    def build(self) -> Tables:
        """The tables."""
        return Tables(
            links=tuple(self._links.values()),
            peer_links=tuple(self._peers),
            netns_ids=tuple(self._netns),
            addresses=tuple(self._addresses),
            routes=routes_from_rows("inet", self._routes["inet"]),
            routes6=routes_from_rows("inet6", self._routes["inet6"]),
            rules=tuple(sorted(self._rules, key=lambda rule: (rule.family, rule.priority))),
            nexthops=tuple(self._nexthops),
            neighbours=neighbours_from_rows(self._neighbours),
            neigh_tables=tuple(self._neigh_tables),
            sysctls=Sysctls(values=dict(self._sysctls)),
            bpf=self._bpf,
            namespaces=Namespaces(namespaces=tuple(self._namespaces), stale_names=self._stale_names),
            nft=self._nft,
            conntrack=conntrack_from_rows(self._ct),
            conntrack_state=self._ct_state,
            sockets=sockets_from_rows(self._sockets),
            socket_owners=SocketOwners(owners=tuple(self._owners), complete=True, seconds=1.0),
            path_mtus=self._path_mtus,
            resolver=self._resolver,
            clock=self._clock,
            identity=self._identity,
            taps=Taps(
                filtered=tuple(self._filtered), holders=tuple(self._holders), wishes=tuple(self._wishes), netns=1
            ),
            intent=self._intent,
            counters=Counters(
                first=CounterSample(**self._first),
                second=CounterSample(**self._second)
                if self._second
                else CounterSample(**(self._first | {"at": 1001.0})),
            ),
        )
