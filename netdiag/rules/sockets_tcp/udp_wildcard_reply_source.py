"""What it checks
  A host with service addresses on lo or a dummy interface, or beside another address of the same subnet (a VIP, as of
  keepalived), and UDP servers of its own bound to the wildcard address: their answers may leave from another address
  than the one that was asked. Where connection tracking has both, a question to one address without an answer and a
  flow from the same port of another one to the very client, it is no suspicion but a warning.

Why it matters
  A UDP server that answers with sendto() lets the kernel choose the source: the preferred source of the route, which
  is the interface's address and not the service's. Clients that asked the service address ignore such answers, and
  everything looks healthy from here.

Confirm
  ss -lunp; ip -br address
  tcpdump -ni any udp port PORT: source of the answers

Fix
  Bind the server to the service address (one socket an address), or let it use IP_PKTINFO / IPV6_RECVPKTINFO.

Not flagged
  It cannot be seen from outside whether a program uses IP_PKTINFO: without tracked answers this is only told as
  possible. Flows between equal ports, where both sides may have begun. Programs known
  to do so; the kernel's own sockets; clients (DHCP, ports that the kernel chose); sockets bound to an address or to an
  interface; hosts without service addresses. Addresses in different subnets of an interface, each of which is the
  source for its own; IPv6 addresses that expire, as those made from router advertisements.

References
  ip(7) IP_PKTINFO; net/ipv4/udp.c udp_sendmsg(); RFC 1122 section 4.1.3.5
"""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.address import IFA_F_PERMANENT
from netdiag.model.conntrack import IPS_SEEN_REPLY, ConntrackEntry
from netdiag.model.distinct import among
from netdiag.model.finding import Draft, Severity
from netdiag.model.protocols import IPPROTO_UDP
from netdiag.model.sockets import AF_INET, AF_INET6
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule
from netdiag.rules.sockettables import about, any_address, comm_of, endpoint, listening, named, packed

RULE = Rule(
    id="udp-wildcard-reply-source",
    title="a UDP server may answer from the wrong address",
    severity="warning",
    confidence="likely",
    reads=("sockets", "links", "addresses", "sysctls"),
    consults=("conntrack",),
)
CAREFUL = frozenset(
    (
        *("named", "dnsmasq", "unbound", "knotd", "kresd", "nsd", "coredns", "systemd-resolve", "avahi-daemon"),
        *("chronyd", "ntpd", "systemd-network", "dhclient", "dhcpcd", "bird", "bird6", "wireguard-go", "tailscaled"),
        *("charon", "rpcbind", "consul", "nomad", "snmpd"),
    )
)
"""Programs that answer from the address that was asked, or that nobody asks by a service address."""
CLIENT_PORTS = (67, 68, 546, 547, 3784, 4784, 4789, 5353, 5355, 8472)
NAMED = 5
MOST = 4096
"""Tracked flows without an answer that are looked at."""


def service_addresses(view: HostView) -> dict[int, list[str]]:
    """By family number, addresses for the world that are not the source of what is sent by their interface: on loopback
    or dummy interfaces, and beside another one of the same subnet."""
    found: dict[int, list[str]] = {AF_INET: [], AF_INET6: []}
    before: set[tuple[int, IPv4Network | IPv6Network | str]] = set()
    for address in view.addresses:
        link = view.link(address.ifindex)
        if link is None or address.scope != 0 or address.local.startswith("127.") or address.local == "::1":
            continue
        place = address.ifindex, ip_network(f"{address.local}/{address.prefixlen}", strict=False)
        alone = place[1].num_addresses == 1
        beside = (address.ifindex, address.family) in before if alone else place in before
        before |= {place, (address.ifindex, address.family)}
        if link.loopback or link.kind == "dummy" or (beside and address.flags & IFA_F_PERMANENT):
            found[AF_INET if address.family == "inet" else AF_INET6].append(address.local)
    return found


def strayed(view: HostView) -> dict[int, tuple[ConntrackEntry, ConntrackEntry]]:
    """By port, a question to an address of this host and what left for the client from another one instead."""
    flows = view.conntrack
    chosen = (flows.proto == IPPROTO_UDP) & (flows.status & IPS_SEEN_REPLY == 0)
    chosen &= flows.orig_sport != flows.orig_dport
    if not chosen.any():
        return {}
    own = {row.local for row in view.addresses}
    here = np.array([packed(address)[1].tobytes() for address in own], "S16")
    chosen &= np.isin(flows.orig_src.view("S16")[:, 0], here) | np.isin(flows.orig_dst.view("S16")[:, 0], here)
    rows = [flows.row(position) for position in np.flatnonzero(chosen)[:MOST].tolist()]
    out = {(one.orig_dst, one.orig_dport, one.orig_sport): one for one in rows if one.orig_src in own}
    found: dict[int, tuple[ConntrackEntry, ConntrackEntry]] = {}
    for asked in rows:
        answer = out.get((asked.orig_src, asked.orig_sport, asked.orig_dport))
        if asked.orig_dst in own and answer is not None and answer.orig_src != asked.orig_dst:
            found.setdefault(asked.orig_dport, (asked, answer))
    return found


