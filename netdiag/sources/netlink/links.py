"""RTM_NEWLINK into model.Link.

Formats: include/uapi/linux/if_link.h (struct ifinfomsg, 16 bytes; IFLA_*), rtnl_fill_ifinfo() in net/core/rtnetlink.c.
An interface has some fifty attributes in a kilobyte and a half; many of them are the same bytes on every interface of a
host (sysctls, the kind, counters that never moved), so what was decoded once is kept by its bytes. Damaged attributes
are left out and counted in ``malformed``, unknown ones counted in ``unknown``; nothing is raised.
"""

import socket
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any

from netdiag.model.link import Link, Stats64, Xdp
from netdiag.model.text import kernel_text
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.attributes import walk
from netdiag.sources.netlink.devconf import inet6_conf, inet_conf
from netdiag.sources.netlink.linkkinds import decode_kind
from netdiag.sources.netlink.messages import walk_messages

_IFINFOMSG = Struct("=BxHiII")
"""struct ifinfomsg: family, type, ifindex, flags, change."""
_ATTRIBUTE = Struct("=HH")
_U32 = Struct("=I")
_S32 = Struct("=i")

OPERSTATES = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")
"""RFC 2863, in the order of IF_OPER_*."""
_XDP_MODES = {1: "native", 2: "generic", 3: "offload", 4: "multi"}
_IPV4_TUNNELS = {768, 776, 778}
"""ARPHRD_TUNNEL, ARPHRD_SIT, ARPHRD_IPGRE: the hardware address is an IPv4 address."""
_IPV6_TUNNELS = {769, 823}
"""ARPHRD_TUNNEL6, ARPHRD_IP6GRE."""

_U32S = {
    nl.IFLA_MTU: "mtu",
    nl.IFLA_MIN_MTU: "min_mtu",
    nl.IFLA_MAX_MTU: "max_mtu",
    nl.IFLA_MASTER: "master",
    nl.IFLA_LINK: "link",
    nl.IFLA_TXQLEN: "txqlen",
    nl.IFLA_GROUP: "group",
    nl.IFLA_PROMISCUITY: "promiscuity",
    nl.IFLA_NUM_TX_QUEUES: "num_tx_queues",
    nl.IFLA_NUM_RX_QUEUES: "num_rx_queues",
    nl.IFLA_GSO_MAX_SIZE: "gso_max_size",
    nl.IFLA_GSO_MAX_SEGS: "gso_max_segs",
    nl.IFLA_CARRIER_CHANGES: "carrier_changes",
    nl.IFLA_CARRIER_UP_COUNT: "carrier_up_count",
    nl.IFLA_CARRIER_DOWN_COUNT: "carrier_down_count",
}
_ZERO_IS_NONE = ("min_mtu", "max_mtu", "master", "link")
_U8S = {nl.IFLA_LINKMODE: "linkmode", nl.IFLA_CARRIER: "carrier", nl.IFLA_OPERSTATE: "operstate"}
_TEXTS = {nl.IFLA_IFNAME: "ifname", nl.IFLA_QDISC: "qdisc", nl.IFLA_IFALIAS: "alias"}
_LLADDRS = {nl.IFLA_ADDRESS: "address", nl.IFLA_BROADCAST: "broadcast", nl.IFLA_PERM_ADDRESS: "perm_address"}
_IGNORED = {
    nl.IFLA_STATS,  # 32-bit copies of the counters
    nl.IFLA_MAP,
    nl.IFLA_PAD,
    nl.IFLA_PROTINFO,
    nl.IFLA_NUM_VF,
    nl.IFLA_VFINFO_LIST,
    nl.IFLA_EXT_MASK,
    nl.IFLA_PHYS_PORT_ID,
    nl.IFLA_PHYS_SWITCH_ID,
    nl.IFLA_PHYS_PORT_NAME,
    nl.IFLA_PROTO_DOWN,
    nl.IFLA_PROTO_DOWN_REASON,
    nl.IFLA_PARENT_DEV_NAME,
    nl.IFLA_PARENT_DEV_BUS_NAME,
    nl.IFLA_GRO_MAX_SIZE,
    nl.IFLA_TSO_MAX_SIZE,
    nl.IFLA_TSO_MAX_SEGS,
    nl.IFLA_ALLMULTI,
    nl.IFLA_DEVLINK_PORT,
    nl.IFLA_GSO_IPV4_MAX_SIZE,
    nl.IFLA_GRO_IPV4_MAX_SIZE,
    nl.IFLA_NETNS_IMMUTABLE,
    nl.IFLA_HEADROOM,
    nl.IFLA_TAILROOM,
    nl.IFLA_TARGET_NETNSID,
    24,  # IFLA_VF_PORTS
    25,  # IFLA_PORT_SELF
    65,  # IFLA_DPLL_PIN
    66,  # IFLA_MAX_PACING_OFFLOAD_HORIZON
}
"""Known, and not kept."""

