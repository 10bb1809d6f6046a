"""BGP sessions of BIRD as the rules about them see them: what state one is in and why, since when, over which way.

Facts: the states and error texts are bgp_state_names[], bgp_err_classes[], bgp_misc_errors[] and bgp_auto_errors[] of
proto/bgp/bgp.c and bgp_error_dsc() of proto/bgp/packet.c, the same in BIRD 1.6, 2 and 3. BIRD forgets the last error
when a session is established or switched off, so an error that is shown is why the session is down now. Times are text
whose format is a setting of the daemon (``timeformat``): an age may be unknown. Pure; nothing can fail.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import numpy as np

from netdiag.index.policy import Lookup, Query
from netdiag.index.view import HostView
from netdiag.model.bird import BfdSession, BirdChannel, BirdDaemon, BirdProtocol
from netdiag.model.finding import Severity, Subject, subject
from netdiag.model.route import RTN_UNICAST
from netdiag.rules.shape import quoted
from netdiag.rules.wireguardpeers import device_subject, devices, peer_subject, way_to
from netdiag.rules.wireguardways import peer_for

STARTING = 10.0
"""Seconds that a session may take to come up: BIRD waits five (``connect delay time``) before it calls."""
PASSING = 2.0
"""Seconds within which the dump of the kernel's routes and BIRD's lists are read, where it is not known when."""
BOOT = 0.2
"""Seconds between the daemon's start, or the reading of its configuration, and the start of its protocols: BIRD takes
the time once for all of them, where it is not very busy."""
TOGETHER = 0.15
"""Seconds between BFD's going down and that of the BGP session which it takes along."""
DEFAULT_SOCKET = "/run/bird/bird.ctl"
"""Where birdc looks by itself (Debian)."""
_STAMP = re.compile(r"^(?:(\d{4}-\d\d-\d\d)[ T]?)?(?:(\d\d:\d\d)(:\d\d)?(\.\d+)?)?$")
_PLAIN = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_REFUSALS = ("Received: Cease", "Socket: Connection reset by peer")
"""What the other end's BFD going down looks like from here."""
RESTARTS = ("Received: Administrative reset", "Received: Other configuration change")
"""The neighbour ended the session and is about to begin it anew (RFC 4486)."""
HOLD_TIMER = "Hold timer expired"
"""Nothing came for the whole hold time: on this side (BGP Error), or on the other (Received)."""
CEASE_BFD = "Received: Unknown error 6.10"
"""A neighbour whose BFD went down says so (RFC 9384), and BIRD 2 does not know the word."""
_CLOSED = "Socket: Connection closed"
"""The same, or a daemon that was killed."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """One BGP protocol and the daemon that it runs in."""

    daemon: BirdDaemon
    protocol: BirdProtocol
    alone: bool
    """There is one daemon: names are unique."""

    @property
    def name(self) -> str:
        """The protocol's name."""
        return self.protocol.name

    @property
    def subject(self) -> Subject:
        """The session as a finding's object."""
        return subject("bgp-session", name=self.name, socket=None if self.alone else self.daemon.socket)

    @property
    def neighbour(self) -> str:
        """The neighbour in words: ``192.0.2.1 AS65001``."""
        row = self.protocol
        address = row.neighbor_address or "an unknown address"
        address += f"%{row.neighbor_ifname}" if row.neighbor_ifname else ""
        return address + (f" AS{row.neighbor_as}" if row.neighbor_as is not None else "")

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The neighbour's; None where there is none, or what BIRD printed is no address."""
        try:
            return ip_address(self.protocol.neighbor_address or "")
        except ValueError:
            return None

    @property
    def error(self) -> str:
        """Why it is down, in BIRD's words; empty where BIRD gives no reason."""
        row = self.protocol
        if row.last_error:
            return row.last_error
        said = row.info.removeprefix(row.bgp_state or "").strip() if row.state != "up" else ""
        return said if ":" in said else ""

    @property
    def state(self) -> str:
        """The BGP state (``Idle``, ``Active`` ...), else the protocol's own."""
        return self.protocol.bgp_state or self.protocol.info.partition(" ")[0] or self.protocol.state

    @property
    def up(self) -> bool:
        """Established."""
        return self.protocol.state == "up"

    @property
    def switched_off(self) -> bool:
        """Down because somebody said so: BIRD then has no error to tell."""
        return self.protocol.state in ("down", "stop", "flush") and not self.error

    @property
    def waits(self) -> bool:
        """Passive, or for a range of neighbours: the other side calls, and need not be there."""
        return self.state == "Passive" or self.ranged

    @property
    def ranged(self) -> bool:
        """For a range of neighbours, of which any may come and go."""
        return "Neighbor range" in self.protocol.other

    @property
    def source(self) -> str:
        """Where its facts stand, for evidence."""
        return f"birdc show protocols all {self.name}"

    def command(self, words: str) -> str:
        """A birdc command for this daemon, to be pasted into a shell."""
        return birdc(self.daemon.socket, words)

    @property
    def confirm(self) -> str:
        """The command that shows this session."""
        return self.command(f"show protocols all {bird_name(self.name)}")

    def since(self) -> datetime | None:
        """When it came into its state; None where BIRD's time format is not known."""
        return moment(self.protocol.since, moment(self.daemon.server_time, None))

    def age(self) -> float | None:
        """Seconds in its state; None where BIRD's time format is not known."""
        now, since = moment(self.daemon.server_time, None), self.since()
        return None if now is None or since is None else (now - since).total_seconds()

    def from_the_start(self) -> bool:
        """It has not left the state in which the daemon, or its last configuration, started it."""
        return begun(self.daemon, self.since())

    def starting(self) -> bool:
        """It began a moment ago, or the neighbour restarted it, and may come up by itself; a session that was lost a
        moment ago is not starting."""
        age = self.age()
        begins = self.from_the_start() or not self.error or self.error in RESTARTS
        return age is not None and age < STARTING and begins

    def bfd(self) -> BfdSession | None:
        """Its BFD session."""
        for row in self.daemon.bfd_sessions:
            if row.address == self.protocol.neighbor_address and self.protocol.neighbor_ifname in (None, row.ifname):
                return row
        return None


