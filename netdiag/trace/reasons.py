"""Words for what the kernel tells in numbers: drop reasons by its own BTF, functions by /proc/kallsyms; and what a
reason means for who is called at night.

The numbers of enum skb_drop_reason differ between kernels: nothing here knows them.
"""

from bisect import bisect_right
from collections.abc import Callable
from functools import cached_property

from netdiag.sources.bpf.btf import enumerators

BTF = "/sys/kernel/btf/vmlinux"
SYMBOLS = "/proc/kallsyms"
PREFIX = "SKB_DROP_REASON_"
SUBSYSTEM = 16
"""Bits below the number of the subsystem that a reason belongs to (0: the core)."""

MEANINGS = {
    "NO_SOCKET": "nothing listens there: ss -lntu",
    "NETFILTER_DROP": "a rule of nftables or iptables drops it: netdiag path says which",
    "IP_RPFILTER": "the reverse path filter: the way back to its source leaves by another interface",
    "IP_OUTNOROUTES": "this host has no route for it: ip route get",
    "IP_INNOROUTES": "what came in has no route onward: ip route get ... iif",
    "IP_INADDRERRORS": "its address is none that this host takes or forwards for: is forwarding on?",
    "IP_LOCAL_SOURCE": "its source is this host's own address (accept_local)",
    "IP_INVALID_SOURCE": "its source is no address of a single host",
    "IP_LOCALNET": "loopback addresses came in by an interface (route_localnet)",
    "IP_INVALID_DEST": "its destination is no address that packets are sent to",
    "OTHERHOST": "its hardware address is another host's: a bridge that floods, or promiscuous mode",
    "SOCKET_RCVBUFF": "the socket's receive buffer is full: the program reads too slowly; ss -m",
    "SOCKET_BACKLOG": "the socket's backlog is full: the program reads too slowly",
    "TCP_LISTEN_OVERFLOW": "the accept queue is full: ss -lnt shows Recv-Q at Send-Q",
    "TCP_CSUM": "its TCP checksum is wrong",
    "UDP_CSUM": "its UDP checksum is wrong",
    "IP_CSUM": "its IP checksum is wrong",
    "TCP_MD5NOTFOUND": "it lacks the MD5 signature that is wanted",
    "TCP_MD5UNEXPECTED": "it has an MD5 signature that is not wanted",
    "TCP_MD5FAILURE": "its MD5 signature is wrong: another password",
    "TCP_MINTTL": "it came over more hops than TTL security allows",
    "NEIGH_FAILED": "the next hop does not answer to ARP or neighbour discovery: ip neigh",
    "NEIGH_QUEUEFULL": "too many packets wait for a next hop that has not answered yet: ip neigh",
    "NEIGH_CREATEFAIL": "no neighbour entry could be made: the table may be full (gc_thresh3)",
    "NEIGH_DEAD": "its neighbour entry was taken away meanwhile",
    "QDISC_DROP": "the queueing discipline dropped it: tc -s qdisc show",
    "QDISC_OVERLIMIT": "the queue is full: tc -s qdisc show",
    "TC_INGRESS": "a tc filter or program on the way in drops it: tc filter show dev IF ingress",
    "TC_EGRESS": "a tc filter or program on the way out drops it: tc filter show dev IF egress",
    "XDP": "an XDP program drops it: ip link show dev IF",
    "BPF_CGROUP_EGRESS": "a BPF program of a cgroup drops it: bpftool cgroup tree",
    "CPU_BACKLOG": "a processor's backlog is full: net.core.netdev_max_backlog",
    "PKT_TOO_BIG": "it is longer than the MTU and must not be cut",
    "PKT_TOO_SMALL": "it is shorter than its headers say",
    "HDR_TRUNC": "its headers are not all there",
    "UNHANDLED_PROTO": "nothing here handles its protocol",
    "IP_NOPROTO": "nothing here handles its IP protocol",
    "IPV6DISABLED": "IPv6 is off on the interface (disable_ipv6)",
    "SOCKET_FILTER": "the socket's own filter does not want it",
    "SOCKET_CLOSE": "its socket was closed",
    "FULL_RING": "the ring of a tap or veth is full: who reads it is too slow",
    "TAP_TXFILTER": "the tap's filter does not want it",
    "DEV_READY": "the interface is not ready: down, or without a reader",
    "FRAG_REASM_TIMEOUT": "the other fragments did not come in time",
    "NOMEM": "no memory",
    "PROTO_MEM": "the protocol's memory is used up: net.ipv4.tcp_mem, udp_mem",
    "XFRM_POLICY": "an IPsec policy does not let it through: ip xfrm policy",
    "NOT_SPECIFIED": "the kernel tells no reason: where it happened says more",
    "VXLAN_VNI_NOT_FOUND": "no VXLAN interface here has its number",
    "NO_TX_TARGET": "no port or far end to send it to",
    "LOCAL_MAC": "it came in with this host's own hardware address as source: a loop",
    "BRIDGE_INGRESS_STP_STATE": "spanning tree does not let the bridge's port take it",
    "RECURSION_LIMIT": "tunnels in tunnels without end",
    "loss": "a timeout: nothing came back in time",
    "recovery": "later segments were acknowledged, this one was not",
    "disorder": "acknowledgements are out of order",
    "cwr": "the window was made smaller, by ECN or by congestion at this host",
    "open": "nothing seemed lost: a probe of the tail, or the first packet of a connection",
}
"""By the name of a drop reason, or of the congestion state of a connection that sends again."""


class Names:
    """What this kernel calls things. What cannot be read stays a number, or nothing."""

    def __init__(self, reasons: dict[int, str], symbols: Callable[[], list[tuple[int, str]]]) -> None:
        """``symbols``: gives addresses and names of functions, in order; asked for when the first is needed."""
        self._reasons = reasons
        self._symbols = symbols

    @cached_property
    def _functions(self) -> tuple[list[int], list[str]]:
        known = self._symbols()
        return [address for address, _ in known], [name for _, name in known]

    def reason(self, number: int) -> str:
        """``NETFILTER_DROP``; a number where the kernel has no name for it."""
        known = self._reasons.get(number)
        if known is not None:
            return known.removeprefix(PREFIX)
        if number >> SUBSYSTEM:
            return f"subsystem {number >> SUBSYSTEM} reason {number & 0xFFFF}"
        return str(number)

    def function(self, address: int) -> str | None:
        """``nf_hook_slow+0x8e``; None where the symbols are not told."""
        if not address:
            return None
        addresses, names = self._functions
        at = bisect_right(addresses, address) - 1
        return f"{names[at]}+{address - addresses[at]:#x}" if at >= 0 else None


def of_this_kernel() -> Names:
    """Read both. What is not there, or not for us to see, is left out."""
    try:
        with open(BTF, "rb") as file:
            reasons = enumerators(file.read(), "skb_drop_reason")
    except OSError:
        reasons = {}
    return Names(reasons, _symbols)


def _symbols() -> list[tuple[int, str]]:
    found = []
    try:
        with open(SYMBOLS, encoding="ascii", errors="replace") as lines:
            for line in lines:
                words = line.split()
                if len(words) >= 3 and words[1] in "tT" and words[0].strip("0"):
                    found.append((int(words[0], 16), words[2]))
    except (OSError, ValueError):
        return []
    return sorted(found)