_STATS_NAMES = Stats64.__struct_fields__
_STATS = Struct(f"={len(_STATS_NAMES)}Q")
_IN_RECEIVES = Struct("=8xQ")
"""IPSTATS_MIB_INPKTS, the second; what stands behind it moved in Linux 6.9 (include/uapi/linux/snmp.h)."""
_OUT_MSGS = Struct("=24xQ")
"""ICMP6_MIB_OUTMSGS, the fourth."""
_LAYOUTS = 16
"""How many layouts of one message length are remembered."""
_KEPT = 4096
"""How many distinct byte strings are remembered; a host with more is decoded afresh beyond that."""


def decode_stats(payload: bytes) -> Stats64:
    """IFLA_STATS64: as many counters of struct rtnl_link_stats64 as this kernel has; the rest stay 0."""
    count = min(len(payload) // 8, len(_STATS_NAMES))
    values = Struct(f"={count}Q").unpack_from(payload) if count < len(_STATS_NAMES) else _STATS.unpack_from(payload)
    return Stats64(**dict(zip(_STATS_NAMES, values, strict=False)))


def decode_xdp(payload: bytes) -> Xdp | None:
    """IFLA_XDP: attached programs; None for none."""
    found = {kind: payload[start:end] for kind, start, end in walk(payload)}
    attached = found.get(nl.IFLA_XDP_ATTACHED, b"\0")[:1]
    mode = _XDP_MODES.get(attached[0] if attached else 0)
    if mode is None:
        return None

    def number(kind: int) -> int | None:
        raw = found.get(kind, b"")
        return _U32.unpack_from(raw)[0] if len(raw) >= 4 else None

    return Xdp(
        mode=mode,
        prog_id=number(nl.IFLA_XDP_PROG_ID),
        native_prog_id=number(nl.IFLA_XDP_DRV_PROG_ID),
        generic_prog_id=number(nl.IFLA_XDP_SKB_PROG_ID),
        offload_prog_id=number(nl.IFLA_XDP_HW_PROG_ID),
    )


def decode_altnames(payload: bytes) -> tuple[str, ...]:
    """IFLA_PROP_LIST: the alternative names."""
    return tuple(kernel_text(payload[a:b]) for number, a, b in walk(payload) if number == nl.IFLA_ALT_IFNAME)


def decode_netnsid(payload: bytes) -> int | None:
    """IFLA_LINK_NETNSID; None for a namespace that has no number here."""
    return number if len(payload) >= 4 and (number := _S32.unpack_from(payload)[0]) >= 0 else None


def lladdr_text(raw: bytes, arphrd: int) -> str | None:
    """A hardware address as ``ip`` prints it; tunnels have IP addresses there."""
    if arphrd in _IPV4_TUNNELS and len(raw) == 4:
        return socket.inet_ntop(socket.AF_INET, raw)
    if arphrd in _IPV6_TUNNELS and len(raw) == 16:
        return socket.inet_ntop(socket.AF_INET6, raw)
    return raw.hex(":") or None


def _lladdr_reader(arphrd: int) -> Callable[[bytes], str | None]:
    return lambda payload: lladdr_text(payload, arphrd)


class _Layout:
    """Where the values stand in every message that has the same attributes of the same sizes.

    Interfaces of a host come in a handful of layouts, so most messages are read by two calls of struct: one for the
    attribute headers, which must be the same as in the message that the layout was made from, and one for the values.
    """

    def __init__(self, octets: bytes, start: int, end: int, readers: Mapping[int, "_Reader"]) -> None:
        headers, values = ["="], ["="]
        self.names: list[str] = []
        self.readers: list[tuple[str, _Reader]] = []
        self.unknown: list[int] = []
        self.malformed = 0
        position = start
        while position + 4 <= end:
            length, kind = _ATTRIBUTE.unpack_from(octets, position)
            room = (length + 3) & ~3
            if length < 4 or position + length > end:
                self.malformed += 1
                break
            headers.append(f"I{min(room, end - position) - 4}x")
            values.append("4x" + self._value(kind & nl.NLA_TYPE_MASK, length - 4, readers))
            values.append(f"{min(room, end - position) - length}x")
            position += room
        self.headers = Struct("".join(headers)).unpack_from
        self.values = Struct("".join(values)).unpack_from
        self.expected = self.headers(octets, start)

    def _value(self, kind: int, size: int, readers: Mapping[int, "_Reader"]) -> str:
        """Format of one payload; notes its name, and what is to be done with it."""
        small = _U32S.get(kind) or _U8S.get(kind)
        reader = readers.get(kind)
        if small is not None:
            width = 4 if kind in _U32S else 1
            if size < width:
                self.malformed += 1
                return f"{size}x"
            self.names.append(small)
            return f"{'I' if width == 4 else 'B'}{size - width}x"
        if reader is None:
            if kind not in _IGNORED:
                self.unknown.append(kind)
            return f"{size}x"
        slot = str(len(self.names))  # no field has a number for its name, and a damaged message may say a thing twice
        self.names.append(slot)
        self.readers.append((slot, reader))
        return f"{size}s"


_Reader = Callable[[dict[str, Any], bytes], None]
"""Puts what a payload says into the fields of a Link."""


def _into(name: str, read: Callable[[bytes], Any]) -> _Reader:
    def reader(fields: dict[str, Any], payload: bytes) -> None:
        fields[name] = read(payload)

    return reader


class LinkSink:
    """Sink for a dump of interfaces; ``links`` has them in dump order."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.unknown: dict[str, int] = {}
        """``IFLA 71``, ``bridge 51``, ``bridge port 46``: how often an attribute was met that nobody here knows."""
        self.malformed = 0
        self._seen: dict[tuple[str, bytes], Any] = {}
        self._layouts: dict[tuple[int, int], list[_Layout]] = {}
        self._readers: dict[int, _Reader] = {
            **{kind: _into(name, kernel_text) for kind, name in _TEXTS.items()},
            nl.IFLA_STATS64: lambda fields, payload: fields.update(stats=self._once("stats", decode_stats, payload)),
            nl.IFLA_XDP: lambda fields, payload: fields.update(xdp=self._once("xdp", decode_xdp, payload)),
            nl.IFLA_LINKINFO: lambda fields, payload: fields.update(self._once("kind", self._kind, payload)),
            nl.IFLA_PROP_LIST: _into("altnames", decode_altnames),
            nl.IFLA_LINK_NETNSID: _into("link_netnsid", decode_netnsid),
            nl.IFLA_AF_SPEC: self._families,
        }

    def reset(self) -> None:
        """Forget everything."""
        self.links.clear()
        self.unknown.clear()
        self.malformed = 0

    def feed(self, buffer: memoryview) -> None:
        """Whole messages, as the transport has them."""
        octets = bytes(buffer)
        for message in walk_messages(octets):
            if message.type != nl.RTM_NEWLINK:
                continue
            if message.end - message.start < _IFINFOMSG.size:
                self.malformed += 1
                continue
            self.links.append(self._link(octets, message.start, message.end))

    def _link(self, octets: bytes, start: int, end: int) -> Link:
        _, arphrd, ifindex, flags, _ = _IFINFOMSG.unpack_from(octets, start)
        start += _IFINFOMSG.size
        layout = self._layout(octets, start, end, arphrd)
        fields: dict[str, Any] = dict(zip(layout.names, layout.values(octets, start), strict=True))
        for name, reader in layout.readers:
            reader(fields, fields.pop(name))
        fields.update(ifindex=ifindex, type=arphrd, flags=flags)
        if "ifname" not in fields:
            fields["ifname"] = ""
        if "carrier" in fields:
            fields["carrier"] = fields["carrier"] != 0
        state = fields.get("operstate", 0)
        fields["operstate"] = OPERSTATES[state] if state < len(OPERSTATES) else str(state)
        for name in _ZERO_IS_NONE:
            if fields.get(name) == 0:
                fields[name] = None
        self.malformed += layout.malformed
        for kind in layout.unknown:
            self._unknown(f"IFLA {kind}")
        return Link(**fields)

    def _layout(self, octets: bytes, start: int, end: int, arphrd: int) -> _Layout:
        """The layout of this message: one that fitted before, or a new one."""
        known = self._layouts.setdefault((end - start, arphrd), [])
        for layout in known:
            if layout.headers(octets, start) == layout.expected:
                return layout
        readers = self._readers | {kind: _into(name, _lladdr_reader(arphrd)) for kind, name in _LLADDRS.items()}
        layout = _Layout(octets, start, end, readers)
        if len(known) < _LAYOUTS:
            known.append(layout)
        return layout

    def _families(self, fields: dict[str, Any], payload: bytes) -> None:
        """IFLA_AF_SPEC: a nest a family; here the sysctls of IPv4 and IPv6, and how many IPv6 packets came and went."""
        for family, start, end in walk(payload):
            if family == nl.AF_INET:
                for kind, first, stop in walk(payload, start, end):
                    if kind == nl.IFLA_INET_CONF:
                        fields["inet_conf"] = self._once("inet_conf", inet_conf, payload[first:stop])
                        break
            elif family == nl.AF_INET6:
                for kind, first, stop in walk(payload, start, end):
                    if kind == nl.IFLA_INET6_CONF:
                        fields["inet6_conf"] = self._once("inet6_conf", inet6_conf, payload[first:stop])
                    elif kind == nl.IFLA_INET6_STATS and stop - first >= _IN_RECEIVES.size:
                        (fields["inet6_received"],) = _IN_RECEIVES.unpack_from(payload, first)
                    elif kind == nl.IFLA_INET6_ICMP6STATS and stop - first >= _OUT_MSGS.size:
                        (fields["icmp6_sent"],) = _OUT_MSGS.unpack_from(payload, first)

    def _kind(self, payload: bytes) -> dict[str, Any]:
        """IFLA_LINKINFO: what sort of interface this is, and what it is to its master."""
        found = {number: payload[start:end] for number, start, end in walk(payload)}
        fields: dict[str, Any] = {}
        for kind_of, values_of, name, values_name in (
            (nl.IFLA_INFO_KIND, nl.IFLA_INFO_DATA, "kind", "info"),
            (nl.IFLA_INFO_SLAVE_KIND, nl.IFLA_INFO_SLAVE_DATA, "slave_kind", "slave_info"),
        ):
            if kind_of not in found:
                continue
            kind = fields[name] = kernel_text(found[kind_of])
            slave = name == "slave_kind"
            values, unknown, bad = decode_kind(kind, found.get(values_of, b""), slave=slave)
            if values:
                fields[values_name] = values
            self.malformed += bad
            for number in unknown:
                self._unknown(f"{kind} port {number}" if slave else f"{kind} {number}")
        return fields

    def _once(self, name: str, read: Callable[[bytes], Any], payload: bytes) -> Any:
        """Decode, or hand out again what the same bytes gave before: model objects are never changed."""
        key = (name, payload)
        value = self._seen.get(key, self)
        if value is self:
            value = read(payload)
            if len(self._seen) < _KEPT:
                self._seen[key] = value
        return value

    def _unknown(self, name: str) -> None:
        self.unknown[name] = self.unknown.get(name, 0) + 1