def moment(text: str | None, now: datetime | None) -> datetime | None:
    """A time as BIRD prints it: date and time, a time of the last 24 hours (``now`` is the daemon's clock), or a date.

    Without seconds it is the end of that minute, as late as it may have been; a date alone is at least an hour old.
    """
    match = _STAMP.match(text or "")
    if not match or not text or (match[1] is None and now is None):
        return None
    try:
        return _moment(*match.groups(), now=now)
    except (ValueError, OverflowError):
        return None  # no such day or hour, or one at the end of all time


def _moment(
    date: str | None, minute: str | None, seconds: str | None, fraction: str | None, *, now: datetime | None
) -> datetime:
    today = (now or datetime.min).date().isoformat()
    if minute is None:
        latest = datetime.fromisoformat(date or today) + timedelta(days=1)
        return latest if now is None else min(latest, now - timedelta(hours=1))
    found = datetime.fromisoformat(f"{date or today} {minute}{seconds or ':59'}")
    found += timedelta(seconds=float(f"0{fraction or '.0'}"))
    if date is None and now is not None and found > now + timedelta(minutes=1):
        found -= timedelta(days=1)
    return found


def passing(view: HostView, daemon: BirdDaemon, since: str | None, slack: float) -> bool:
    """Whether that may have been after the kernel's routes were read, or within the ``slack`` seconds that BIRD takes
    to tell the kernel: what the two hold then need not agree. No where BIRD's time format is not known."""
    now = moment(daemon.server_time, None)
    then = moment(since, now)
    if now is None or then is None:
        return False
    limit, read, told = PASSING, view.routes_at, daemon.answered_at
    if read is not None and told is not None:
        part = 0.0 if "." in (since or "") else 1.0  # a time without a fraction is up to a second later
        limit = max(told - read, 0.0) + slack + part
    return (now - then).total_seconds() < limit


def begun(daemon: BirdDaemon, since: datetime | None) -> bool:
    """Whether that is when the daemon, or its last configuration, started its protocols."""
    now = moment(daemon.server_time, None)
    starts = [moment(text, now) for text in (daemon.last_reboot, daemon.last_reconfiguration)]
    return since is not None and any(
        start is not None and abs((since - start).total_seconds()) <= BOOT for start in starts
    )


def fell_before(session: Session, bfd: BfdSession) -> float | None:
    """Seconds from BFD's last change to the session's; None where a time is not known or BFD never was up."""
    changed, since = moment(bfd.since, moment(session.daemon.server_time, None)), session.since()
    if changed is None or since is None or begun(session.daemon, changed):
        return None
    return (since - changed).total_seconds()


def birdc(socket: str, words: str) -> str:
    """A birdc command; ``words`` are passed as one word where a shell would change them."""
    where = "" if socket == DEFAULT_SOCKET else f" -s {quoted(socket)}"
    if re.fullmatch(r"[\w .:/-]*", words, re.ASCII):
        return f"birdc{where} {words}"
    safe = words.isprintable() and not set(words) & set('"$`\\!')
    return f'birdc{where} "{words}"' if safe else f"birdc{where} {quoted(words)}"


def bird_name(name: str) -> str:
    """A protocol's name as BIRD's own language wants it: quoted where it is no plain word."""
    return name if _PLAIN.match(name) else f"'{name}'"