def check(view: HostView) -> Iterator[Draft]:
    proven = strayed(view)
    yield from _proven(view, proven)
    services = service_addresses(view)
    table = view.sockets
    words = (view.sysctl("net.ipv4.ip_local_port_range") or "32768 60999").split()
    chosen = listening(table, IPPROTO_UDP) & any_address(table) & (table.ifindex == 0) & (table.inode != 0)
    chosen &= ~among(table.sport, CLIENT_PORTS)
    chosen &= (table.sport < int(words[0])) | (table.sport > int(words[-1]))
    for position in np.flatnonzero(chosen).tolist()[:NAMED]:
        row = table.row(position)
        if row.sport in proven:
            continue
        family = int(table.family[position])
        both = family == AF_INET6 and not table.v6only[position]
        addresses = services[family] + (services[AF_INET] if both else [])
        comm = comm_of(view, row.inode)
        if not addresses or comm is None or comm in CAREFUL:
            continue
        yield RULE.found(
            subject=about(row),
            severity="info",
            confidence="possible",
            message=f"{named(view, row)} may answer questions to {addresses[0]} from another address",
            evidence=[
                ("bound to", row.src, f"SOCK_DIAG udp sport {row.sport}"),
                ("service addresses", " ".join(addresses[:3]), "RTM_GETADDR"),
            ],
            confirm=[f"ss -lunp sport = :{row.sport}", f"ip address show to {addresses[0]}"],
            fix=f"bind the server to {addresses[0]}, or let it use IP_PKTINFO",
        )


def _proven(view: HostView, proven: dict[int, tuple[ConntrackEntry, ConntrackEntry]]) -> Iterator[Draft]:
    """Servers at the wildcard whose answers were seen to leave from another address."""
    table = view.sockets
    waiting = listening(table, IPPROTO_UDP) & any_address(table)
    for port, (asked, answer) in proven.items():
        for position in np.flatnonzero(waiting & (table.sport == port))[:1].tolist():
            row = table.row(position)
            yield RULE.found(
                subject=about(row),
                message=f"{named(view, row)} was asked at {asked.orig_dst} by {asked.orig_src} and answered from "
                f"{answer.orig_src}: clients ignore such answers",
                evidence=[
                    (f"question without an answer, to {asked.orig_dst}", _words(asked), "IPCTNL_MSG_CT_GET"),
                    (f"what left instead, from {answer.orig_src}", _words(answer), "IPCTNL_MSG_CT_GET"),
                    ("bound to", row.src, f"SOCK_DIAG udp sport {row.sport}"),
                ],
                confirm=[f"ss -lunp sport = :{port}", f"conntrack -L -p udp -s {asked.orig_src}"],
                fix=f"bind the server to {asked.orig_dst}, or let it use IP_PKTINFO",
            )


def _words(flow: ConntrackEntry) -> str:
    return f"{endpoint(flow.orig_src, flow.orig_sport)} to {endpoint(flow.orig_dst, flow.orig_dport)}, not replied"


