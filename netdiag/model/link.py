"""A network interface, as RTM_GETLINK shows it (include/uapi/linux/if_link.h).

Filled by netdiag.collectors.links. Names are the kernel's in lower case without their prefix: IFLA_CARRIER_UP_COUNT is
``carrier_up_count``. Attributes that the kernel did not send are ``None``.
"""

from typing import Any

import msgspec

IFF_UP = 0x1
IFF_BROADCAST = 0x2
IFF_LOOPBACK = 0x8
IFF_POINTOPOINT = 0x10
IFF_RUNNING = 0x40
IFF_NOARP = 0x80
IFF_PROMISC = 0x100
IFF_MASTER = 0x400
IFF_SLAVE = 0x800
IFF_MULTICAST = 0x1000
IFF_LOWER_UP = 0x10000
IFF_DORMANT = 0x20000


class Stats64(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of struct rtnl_link_stats64, since the interface was made; packets or bytes."""

    rx_packets: int = 0
    tx_packets: int = 0
    rx_bytes: int = 0
    tx_bytes: int = 0
    rx_errors: int = 0
    tx_errors: int = 0
    rx_dropped: int = 0
    tx_dropped: int = 0
    multicast: int = 0
    collisions: int = 0
    rx_length_errors: int = 0
    rx_over_errors: int = 0
    rx_crc_errors: int = 0
    rx_frame_errors: int = 0
    rx_fifo_errors: int = 0
    rx_missed_errors: int = 0
    tx_aborted_errors: int = 0
    tx_carrier_errors: int = 0
    tx_fifo_errors: int = 0
    tx_heartbeat_errors: int = 0
    tx_window_errors: int = 0
    rx_compressed: int = 0
    tx_compressed: int = 0
    rx_nohandler: int = 0
    rx_otherhost_dropped: int = 0


class Xdp(msgspec.Struct, frozen=True, kw_only=True):
    """IFLA_XDP: which XDP programs are attached, and how (XDP_ATTACHED_*)."""

    mode: str
    """``native``, ``generic``, ``offload`` or ``multi``; no attachment is no Xdp at all."""
    prog_id: int | None = None
    native_prog_id: int | None = None
    generic_prog_id: int | None = None
    offload_prog_id: int | None = None


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One interface of one network namespace."""

    ifindex: int
    ifname: str
    type: int = 1
    """ARPHRD_*: 1 ether, 772 loopback, 65534 none (WireGuard, tun)."""
    flags: int = 0
    """IFF_* bits."""
    mtu: int = 1500
    """Bytes."""
    min_mtu: int | None = None
    max_mtu: int | None = None
    """Bytes; 0 from the kernel ("no limit known") is None."""
    operstate: str = "unknown"
    """RFC 2863 state in lower case: unknown, notpresent, down, lowerlayerdown, testing, dormant, up."""
    linkmode: int | None = None
    carrier: bool | None = None
    carrier_changes: int | None = None
    carrier_up_count: int | None = None
    carrier_down_count: int | None = None
    qdisc: str | None = None
    txqlen: int | None = None
    num_tx_queues: int | None = None
    num_rx_queues: int | None = None
    gso_max_size: int | None = None
    gso_max_segs: int | None = None
    address: str | None = None
    """Hardware address as ``ip`` prints it; dotted quads for IPv4 tunnels."""
    broadcast: str | None = None
    perm_address: str | None = None
    master: int | None = None
    """ifindex of the bridge, bond, VRF or the like that owns this interface."""
    link: int | None = None
    """IFLA_LINK: ifindex of the lower device or the veth peer, in ``link_netnsid`` if that is set."""
    link_netnsid: int | None = None
    """Namespace id (as this namespace numbers its peers) where ``link`` lives; None: this namespace."""
    group: int = 0
    altnames: tuple[str, ...] = ()
    alias: str | None = None
    promiscuity: int | None = None
    xdp: Xdp | None = None
    kind: str | None = None
    """IFLA_INFO_KIND: veth, bridge, vxlan, tun, wireguard, bond, vlan, ...; None for a plain device."""
    slave_kind: str | None = None
    info: dict[str, Any] = {}
    """IFLA_INFO_DATA in iproute2's spelling, by kind: vxlan has ``id``, ``remote``, ``port`` ..."""
    slave_info: dict[str, Any] = {}
    """IFLA_INFO_SLAVE_DATA (bridge port: ``state``; bond leg: ``mii_status`` ...)."""
    inet_conf: dict[str, int] = {}
    """IFLA_INET_CONF: this interface's net.ipv4.conf values by sysctl name."""
    inet6_conf: dict[str, int] = {}
    """IFLA_INET6_CONF: this interface's net.ipv6.conf values by sysctl name; empty where IPv6 does not run on it."""
    inet6_received: int | None = None
    """IPv6 packets that came in by it (IFLA_INET6_STATS InReceives); None: not told."""
    icmp6_sent: int | None = None
    """ICMPv6 messages that this host sent by it (IFLA_INET6_ICMP6STATS OutMsgs); None: not told."""
    stats: Stats64 = Stats64()

    @property
    def up(self) -> bool:
        """IFF_UP: somebody brought it up (``ip link set up``)."""
        return bool(self.flags & IFF_UP)

    @property
    def lower_up(self) -> bool:
        """IFF_LOWER_UP: the driver sees a carrier."""
        return bool(self.flags & IFF_LOWER_UP)

    @property
    def loopback(self) -> bool:
        """IFF_LOOPBACK."""
        return bool(self.flags & IFF_LOOPBACK)

    @property
    def noarp(self) -> bool:
        """IFF_NOARP: no neighbour resolution on this interface."""
        return bool(self.flags & IFF_NOARP)


class NetnsId(msgspec.Struct, frozen=True, kw_only=True):
    """A peer namespace as this namespace numbers it (RTM_GETNSID), joined with what is known of that namespace."""

    netnsid: int
    inode: int | None = None
    """Inode of nsfs, ``readlink /proc/PID/ns/net``; None where the namespace could not be identified."""
    name: str | None = None
    """Its name under /run/netns, or None."""


class PeerLink(msgspec.Struct, frozen=True, kw_only=True):
    """The other end of a veth (or another paired device) that lives in a namespace which netdiag could ask for it.

    RTM_GETLINK with IFLA_TARGET_NETNSID answers for a namespace by its netnsid, without entering it.
    """

    ifindex: int
    """ifindex of our end."""
    peer: Link


class LinkCounters(msgspec.Struct, frozen=True, kw_only=True):
    """What of an interface moves between two samples."""

    ifindex: int
    ifname: str
    address: str | None = None
    """Its hardware address at that moment."""
    inet6_received: int | None = None
    """IPv6 packets that came in by it; None: not told."""
    icmp6_sent: int | None = None
    """ICMPv6 messages that this host sent by it; None: not told."""
    carrier_up_count: int | None = None
    carrier_down_count: int | None = None
    stats: Stats64 = Stats64()
