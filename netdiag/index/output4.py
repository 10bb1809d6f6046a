"""IPv4 packets that this host sends: what happens around the routing tables.

Mirrors __ip_route_output_key_hash_rcu() and __mkroute_output() of net/ipv4/route.c and the end of fib_select_path() of
net/ipv4/fib_semantics.c. What few expect:

- A source must be an address of this host, or the answer is "network unreachable" before any route is looked at.
- With an outgoing interface given, "no route", a blackhole, a prohibit and a rule that refuses all mean the same: the
  destination is taken to be on that link.
- Multicast and limited broadcast from a given source leave by that source's interface, no route is asked. Those that go
  by a route use no gateway (multicast: unless the prefix is 4 bits or longer).
- Multicast by a given interface gets its source before the rules are tried, so that ``from`` sees it.

Pure.
"""

import errno
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from netdiag.index.links import LinkStack
from netdiag.index.local import LocalAddresses
from netdiag.index.packet import Flow, Hop, Lookup
from netdiag.index.source4 import RT_SCOPE_HOST, RT_SCOPE_LINK, Sources4
from netdiag.model.protocols import IPPROTO_IGMP
from netdiag.model.route import Routes

LIMITED_BROADCAST = 0xFFFFFFFF
LOOPBACK_ADDRESS = 0x7F000001
LOOPBACK = 1


def multicast(address: int) -> bool:
    """224.0.0.0/4."""
    return address >> 28 == 0xE


def local_multicast(address: int) -> bool:
    """224.0.0.0/24: never leaves the link."""
    return address >> 8 == 0xE00000


class Asked4(Protocol):
    """One way to ask the IPv4 tables, see netdiag.index.lookup4."""

    def decide(self, flow: Flow) -> Lookup:
        """fib_lookup() and what it leads to."""

    def local_device(self, address: int) -> int:
        """ifindex of the route of type local that holds an address, as table local is seen this way; 0: none."""

    def object_scope(self, hop: Hop) -> int | None:
        """Scope that the kernel noted for a hop of a nexthop object; None for any other."""


class Host4(NamedTuple):
    """What of a host matters to packets that it sends."""

    routes: Routes
    stack: LinkStack
    local: LocalAddresses
    sources: Sources4
    localnet: Callable[[int], bool]
    """Whether route_localnet holds for an interface, by index."""