def sessions(view: HostView) -> Iterator[Session]:
    """Every BGP protocol of every daemon."""
    daemons = view.bird.daemons
    for daemon in daemons:
        for protocol in daemon.protocols:
            if protocol.proto == "BGP":
                yield Session(daemon=daemon, protocol=protocol, alone=len(daemons) == 1)


def bad_as(session: Session) -> bool:
    """One side refuses the other's AS number."""
    return not session.up and session.error.endswith("Bad peer AS")


def limit_closed(session: Session) -> bool:
    """A route limit, ours or the neighbour's, keeps the session down."""
    if session.up:
        return False
    return "Route limit exceeded" in session.error or "Maximum number of prefixes reached" in session.error


def bfd_closed(session: Session) -> bool:
    """BFD took the session down: BIRD says so, or both went down at one moment and the neighbour closed or refuses."""
    if session.up:
        return False
    if "BFD" in session.error or session.error == CEASE_BFD:
        return True
    bfd = session.bfd()
    if bfd is None or session.error not in (*_REFUSALS, _CLOSED):
        return False
    if bfd.state == "Init":
        return True  # the neighbour's BFD lives, and does not hear ours
    before = fell_before(session, bfd)
    return bfd.state == "Down" and session.error != _CLOSED and before is not None and abs(before) <= TOGETHER


def _carries(protocol: BirdProtocol) -> set[tuple[str, str]]:
    channels = protocol.channels or (BirdChannel(name="main"),)
    return {(channel.name, channel.table or protocol.table or "") for channel in channels}


def stands_by(view: HostView, session: Session) -> list[str]:
    """Names of the daemon's other sessions that are up and share a family and a table with each channel of this one,
    which is down or as good as down; empty where one channel is carried by no other session."""
    place = session.daemon.socket
    others = [one for one in sessions(view) if one.up and one.daemon.socket == place and one.name != session.name]
    wanted = _carries(session.protocol)
    if not all(any(channel in _carries(other.protocol) for other in others) for channel in wanted):
        return []
    return [other.name for other in others if _carries(other.protocol) & wanted]


def down_severity(view: HostView, session: Session) -> Severity:
    """Of a session that is down: critical where nothing else brings routes of one of its families."""
    return "warning" if stands_by(view, session) else "critical"


def stood(view: HostView, session: Session) -> bool:
    """Whether the session stood at the time of the baseline, on a host that was in service, as it is now."""
    old = view.baseline
    if old is None or not old.read_whole("bird") or old.meta.drained or view.meta.drained or session.ranged:
        return False
    own = (session.daemon.socket, session.name, session.protocol.neighbor_address)
    return any((one.daemon.socket, one.name, one.protocol.neighbor_address) == own and one.up for one in sessions(old))


def waiting_severity(view: HostView, session: Session) -> Severity:
    """Of a session that is down, as ``down_severity``; no more than a warning where it only waits to be called by a
    neighbour of whom no baseline tells."""
    return "warning" if session.waits and not stood(view, session) else down_severity(view, session)


def loss_words(view: HostView, session: Session) -> str:
    """What is left, for a message."""
    left = stands_by(view, session)
    if not left:
        return "no other session carries its routes"
    return f"{len(left)} other session{'s' if len(left) > 1 else ''} still up ({', '.join(sorted(left)[:3])}" + (
        ", ...)" if len(left) > 3 else ")"
    )


def way(view: HostView, session: Session) -> Lookup | None:
    """How packets to the neighbour leave this host; None where that cannot be asked."""
    row, address = session.protocol, session.address
    if address is None:
        return None
    family = "inet" if address.version == 4 else "inet6"
    device = row.neighbor_ifname or row.other.get("VRF")
    known = device if device in view.stack.by_name else None
    return view.lookup(Query(family=family, dst=str(address), oif=known))


def touched(view: HostView, session: Session, answer: Lookup | None) -> list[Subject]:
    """What the session needs: the link, route and neighbour entry on the way, or what they would be; of a neighbour
    behind a WireGuard tunnel also the peer, and what is on the way to its endpoint."""
    found: list[Subject] = []
    row = session.protocol
    hops = answer.hops if answer is not None and answer.ok else ()
    for hop in hops:
        ifname = view.ifname(hop.oif)
        found += [subject("link", ifname=name) for name in dict.fromkeys([ifname, *_below(view, hop.oif)])]
        found.append(subject("neighbour", dst=hop.gateway or row.neighbor_address, ifname=ifname))
        found += _tunnel(view, hop.oif, row.neighbor_address or "")
        if answer is not None and answer.route is not None:
            route = view.route_rows(answer.query.family, [answer.route])[0]
            found.append(subject("route", dst=route.dst, table=route.table, ifname=ifname))
            found.append(subject("route", dst=route.dst, table=route.table))
    near = [name for name in on_subnet(view, session) if not hops or _dead(view, name)]
    if near or (not hops and row.neighbor_address is not None):
        found += [subject("link", ifname=name) for name in near]
        found += [subject("neighbour", dst=row.neighbor_address, ifname=name) for name in near]
        if answer is not None and not near and not hops:
            default = "0.0.0.0/0" if answer.query.family == "inet" else "::/0"
            found.append(subject("route", dst=default, table=254))
    if session.address is not None:
        found += _tunnels_down(view, str(session.address))
    return list({tuple(thing.items()): thing for thing in found}.values())


