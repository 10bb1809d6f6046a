"""What a host is besides its interfaces: who resolves its names, who keeps its time, what runs on it."""

import msgspec


class Forwarder(msgspec.Struct, frozen=True, kw_only=True):
    """One place that a local resolver asks, as its configuration says."""

    daemon: str
    """``dnsmasq``, ``systemd-resolved``, ``unbound``, ``named`` (only with ``forward only``) or ``coredns``."""
    address: str
    """Address of the server that is asked."""
    port: int = 53
    """Its port."""
    domain: str | None = None
    """Only for names below this domain; null: for all."""
    source: str
    """File that says so."""


class Resolver(msgspec.Struct, frozen=True, kw_only=True):
    """How names are resolved here (resolv.conf(5), nsswitch.conf(5))."""

    present: bool = False
    """/etc/resolv.conf can be read."""
    target: str | None = None
    """Where /etc/resolv.conf points to; null: it is no symbolic link."""
    dangling: bool = False
    """It is a symbolic link to something that is not there."""
    nameservers: tuple[str, ...] = ()
    """Addresses, in order; the C library asks the first three."""
    no_addresses: tuple[str, ...] = ()
    """What stands after ``nameserver`` and is no address to the C library, such as one with a port or a carriage
    return."""
    search: tuple[str, ...] = ()
    """Search list."""
    options: tuple[str, ...] = ()
    """``timeout:1``, ``ndots:5`` ..."""
    hosts: tuple[str, ...] | None = None
    """The ``hosts`` line of /etc/nsswitch.conf; null: there is none."""
    forwarders: tuple[Forwarder, ...] = ()
    """Whom resolvers on this host ask, by their configuration."""


class Daemon(msgspec.Struct, frozen=True, kw_only=True):
    """A running process that matters to the network."""

    name: str
    """Name of the program, up to 15 bytes."""
    pid: int
    """Process id."""
    age: float | None = None
    """Seconds since it was started; null: not known."""


class ClockState(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel says of its clock (adjtimex(2)) and who keeps it."""

    state: int | None = None
    """TIME_OK 0, TIME_INS 1, TIME_DEL 2, TIME_OOP 3, TIME_WAIT 4, TIME_ERROR 5; null: not known."""
    status: int = 0
    """STA_* bits; 0x40 is STA_UNSYNC, 0x2000 says that ``offset`` is in nanoseconds."""
    offset: float = 0.0
    """Seconds that are still to be slewed."""
    freq: float = 0.0
    """Correction of the frequency, in parts per million."""
    maxerror: float = 0.0
    """Seconds; 16 is the most, and means that nobody has set it for hours."""
    esterror: float = 0.0
    """Estimated error, in seconds."""
    tai: int = 0
    """TAI minus UTC, in seconds; 0: nobody has set it."""
    realtime: float = 0.0
    """CLOCK_REALTIME when it was read, in seconds since 1970."""
    boottime: float = 0.0
    """CLOCK_BOOTTIME at the same moment, in seconds since boot."""
    later_realtime: float | None = None
    """CLOCK_REALTIME at a second look; null: there was none."""
    later_boottime: float | None = None
    """CLOCK_BOOTTIME at the second look."""
    daemons: tuple[Daemon, ...] = ()
    """Time daemons that run here."""
    enabled: tuple[str, ...] = ()
    """Units of time daemons that systemd starts at boot."""
    systemd: bool = False
    """systemd is the first process here."""

    @property
    def synchronised(self) -> bool | None:
        """Whether the kernel holds its clock for synchronised; None: not known."""
        return None if self.state is None else not self.status & 0x40


class Manager(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who makes interfaces, addresses, routes or rules here."""

    name: str
    """``systemd-networkd``, ``NetworkManager``, ``ifupdown``, ``docker``, ``kubernetes-cni``, ``consul`` ..."""
    evidence: str
    """The process, socket or file that says so."""


class Networkd(msgspec.Struct, frozen=True, kw_only=True):
    """systemd-networkd, where it runs: what it does with what others made (networkd.conf(5))."""

    manage_foreign_routes: bool = True
    """``ManageForeignRoutes``: it removes routes of interfaces that it manages and did not make."""
    manage_foreign_rules: bool = True
    """``ManageForeignRoutingPolicyRules``: it removes policy rules that it did not make."""
    manage_foreign_nexthops: bool = True
    """``ManageForeignNextHops`` (systemd 256): the same of nexthop objects."""
    source: str = ""
    """The last file that sets one of them; empty: none does."""
    own_rules: bool = False
    """Its own configuration has sections ``[RoutingPolicyRule]``."""
    managed: tuple[int, ...] = ()
    """Indexes of the interfaces that it configures."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Which machine this is and who runs its network."""

    kernel: str = ""
    """Kernel release."""
    distribution: str | None = None
    """PRETTY_NAME of os-release(5)."""
    distribution_id: str | None = None
    """ID of os-release(5): ``debian``."""
    version_id: str | None = None
    """VERSION_ID of os-release(5)."""
    machine_id: str | None = None
    """First 16 hexadecimal digits of SHA-256 over /etc/machine-id, which is confidential itself (machine-id(5))."""
    boot_id: str | None = None
    """Random id of this boot."""
    uptime: float | None = None
    """Seconds since boot."""
    managers: tuple[Manager, ...] = ()
    """Who manages the network."""
    networkd: Networkd | None = None
    """systemd-networkd's ways with others' routes and rules; null: it does not run here."""
    daemons: tuple[Daemon, ...] = ()
    """Known daemons that run here."""
