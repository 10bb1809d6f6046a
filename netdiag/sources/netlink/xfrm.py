"""IPsec states and policies: the requests, the blanking of keys, and the decoder.

Source: XFRM_MSG_GETSA and XFRM_MSG_GETPOLICY dumps (include/uapi/linux/xfrm.h, net/xfrm/xfrm_user.c). The kernel sends
keys to whoever may ask (CAP_NET_ADMIN): everything that is not on a short list of harmless attributes is overwritten in
the receive buffer before anything else sees it. Opening NETLINK_XFRM would load its module, so a collector looks first
whether it is there.
"""

import ipaddress
from dataclasses import dataclass, field
from struct import Struct, error, unpack_from
from typing import Any

from netdiag.model.text import kernel_text
from netdiag.model.xfrm import XfrmPolicy, XfrmState, XfrmTemplate
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.attributes import Buffer, u32, walk
from netdiag.sources.netlink.messages import DumpRequest, Sink, walk_messages

NEWSA, GETSA, NEWPOLICY, GETPOLICY = 0x10, 0x12, 0x13, 0x15
SA_SIZE, POLICY_SIZE, TEMPLATE_SIZE = 224, 168, 64
"""struct xfrm_usersa_info, struct xfrm_userpolicy_info, struct xfrm_user_tmpl, as 64-bit machines lay them out."""
ALG_AUTH, ALG_CRYPT, ALG_COMP, ENCAP, TMPL, ALG_AEAD, ALG_AUTH_TRUNC, MARK, IF_ID = 1, 2, 3, 4, 5, 18, 20, 21, 31
NAMED = {ALG_AUTH, ALG_CRYPT, ALG_COMP, ALG_AEAD, ALG_AUTH_TRUNC}
"""Attributes that begin with an algorithm's name of 64 bytes; what follows holds the key."""
NAME = 64
KEPT = {ENCAP, TMPL, MARK, IF_ID}
"""Attributes that may leave this file whole."""
PROTOCOLS = {50: "esp", 51: "ah", 108: "comp", 43: "route2", 60: "hao"}
MODES = ("transport", "tunnel", "ro", "in_trigger", "beet", "iptfs")
DIRECTIONS = ("in", "out", "fwd")
_SELECTOR = Struct("=16s16sHHHHHBBBxxxiI")
"""struct xfrm_selector."""


def states() -> DumpRequest:
    """XFRM_MSG_GETSA: every security association."""
    return DumpRequest("XFRM_MSG_GETSA", nl.NETLINK_XFRM, GETSA, b"")


def policies() -> DumpRequest:
    """XFRM_MSG_GETPOLICY: every policy."""
    return DumpRequest("XFRM_MSG_GETPOLICY", nl.NETLINK_XFRM, GETPOLICY, b"")


def blank(buffer: memoryview) -> None:
    """Overwrite everything that could be a key in a buffer of replies, in place."""
    for message in walk_messages(buffer):
        if message.type < nl.NLMSG_MIN_TYPE:
            continue
        size = {NEWSA: SA_SIZE, NEWPOLICY: POLICY_SIZE}.get(message.type)
        if size is None:  # a message that nobody asked for: nothing of it is harmless
            buffer[message.start : message.end] = bytes(message.end - message.start)
            continue
        position = message.start + size
        for kind, start, end in walk(buffer, position, message.end):
            if kind not in KEPT:
                first = min(start + NAME, end) if kind in NAMED else start
                buffer[first:end] = bytes(end - first)
            position = (end + 3) & ~3
        if position < message.end:  # behind the last attribute that could be read
            buffer[position : message.end] = bytes(message.end - position)


