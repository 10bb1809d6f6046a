"""BIRD as its control socket shows it: daemons, protocols with their channels, BFD sessions, and capped route lists.

Spelling is BIRD's own in lower case ("Import limit" is ``import_limit``); rows that netdiag does not know are kept in
``other``, because BIRD adds some with every release. Texts come from a daemon and from its peers: hostile.
"""

import msgspec


class UpdateCounts(msgspec.Struct, frozen=True, kw_only=True):
    """One line of "Route change stats"; None where BIRD prints ``---`` or the release has no such column."""

    received: int | None = None
    rejected: int | None = None
    filtered: int | None = None
    ignored: int | None = None
    accepted: int | None = None


class BirdChannel(msgspec.Struct, frozen=True, kw_only=True):
    """One channel of a protocol: a family between the protocol and a table. BIRD 1.6 has one unnamed channel each."""

    name: str
    """``ipv4``, ``ipv6``, ``main`` (pipes) ..."""
    state: str | None = None
    """``UP``, ``DOWN``, ``START`` ..."""
    table: str | None = None
    peer_table: str | None = None
    preference: int | None = None
    input_filter: str | None = None
    """``ACCEPT``, ``REJECT``, ``(unnamed)`` or the filter's name."""
    output_filter: str | None = None
    imported: int | None = None
    filtered: int | None = None
    exported: int | None = None
    preferred: int | None = None
    import_updates: UpdateCounts | None = None
    import_withdraws: UpdateCounts | None = None
    export_updates: UpdateCounts | None = None
    export_withdraws: UpdateCounts | None = None
    import_limit: int | None = None
    import_limit_action: str | None = None
    import_limit_hit: bool = False
    receive_limit: int | None = None
    receive_limit_action: str | None = None
    receive_limit_hit: bool = False
    export_limit: int | None = None
    export_limit_action: str | None = None
    export_limit_hit: bool = False
    bgp_next_hop: str | None = None
    other: dict[str, str] = {}


class BirdProtocol(msgspec.Struct, frozen=True, kw_only=True):
    """One protocol instance."""

    name: str
    proto: str
    """``BGP``, ``Kernel``, ``Static``, ``Direct``, ``Device``, ``BFD``, ``Pipe``, ``OSPF`` ..."""
    table: str | None = None
    state: str
    """``up``, ``start``, ``down``, ``stop``, ``flush``."""
    since: str | None = None
    """As BIRD prints it; its format is a setting of the daemon."""
    info: str = ""
    """``Established``, ``Active        Socket: Connection refused`` ..."""
    description: str | None = None
    bgp_state: str | None = None
    neighbor_address: str | None = None
    """Without the interface of a link-local address, which is ``neighbor_ifname``."""
    neighbor_ifname: str | None = None
    neighbor_as: int | None = None
    local_as: int | None = None
    neighbor_id: str | None = None
    source_address: str | None = None
    session: str | None = None
    """``external AS4``, ``internal multihop AS4`` ..."""
    hold_timer: str | None = None
    keepalive_timer: str | None = None
    last_error: str | None = None
    neighbor_graceful_restart: bool = False
    """"Neighbor graceful restart active": its old routes are kept while it restarts."""
    channels: tuple[BirdChannel, ...] = ()
    other: dict[str, str] = {}


class BfdSession(msgspec.Struct, frozen=True, kw_only=True):
    """One BFD session."""

    protocol: str
    address: str
    ifname: str | None = None
    state: str
    """``Up``, ``Down``, ``Init``, ``AdminDown``."""
    since: str | None = None
    interval: float | None = None
    """Seconds."""
    timeout: float | None = None
    """Seconds."""


class BirdRoute(msgspec.Struct, frozen=True, kw_only=True):
    """One route of ``show route``."""

    net: str
    table: str | None = None
    type: str = "unicast"
    """``unicast``, ``unreachable``, ``blackhole``, ``prohibit`` ..."""
    protocol: str | None = None
    """Name of the protocol that brought it."""
    best: bool = False
    via: tuple[str, ...] = ()
    """Gateways, in order; a device route has none."""
    dev: tuple[str, ...] = ()
    """Interfaces, in order."""
    since: str | None = None
    """When it came, or changed last, as BIRD prints it; its format is a setting of the daemon."""
    refused: bool = False
    """In a kernel protocol's list: BIRD gave it to the kernel, which did not take it (the mark "!")."""
    prefsrc: str | None = None
    """The source that a filter gives it (krt_prefsrc); asked only of lists of which the kernel refused something."""