class Output4:
    """The way of an IPv4 packet of this host, around the routing tables."""

    def __init__(self, asked: Asked4, host: Host4) -> None:
        self._asked = asked
        self._host = host

    def lookup(self, flow: Flow) -> Lookup:
        """What the sender gets."""
        early = self._before_tables(flow)
        if early is not None:
            return self._make(early, flow)
        asked_oif = flow.oif
        if asked_oif and not flow.src_number and multicast(flow.dst_number):
            flow.src_number = self._host.sources.select(asked_oif, 0, flow.scope)
        decided = self._asked.decide(flow)
        answers: list[Lookup] = []
        for one in (decided, *decided.alternatives):
            made = self._after_tables(_with_others(one, ()), flow, asked_oif)
            answers += [_with_others(made, ()), *made.alternatives]
        return _with_others(answers[0], tuple(answers[1:]))

    def _before_tables(self, flow: Flow) -> Lookup | None:
        """The answers for which no table is asked."""
        query, src, dst = flow.query, flow.src_number, flow.dst_number
        to_many = multicast(dst) or dst == LIMITED_BROADCAST
        if src:
            if multicast(src) or src == LIMITED_BROADCAST:
                return _refused(flow, errno.EINVAL, "the source is no address of a single host")
            indexes = self._interfaces_of(query.src or "")
            if not indexes:
                return _refused(flow, errno.ENETUNREACH, f"the source {query.src} is not an address of this host")
            if to_many and not flow.oif:
                return Lookup(query=query, type="unicast", hops=tuple(Hop(oif=index) for index in indexes))
        if flow.oif:
            link = self._host.stack.by_index.get(flow.oif)
            if link is None:
                return _refused(flow, errno.ENODEV, "there is no such outgoing interface")
            if not link.up:
                return _refused(flow, errno.ENETUNREACH, f"the outgoing interface {link.ifname} is down")
            if local_multicast(dst) or dst == LIMITED_BROADCAST or flow.ip_proto == IPPROTO_IGMP:
                return Lookup(query=query, type="unicast", hops=(Hop(oif=flow.oif),))
        if not dst:
            src = src or (self._host.sources.select(flow.oif, 0, RT_SCOPE_HOST) if flow.oif else 0) or LOOPBACK_ADDRESS
            note = f"destination 0.0.0.0 means the host itself, {IPv4Address(src)}"
            hop = Hop(oif=LOOPBACK, src=str(IPv4Address(src)))
            return Lookup(query=query, type="local", hops=(hop,), notes=(note,))
        return None

    def _interfaces_of(self, src: str) -> list[int]:
        """Interfaces with this address, else that of the local route which holds it (__ip_dev_find())."""
        owners = dict.fromkeys(address.ifindex for address in self._host.local.owners(src))
        holder = 0 if owners else self._asked.local_device(int(IPv4Address(src)))
        return [holder] if holder else list(owners)

    def _after_tables(self, decided: Lookup, flow: Flow, asked_oif: int) -> Lookup:
        if decided.errno and asked_oif and flow.oif and (multicast(flow.dst_number) or not flow.l3mdev):
            note = (
                f"{decided.error} is not heeded with an outgoing interface: the destination is taken to be on its link"
            )
            decided = Lookup(
                query=flow.query,
                type="unicast",
                hops=(Hop(oif=asked_oif),),
                steps=decided.steps,
                notes=(*decided.notes, note),
            )
        return self._make(decided, flow)

    def _make(self, answer: Lookup, flow: Flow) -> Lookup:
        """What __mkroute_output() makes of it: the source, the last refusals, and the type by destination."""
        if answer.errno:
            return answer
        dst = flow.dst_number
        hops = tuple(replace(hop, src=hop.src or self._source(hop, answer, flow)) for hop in answer.hops)
        carried = tuple(hop for hop in hops if not self._keeps_loopback(hop))
        if not carried or len(carried) < len(hops):
            refused = _refused(flow, errno.EINVAL, "a loopback source does not leave the host", answer)
            if not carried:
                return refused
            # the choice between the hops comes first, and does not ask for the source
            answer = replace(answer, alternatives=(refused,))
        if dst == LIMITED_BROADCAST:
            return replace(answer, type="broadcast", hops=tuple(replace(hop, gateway=None) for hop in carried))
        if multicast(dst):
            answer = replace(answer, type="multicast")
        if answer.type == "multicast" and (answer.prefixlen or 0) < 4:
            carried = tuple(replace(hop, gateway=None) for hop in carried)
        return replace(answer, hops=carried)

    def _source(self, hop: Hop, answer: Lookup, flow: Flow) -> str | None:
        """The source address: the sender's, the route's, or one that fits the next hop."""
        chosen = flow.src_number
        if not chosen and hop.route is not None and self._leaks(hop, answer, flow):
            chosen = self._host.sources.select(flow.l3mdev, 0, RT_SCOPE_LINK)
        elif not chosen and hop.route is not None:
            chosen = int(self._host.routes.prefsrc[hop.route])
            if not chosen and answer.type == "local":
                chosen = flow.dst_number
            if not chosen:
                near = hop.gateway or hop.own_gateway or "::"
                gateway = 0 if ":" in near else int(IPv4Address(near))
                chosen = self._host.sources.select(hop.oif, gateway, self._scope(hop))
        if not chosen:
            chosen = self._host.sources.select(hop.oif, 0, RT_SCOPE_LINK)
        return str(IPv4Address(chosen)) if chosen else None

    def _leaks(self, hop: Hop, answer: Lookup, flow: Flow) -> bool:
        """A packet of a VRF leaves it: the source is then one of the VRF, not of the route."""
        vrf = self._host.stack.vrf(hop.oif)
        return answer.type != "local" and bool(flow.l3mdev) and (vrf is None or vrf.ifindex != flow.l3mdev)

    def _scope(self, hop: Hop) -> int:
        """The widest scope of a source: the route's, or one less than that noted for a nexthop object."""
        noted = self._asked.object_scope(hop)
        if noted is not None:
            return max(noted - 1, 0)
        return int(self._host.routes.scope[hop.route]) if hop.route is not None else RT_SCOPE_LINK

    def _keeps_loopback(self, hop: Hop) -> bool:
        """The packet would leave with a source of 127.0.0.0/8."""
        link = self._host.stack.by_index.get(hop.oif)
        if hop.src is None or link is None or not hop.src.startswith("127."):
            return False
        return not (link.loopback or link.kind == "vrf" or self._host.localnet(hop.oif))


def _with_others(answer: Lookup, others: tuple[Lookup, ...]) -> Lookup:
    """The answer with these alternatives; a copy only where it has others, for a host asks a thousand times."""
    return answer if answer.alternatives == others else replace(answer, alternatives=others)


def _refused(flow: Flow, number: int, note: str, answer: Lookup | None = None) -> Lookup:
    base = answer if answer is not None else Lookup(query=flow.query)
    return Lookup(
        query=flow.query,
        errno=number,
        rule=base.rule,
        route=base.route,
        table=base.table,
        prefixlen=base.prefixlen,
        steps=base.steps,
        notes=(*base.notes, note),
    )