class BlankingSink:
    """Blanks keys in the receive buffer, then hands it on."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    def feed(self, buffer: memoryview) -> None:
        blank(buffer)
        self.sink.feed(buffer)

    def reset(self) -> None:
        self.sink.reset()


def _address(raw: Buffer, family: int) -> str:
    return str(
        ipaddress.IPv4Address(bytes(raw[:4])) if family == nl.AF_INET else ipaddress.IPv6Address(bytes(raw[:16]))
    )


def _mode(number: int) -> str:
    return MODES[number] if number < len(MODES) else str(number)


@dataclass
class XfrmSink:
    """Sink for ``states()`` and ``policies()``."""

    states: list[XfrmState] = field(default_factory=list)
    policies: list[XfrmPolicy] = field(default_factory=list)
    malformed: int = 0

    def reset(self) -> None:
        self.states.clear()
        self.policies.clear()
        self.malformed = 0

    def feed(self, buffer: memoryview) -> None:
        octets = bytes(buffer)
        for message in walk_messages(octets):
            payload = octets[message.start : message.end]
            try:
                if message.type == NEWSA:
                    self.states.append(_state(payload))
                elif message.type == NEWPOLICY and (policy := _policy(payload)) is not None:
                    self.policies.append(policy)
            except (error, ValueError):
                self.malformed += 1


def _marked(found: dict[int, bytes]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if MARK in found:
        values["mark"] = u32(found[MARK])
    if IF_ID in found:
        values["if_id"] = u32(found[IF_ID])
    return values


def _state(payload: bytes) -> XfrmState:
    found = {kind: payload[start:end] for kind, start, end in walk(payload, SA_SIZE)}
    reqid, family, mode = unpack_from("=IHB", payload, 208)
    spi, proto = unpack_from("!IB", payload, 72)
    octets, packets, added, used = unpack_from("=4Q", payload, 160)
    _, replay, integrity = unpack_from("=3I", payload, 192)  # struct xfrm_stats: replay_window, replay, failed
    values = _marked(found)
    names = {ALG_AUTH: "auth", ALG_AUTH_TRUNC: "auth", ALG_CRYPT: "enc", ALG_AEAD: "aead"}
    for kind, name in names.items():
        if kind in found:
            values[name] = kernel_text(found[kind][:NAME])
    if ENCAP in found:
        _, sport, dport = unpack_from("!HHH", found[ENCAP])
        values["encap"] = f"{sport}>{dport}"
    return XfrmState(
        src=_address(payload[80:96], family),
        dst=_address(payload[56:72], family),
        proto=PROTOCOLS.get(proto, str(proto)),
        spi=spi,
        mode=_mode(mode),
        reqid=reqid,
        bytes=octets,
        packets=packets,
        replay_failed=replay,
        integrity_failed=integrity,
        added=added,
        used=used,
        **values,
    )


def _policy(payload: bytes) -> XfrmPolicy | None:
    """None for the policy of a single socket (its direction is above those of the namespace)."""
    found = {kind: payload[start:end] for kind, start, end in walk(payload, POLICY_SIZE)}
    daddr, saddr, _, _, _, _, family, dst_len, src_len, proto, ifindex, _ = _SELECTOR.unpack_from(payload)
    priority, _, direction, action = unpack_from("=IIBB", payload, 152)
    if direction >= len(DIRECTIONS):
        return None
    raw = found.get(TMPL, b"")
    return XfrmPolicy(
        src=f"{_address(saddr, family)}/{src_len}",
        dst=f"{_address(daddr, family)}/{dst_len}",
        dir=DIRECTIONS[direction],
        action="block" if action else "allow",
        priority=priority,
        proto=proto,
        ifindex=ifindex or None,
        templates=tuple(
            _template(raw[at : at + TEMPLATE_SIZE]) for at in range(0, len(raw) - TEMPLATE_SIZE + 1, TEMPLATE_SIZE)
        ),
        **_marked(found),
    )


def _template(raw: bytes) -> XfrmTemplate:
    proto, family = raw[20], unpack_from("=H", raw, 24)[0]
    reqid, mode, _, optional = unpack_from("=IBBB", raw, 44)
    return XfrmTemplate(
        src=_address(raw[28:44], family),
        dst=_address(raw[:16], family),
        proto=PROTOCOLS.get(proto, str(proto)),
        mode=_mode(mode),
        reqid=reqid,
        optional=bool(optional),
    )