def examples() -> Iterator[Example]:
    def case(name: str, why: str, fires: int, *, vip: str | None = "203.0.113.7/32", **fields: Any) -> Example:
        host = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24")
        if vip:
            host.address("lo", vip)
        host.socket(**({"protocol": 17, "sport": 5300, "comm": "game", "dev": None} | fields))
        says = (f"service addresses {vip.partition('/')[0]} RTM_GETADDR",) if fires and vip else ()
        severity: Severity | None = "info" if fires else None
        return Example(name=name, why=why, tables=host.build(), fires=fires, severity=severity, says=says)

    yield case("wildcard on an anycast host", "the plain suspicion", 1)
    yield case("IPv6", "its own family", 1, vip="2001:db8::7/128", src="::")
    yield case("IPv6 wildcard, IPv4 service", "it takes both", 1, src="::")
    yield case("IPv6 only", "it takes no IPv4", 0, src="::", v6only=1)
    yield case("bound to the service", "as it should be", 0, src="203.0.113.7")
    yield case("bound to an interface", "not for the service", 0, dev="eth0")
    yield case("no service address", "one address, one source", 0, vip=None)
    yield case("a careful program", "uses IP_PKTINFO", 0, comm="unbound")
    yield case("nobody known", "the kernel's, or not to be seen", 0, comm=None)
    yield case("a port that the kernel chose", "a client", 0, sport=40000)
    yield case("a DHCP client", "asks, is not asked", 0, sport=68)
    yield case("TCP", "answers from where it was asked", 0, protocol=6)
    yield case("an ordinary range", "just below it", 1, sport=32767)
    yield case("first port of the range", "a client", 0, sport=32768)
    yield case("last port of the range", "a client", 0, sport=60999)
    yield case("just above the range", "a server", 1, sport=61000)
    yield case("IPv4 only, IPv6 service", "no question comes to it", 0, vip="2001:db8::7/128")
    yield case("no inode", "the kernel's own", 0, inode=0)
    yield case("loopback addresses alone", "nobody outside asks them", 0, vip="127.0.0.9/8", src="::")
    dummy = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24").link("anycast", kind="dummy")
    dummy.address("anycast", "203.0.113.7/32").socket(protocol=17, sport=5300, comm="game")
    yield Example(name="on a dummy", why="the same", tables=dummy.build(), fires=1)
    yield Example(name="on a dummy that went", why="nobody asks there", tables=dummy.vanished("anycast").build())
    for name, address, fields in (
        ("127.0.0.9 for the world", "127.0.0.9/32", {"scope": 0}),
        ("::1 for the world", "::1/128", {"scope": 0}),
        ("a host-only address", "203.0.113.9/32", {"scope": 254}),
    ):
        only = HostBuilder().address("lo", address, **fields).socket(protocol=17, sport=5300, comm="game", src="::")
        yield Example(name=name, why="nobody outside asks it", tables=only.build())
    for name, why, addresses, service in (
        ("a second address of its subnet", "the first one is the source", ("192.0.2.1/24", "192.0.2.53/24"),
         "192.0.2.53"),
        ("a VIP beside it", "as keepalived adds it", ("192.0.2.1/24", "192.0.2.53/32"), "192.0.2.53"),
        ("a second IPv6 address", "the same", ("2001:db8::1/64", "2001:db8::53/64"), "2001:db8::53"),
        ("an IPv6 VIP", "the same", ("2001:db8::1/64", "2001:db8::53/128"), "2001:db8::53"),
        ("another subnet's", "it is the source there", ("192.0.2.1/24", "198.51.100.1/24"), None),
        ("one /32", "there is no other", ("192.0.2.53/32",), None),
    ):  # fmt: skip
        second = HostBuilder().link("eth0").socket(protocol=17, sport=5300, comm="game", src="::")
        for one in addresses:
            second.address("eth0", one)
        says = (f"questions to {service} from another address",) if service else ()
        yield Example(name=name, why=why, tables=second.build(), fires=int(bool(service)), says=says)
    lease = HostBuilder().link("eth0").socket(protocol=17, sport=5300, comm="game", src="::")
    lease.address("eth0", "2001:db8::1/64").address("eth0", "2001:db8::2:2/64", flags=0, valid_lft=3600)
    yield Example(name="an IPv6 address that expires", why="nobody asks for services there", tables=lease.build())
    yield case("no port yet", "nobody can ask it", 0, sport=0)
    yield from _tracked()


def _tracked() -> Iterator[Example]:
    """A question to the service, and what left for the client."""

    def case(name: str, why: str, answer: str, *, status: int = 8, fires: bool = False, **fields: Any) -> Example:
        host = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24").address("eth0", "2001:db8::1/64")
        host.address("lo", "203.0.113.7/32").address("lo", "2001:db8:7::7/128")
        six = ":" in answer
        host.socket(**({"protocol": 17, "sport": 5300, "comm": "unbound", "src": "::" if six else "0.0.0.0"} | fields))
        asked = "2001:db8::9 45000 2001:db8:7::7 5300" if six else "192.0.2.9 45000 203.0.113.7 5300"
        for flow in (asked, answer):
            one, its, other, at = flow.split()
            host.conntrack(17, flow, f"{other} {at} {one} {its}", status=status)
        severity: Severity | None = "warning" if fires else None
        return Example(name=name, why=why, tables=host.build(), fires=int(fires), severity=severity)

    stray = "192.0.2.1 5300 192.0.2.9 45000"
    yield case("tracked: from another address", "the client ignores it", stray, fires=True)
    yield case("tracked: IPv6", "the same", "2001:db8::1 5300 2001:db8::9 45000", fires=True)
    yield case("tracked: from the one that was asked", "one flow", "203.0.113.7 5300 192.0.2.9 45000")
    yield case("tracked: to another port", "another conversation", "192.0.2.1 5300 192.0.2.9 45001")
    yield case("tracked: somebody else's", "it is forwarded", "198.51.100.7 5300 192.0.2.9 45000")
    yield case("tracked: replied", "both went both ways", stray, status=0xA)
    yield case("tracked: bound to an address", "whoever sent that", stray, src="203.0.113.7")
