"""Which of several next hops the kernel takes for a packet, where that can be known: see netdiag.index.flowhash.

Not where a next hop is left out (its share goes to others), where neighbours count, where ports decide that were not
said, and not for an own packet whose source belongs to one of the interfaces: newer kernels then prefer that one. Pure.
"""

from netdiag.index.flowhash import chosen, flow_hash
from netdiag.index.packet import Lookup
from netdiag.model.protocols import IPPROTO_TCP, IPPROTO_UDP
from netdiag.path.host import PathHost
from netdiag.path.trail import Packet

L3, L4 = 0, 1
"""Values of net.ipv4.fib_multipath_hash_policy that are known here."""
SILENT = frozenset({"failed", "incomplete"})


def member(host: PathHost, packet: Packet, answer: Lookup) -> int | None:
    """Position among the answer's hops; None where it cannot be known."""
    seed = host.number("net.ipv4.fib_multipath_hash_seed")
    policy = host.number("net.ipv4.fib_multipath_hash_policy") or L3
    plain = packet.family == "inet" and seed and policy in (L3, L4) and not answer.left_out
    if not plain or host.number("net.ipv4.fib_multipath_use_neigh") or len({hop.route for hop in answer.hops}) > 1:
        return None
    if any(_silent(host, hop.oif, hop.gateway) for hop in answer.hops) or _resilient(host, answer):
        return None
    if packet.src is not None and not packet.iif:
        ways = {hop.oif for hop in answer.hops}
        if any(row.ifindex in ways for row in host.tables.addresses if row.local == packet.src):
            return None
    ports = None
    if policy == L4:
        if packet.ip_proto not in (IPPROTO_TCP, IPPROTO_UDP) or packet.sport is None or packet.dport is None:
            return None
        ports = packet.sport, packet.dport
    value = flow_hash(seed or 0, packet.src, packet.dst, ports=ports, proto=packet.ip_proto or 0 if ports else 0)
    return chosen(value, [hop.weight for hop in answer.hops])


def _silent(host: PathHost, ifindex: int, gateway: str | None) -> bool:
    row = host.neighbour(ifindex, gateway) if gateway is not None else None
    return row is not None and row.state in SILENT


def _resilient(host: PathHost, answer: Lookup) -> bool:
    number = int(host.tables.routes.nh_id[answer.route]) if answer.route is not None else 0
    return any(nexthop.id == number and nexthop.resilient for nexthop in host.tables.nexthops)