class SentRoute(msgspec.Struct, frozen=True, kw_only=True):
    """A route as a BGP session is sent it, after the export filter."""

    net: str
    """The prefix."""
    as_path: tuple[str, ...] = ()
    """Before the own AS is put in front: empty for a route of one's own that is not prepended."""
    communities: tuple[str, ...] = ()
    """Plain and large ones, ``65001:100``, in text order."""
    med: int | None = None
    """The metric for the neighbour (MULTI_EXIT_DISC); None: none is sent."""


class RouteList(msgspec.Struct, frozen=True, kw_only=True):
    """The routes that a protocol exports."""

    protocol: str
    routes: tuple[BirdRoute, ...] | None = None
    """None: not asked for, or not whole, because there are more than the cap; see ``count``."""
    count: int | None = None
    rtbh: tuple[str, ...] | None = None
    """Of a BGP session: blackholes that it announces with a blackhole community (``*:666``), so that the neighbour
    drops; None: not known."""
    sent: tuple[SentRoute, ...] | None = None
    """Of a BGP session: the same routes with their attributes; None: not known, or too many."""


class BirdInterface(msgspec.Struct, frozen=True, kw_only=True):
    """An interface as BIRD sees it, which can lag behind the kernel."""

    ifname: str
    """Name of the interface."""
    state: str
    """``up`` or ``down``."""
    addresses: tuple[str, ...] = ()
    """The preferred address of each family, with its prefix length."""


class BirdDaemon(msgspec.Struct, frozen=True, kw_only=True):
    """One daemon behind one control socket."""

    socket: str
    version: str | None = None
    router_id: str | None = None
    hostname: str | None = None
    server_time: str | None = None
    answered_at: float | None = None
    """Seconds of CLOCK_BOOTTIME when it had told its time and protocols; None: not known."""
    last_reboot: str | None = None
    last_reconfiguration: str | None = None
    recovery_channels: int | None = None
    """Channels for which a graceful restart still waits; None: it is not recovering."""
    recovery_left: float | None = None
    """Seconds until it stops waiting for them."""
    recovery_wait: float | None = None
    """Seconds that it waits at most (``graceful restart wait``)."""
    message: str | None = None
    """``Daemon is up and running``, ``Reconfiguration in progress`` ..."""
    protocols: tuple[BirdProtocol, ...] = ()
    bfd_sessions: tuple[BfdSession, ...] = ()
    interfaces: tuple[BirdInterface, ...] = ()
    """What ``show interfaces summary`` lists."""
    tables: dict[str, int] = {}
    """Networks per table."""


class UnresolvedRoute(msgspec.Struct, frozen=True, kw_only=True):
    """A route of type unreachable that BIRD holds: on purpose, or because its next hop could not be resolved."""

    net: str
    """Prefix."""
    table: str | None = None
    """BIRD's table."""
    protocol: str | None = None
    """Name of the protocol that brought it."""
    best: bool = False
    """BIRD's choice for that prefix."""
    next_hop: str | None = None
    """BGP's next hop, or the one that a static route asks to be resolved (``recursive``); None: it has none."""
    recursive: bool = False
    """A static route with ``recursive``."""
    communities: tuple[str, ...] = ()
    """Communities and large communities, ``65535:666``."""


class DaemonRoutes(msgspec.Struct, frozen=True, kw_only=True):
    """The capped route lists of one daemon."""

    socket: str
    exports: tuple[RouteList, ...] = ()
    """What BIRD wants in the kernel (one list per Kernel protocol) and sends to each BGP session that is up."""
    unresolved: tuple[UnresolvedRoute, ...] | None = None
    """Routes of type unreachable, with what tells why; None: not asked for, or not told whole."""


class BirdSocket(msgspec.Struct, frozen=True, kw_only=True):
    """One control socket that exists as a file, or that was named by --bird-socket."""

    path: str
    alive: bool
    """A daemon answered."""
    hangs: bool = False
    """Something accepted the connection, or could not, and gave no answer in time."""
    detail: str = ""
    """Why it is not alive, in the kernel's words."""
    absent: bool = False
    """There is no such file: it was named by --bird-socket, or taken away."""
    taken_away: float | None = None
    """Seconds since the folder that is made for it lost its last file: a daemon that stops in order takes its socket
    away, one that is killed leaves it. Only of the usual places, where no control socket is left."""


class Bird(msgspec.Struct, frozen=True, kw_only=True):
    """Every daemon found."""

    daemons: tuple[BirdDaemon, ...] = ()
