"""WireGuard devices and peers, of the kernel module and of userspace daemons (include/uapi/linux/wireguard.h).

Private and preshared keys are not here and cannot be: they are blanked where they enter netdiag. All that is left of a
preshared key is whether there is one.
"""

import msgspec


class WireguardPeer(msgspec.Struct, frozen=True, kw_only=True):
    """One peer of one device."""

    public_key: str
    """Base64, as ``wg show`` prints it."""
    preshared_key: bool = False
    """True: one is set (which one, nobody knows here)."""
    endpoint: str | None = None
    """Address of the peer's underlay endpoint; None: not known yet."""
    endpoint_port: int | None = None
    persistent_keepalive: int = 0
    """Seconds; 0: off."""
    latest_handshake: float | None = None
    """Unix time in seconds; None: never."""
    rx_bytes: int = 0
    tx_bytes: int = 0
    """Bytes of encrypted packets, handshakes and keepalives included, since the peer was made."""
    allowed_ips: tuple[str, ...] = ()
    """Prefixes, canonical text, in the device's order."""


class PeerCounters(msgspec.Struct, frozen=True, kw_only=True):
    """What of a peer moves between two samples."""

    ifname: str
    public_key: str
    rx_bytes: int
    tx_bytes: int
    latest_handshake: float | None = None


class WireguardDevice(msgspec.Struct, frozen=True, kw_only=True):
    """One device with its peers."""

    ifname: str
    ifindex: int | None = None
    """None: the daemon that serves this socket has no interface of that name here."""
    public_key: str | None = None
    """Base64; None: no private key is set."""
    listen_port: int | None = None
    """UDP port; None: none chosen yet."""
    fwmark: int = 0
    """Mark of the encrypted packets; 0: none."""
    userspace: bool = False
    """True: served by a daemon over a UAPI socket, not by the kernel module."""
    socket: str | None = None
    """Path of that socket."""
    elsewhere: bool = False
    """Its encrypted packets leave by another namespace, the one that it was made in: in its own there is no interface
    up but loopback and tunnels. Only known with ``--all-netns``."""
    peers: tuple[WireguardPeer, ...] = ()


class Wireguard(msgspec.Struct, frozen=True, kw_only=True):
    """Every WireGuard device of a namespace, and a second look at what moves."""

    devices: tuple[WireguardDevice, ...] = ()
    at: float = 0.0
    """Unix time in seconds of the first look."""
    second_at: float | None = None
    """Unix time in seconds of the second look; None: there was none."""
    seconds: float | None = None
    """Seconds of CLOCK_BOOTTIME between the two looks."""
    second: tuple[PeerCounters, ...] = ()
    dead_sockets: tuple[str, ...] = ()
    """Paths of daemons' sockets behind which nobody listens any more: the daemon was killed."""