def _tunnels_down(view: HostView, address: str) -> Iterator[Subject]:
    """WireGuard interfaces that are down and of which a peer has this address (not: everything): its way went too."""
    for device, link in devices(view):
        peer = None if link.up else peer_for(device, address)
        wide = () if peer is None else (ip_network(prefix) for prefix in peer.allowed_ips)
        if any(network.prefixlen and ip_address(address) in network for network in wide):
            yield subject("link", ifname=link.ifname)


def _tunnel(view: HostView, ifindex: int, address: str) -> Iterator[Subject]:
    for device, link in devices(view):
        if link.ifindex == ifindex:
            yield device_subject(device)
            peer = peer_for(device, address)
            if peer is not None:
                yield from (peer_subject(device, peer), *way_to(view, device, peer))


def dead_links(view: HostView, session: Session, answer: Lookup | None) -> list[tuple[str, str]]:
    """Interfaces towards the neighbour that carry nothing, each with the reason."""
    hops = answer.hops if answer is not None and answer.ok else ()
    found = []
    for name in dict.fromkeys([*(view.ifname(hop.oif) for hop in hops), *on_subnet(view, session)]):
        link = view.stack.by_name.get(name)
        if link is not None and _dead(view, name):
            found.append((name, "has no carrier" if link.up else "is down"))
    return found


def _dead(view: HostView, ifname: str) -> bool:
    """Whether an interface carries nothing; a default route may lead elsewhere what is for its subnet."""
    link = view.stack.by_name.get(ifname)
    return link is not None and not (link.up and link.lower_up)


def _below(view: HostView, ifindex: int) -> Iterator[str]:
    """What lies under an interface and must work for it: not the ports of a bridge that has several."""
    stack = view.stack
    for layer in stack.egress_stack(ifindex):
        master = stack.master(layer.link.ifindex)
        if (
            layer.relation != "port"
            or master is None
            or master.kind != "bridge"
            or len(stack.ports(master.ifindex)) == 1
        ):
            yield layer.link.ifname


def on_subnet(view: HostView, session: Session) -> list[str]:
    """Interfaces that the neighbour is or was on: the one named with it, or with an address of its subnet."""
    row = session.protocol
    if row.neighbor_ifname:
        return [row.neighbor_ifname]
    address = session.address
    return [
        view.ifname(own.ifindex)
        for own in view.addresses
        if address is not None and address in ip_network(f"{own.local}/{own.prefixlen}", strict=False)
    ]


def entries(view: HostView, session: Session) -> list[tuple[str, object, str]]:
    """What the kernel knows of the neighbour's link address."""
    if session.address is None:
        return []
    packed, table = session.address.packed, view.neighbours
    same = (table.dst == np.frombuffer(packed.ljust(16, b"\0"), np.uint8)).all(axis=1)
    same &= table.family == (2 if len(packed) == 4 else 10)
    return [
        (f"neighbour entry {row.dst} dev {view.ifname(row.ifindex)}", row.state, "RTM_GETNEIGH NDA_DST ndm_state")
        for row in table.rows(np.flatnonzero(same)[:2])
    ]


def routed(view: HostView, answer: Lookup | None) -> list[tuple[str, object, str]]:
    """Which way packets to the neighbour go."""
    if answer is None:
        return []
    if not answer.ok:
        return [("route to the neighbour", answer.error, "RTM_GETROUTE, policy rules")]
    ways = [f"{f'via {hop.gateway} ' if hop.gateway else ''}dev {view.ifname(hop.oif)}" for hop in answer.hops[:3]]
    return [("route to the neighbour", ", ".join(ways), "RTM_GETROUTE, policy rules")]


def default_lost(view: HostView, session: Session) -> list[Subject]:
    """The default route, where the host has none of the neighbour's family: an external session may have brought it."""
    row, family = session.protocol, "inet6" if ":" in (session.protocol.neighbor_address or "") else "inet"
    routes = view.routes(family)
    there = ((routes.dst_len == 0) & (routes.type == RTN_UNICAST)).any()
    if there or row.local_as == row.neighbor_as:
        return []
    return [subject("route", dst="::/0" if family == "inet6" else "0.0.0.0/0", table=254)]
