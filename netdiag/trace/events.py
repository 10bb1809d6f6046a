"""The programs' bytes as events: struct event, struct wanted, struct key and struct count of bpf/netdiag.h. Pure."""

import ipaddress
from struct import Struct
from typing import NamedTuple

from netdiag.model.protocols import IPPROTO_TCP, PROTOCOL_NAMES
from netdiag.model.text import kernel_text
from netdiag.model.trace import TraceEvent
from netdiag.trace.reasons import Names

EVENT = Struct("=QQQ6I4I16s16sHHH4B6x16s")
WANTED = Struct("=II16sHBBI")
KEY = Struct("=QIIII")
COUNT = Struct("=QQ")
TOLD = Struct("=QQQ")
INDEX = Struct("=I")

FLAGS = "FSRPAUEW"
"""TCP flags from the lowest bit: FIN, SYN, RST, PSH, ACK, URG, ECE, CWR."""
PLACES = ("received", "queued", "sending", "sent", "read", "consumed", "dropped")
"""Of the question ``packet``, by number."""
ENDS = frozenset({"dropped", "consumed"})
WHAT = {"drops": "dropped", "retransmits": "retransmitted"}
STATES = (
    "", "established", "syn-sent", "syn-recv", "fin-wait-1", "fin-wait-2", "time-wait", "close", "close-wait",
    "last-ack", "listen", "closing", "new-syn-recv", "bound-inactive",
)  # fmt: skip
"""TCP_* of include/net/tcp_states.h, as ss(8) spells them."""
CONGESTION = ("open", "disorder", "cwr", "recovery", "loss")
"""TCP_CA_* of include/uapi/linux/tcp.h."""


class Wanted(NamedTuple):
    """What is asked for; None is a wildcard."""

    netns: int | None = None
    """Inode."""
    ifindex: int | None = None
    address: str | None = None
    """Source or destination."""
    port: int | None = None
    """Source or destination."""
    protocol: int | None = None
    family: str | None = None
    events: int = 200
    """How many are told; all are counted."""

    def octets(self) -> bytes:
        """struct wanted."""
        address = ipaddress.ip_address(self.address).packed if self.address else b""
        version = {"inet": 4, "inet6": 6}.get(self.family or "", 0)
        version = ipaddress.ip_address(self.address).version if self.address else version
        return WANTED.pack(
            self.netns or 0,
            self.ifindex or 0,
            address.ljust(16, b"\0"),
            self.port or 0,
            version,
            self.protocol or 0,
            self.events,
        )


class Decoder:
    """Gives each record its words, and each packet buffer a number."""

    def __init__(self, question: str, names: Names) -> None:
        self._question = question
        self._names = names
        self._began: int | None = None
        self._packets: dict[int, int] = {}
        self._gone = 0

    def event(self, octets: bytes) -> TraceEvent | None:
        """One record; None for one that is too short."""
        if len(octets) < EVENT.size:
            return None
        (
            at, location, skb, reason, netns, ifindex, iif, length, mark, cwnd, srtt, total, _, saddr, daddr,
            sport, dport, protocol, version, l4, flags, kind, ifname,
        ) = EVENT.unpack_from(octets)  # fmt: skip
        self._began = at if self._began is None else self._began
        v4 = version == 4
        resent = self._question == "retransmits"
        number = self._packets.setdefault(skb, len(self._packets) + 1 + self._gone)
        if self.what(kind) in ENDS:  # its memory is another packet's next
            del self._packets[skb]
            self._gone += 1
        ends = version in (4, 6)
        return TraceEvent(
            at=max(0, at - self._began) / 1e9,
            what=self.what(kind),
            reason=self.reason(reason, kind),
            location=self._names.function(location),
            ifname=kernel_text(ifname.partition(b"\0")[0]) or None,
            ifindex=ifindex or None,
            iif=iif or None,
            netns=netns or None,
            family={4: "inet", 6: "inet6"}.get(version),
            src=_address(saddr, v4) if ends else None,
            dst=_address(daddr, v4) if ends else None,
            proto=PROTOCOL_NAMES.get(l4, str(l4)) if ends else None,
            sport=sport or None,
            dport=dport or None,
            flags=_flags(flags) if l4 == IPPROTO_TCP and not resent else None,
            ethertype=protocol if not ends and protocol else None,
            length=length,
            mark=mark,
            packet=None if resent else number,
            state=_of(STATES, reason) if resent else None,
            cwnd=cwnd if resent else None,
            srtt_us=srtt if resent else None,
            retransmits=total if resent else None,
        )

    def what(self, kind: int) -> str:
        """What happened, in a word."""
        return WHAT.get(self._question) or _of(PLACES, kind) or str(kind)

    def reason(self, number: int, kind: int) -> str | None:
        """Why, in a word."""
        if self._question == "retransmits":
            return _of(CONGESTION, kind)
        return self._names.reason(number) if self.what(kind) == "dropped" else None


def _of(words: tuple[str, ...], number: int) -> str | None:
    return words[number] if 0 <= number < len(words) and words[number] else None


def _address(octets: bytes, v4: bool) -> str:
    return str(ipaddress.ip_address(octets[:4] if v4 else octets))


def _flags(number: int) -> str:
    return "".join(letter for bit, letter in enumerate(FLAGS) if number >> bit & 1)
