"""How the work of the network is spread over the CPUs: interrupts, softirqs, steering of packets and NAPI threads.

From /proc/{stat,softirqs,interrupts}, /proc/irq and /sys/class/net/*/queues, in one look or two. The CPU's are those of
the whole machine; the queues those of this namespace's hardware.
"""

import msgspec


class CpuTime(msgspec.Struct, frozen=True, kw_only=True):
    """One line of /proc/stat (fs/proc/stat.c), in seconds since boot, and the CPU's network softirqs."""

    cpu: int
    """Number of the CPU."""
    busy: float
    """Seconds of any work, softirqs included."""
    idle: float
    """Seconds without work, waiting for disks included."""
    softirq: float
    """Seconds in softirqs."""
    net_rx: int = 0
    """NET_RX softirqs (/proc/softirqs)."""
    net_tx: int = 0
    """NET_TX softirqs."""


class Irq(msgspec.Struct, frozen=True, kw_only=True):
    """One interrupt of a network device."""

    irq: int
    """Its number."""
    label: str
    """What /proc/interrupts says behind the counts: ``eth0-TxRx-0``."""
    affinity: str | None = None
    """smp_affinity_list: CPUs that it may be sent to, ``0-3,8``."""
    effective: str | None = None
    """effective_affinity_list: CPUs that it is sent to now."""


class IrqCount(msgspec.Struct, frozen=True, kw_only=True):
    """How often an interrupt has come, by CPU."""

    irq: int
    """Its number."""
    counts: tuple[int, ...]
    """One number a CPU that is online, in their order."""


class DeviceQueues(msgspec.Struct, frozen=True, kw_only=True):
    """Queues of one interface, as sysfs tells them."""

    ifindex: int
    ifname: str
    irqs: tuple[int, ...] = ()
    """Numbers of its interrupts."""
    rps_cpus: tuple[str, ...] = ()
    """RPS: CPUs that packets of each receive queue are spread over, as a hexadecimal mask; ``0``: off."""
    xps_cpus: tuple[str, ...] = ()
    """XPS: CPUs that use each transmit queue, as a hexadecimal mask."""
    rps_flow_cnt: tuple[int, ...] = ()
    """RFS: flows remembered for each receive queue."""
    threaded: bool | None = None
    """NAPI runs in threads; None: the kernel does not say."""
    tx_timeouts: tuple[int, ...] = ()
    """How often the watchdog found each transmit queue stuck, since the device was made."""


class SoftirqSample(msgspec.Struct, frozen=True, kw_only=True):
    """All of it at one moment."""

    at: float
    """Seconds of CLOCK_BOOTTIME."""
    cpus: tuple[CpuTime, ...] = ()
    """CPUs that are online."""
    irqs: tuple[IrqCount, ...] = ()
    """Interrupts of network devices."""
    queues: tuple[DeviceQueues, ...] = ()
    """Queues of the interfaces; the second sample has the transmit timeouts only."""


class Softirqs(msgspec.Struct, frozen=True, kw_only=True):
    """The first sample and, unless ``--interval 0``, a second one."""

    irqs: tuple[Irq, ...] = ()
    """Interrupts that belong to network devices."""
    first: SoftirqSample = SoftirqSample(at=0.0)
    """The first sample."""
    second: SoftirqSample | None = None
    """The second sample; None: one was taken."""
    sysfs: bool = True
    """Whether /sys/class/net shows this namespace; False: nothing is known of queues."""
