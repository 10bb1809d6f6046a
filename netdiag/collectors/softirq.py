"""How the network's work is spread over CPUs: interrupts, softirqs, packet steering, looked at twice.

Source: /proc/stat, /proc/softirqs, /proc/interrupts, /proc/irq/*/smp_affinity_list, and for real interfaces
/sys/class/net/*/queues, threaded (which the kernel's WireGuard has as well), device/msi_irqs. Needs no privilege. Where
/sys shows another namespace than ours (``ip netns`` and containers that bring their own), nothing is said of queues. At
most DEVICES interfaces are looked at.
"""

from netdiag.collectors import Collected, Options
from netdiag.collectors.links import read_links
from netdiag.model.link import Link
from netdiag.model.softirq import CpuTime, DeviceQueues, Irq, IrqCount, Softirqs, SoftirqSample
from netdiag.model.text import kernel_text
from netdiag.sources.protocol import Source, Unreadable

DEVICES = 64
QUEUES = 256
"""Queues of one interface that are looked at."""
CLASS = "/sys/class/net"
USER_HZ = 100
FILES = ("/proc/stat", "/proc/softirqs", "/proc/interrupts")


def parse_cpus(stat: str, softirqs: str) -> tuple[CpuTime, ...]:
    """/proc/stat lines ``cpuN user nice system idle iowait irq softirq steal guest guest_nice`` in ticks, joined with
    NET_RX and NET_TX of /proc/softirqs, whose columns are all possible CPUs."""
    heads, *lines = softirqs.splitlines() or [""]
    columns = [head.removeprefix("CPU") for head in heads.split()]
    rows = {line.partition(":")[0].strip(): line.partition(":")[2].split() for line in lines}
    counts = {
        name: dict(zip(columns, (int(word) for word in rows.get(name, ())), strict=False))
        for name in ("NET_RX", "NET_TX")
    }
    cpus = []
    for line in stat.splitlines():
        name, *words = line.split()
        if not name.startswith("cpu") or name == "cpu" or len(words) < 8:
            continue
        user, nice, system, idle, iowait, irq, softirq, steal = (int(word) / USER_HZ for word in words[:8])
        number = name.removeprefix("cpu")
        cpus.append(
            CpuTime(
                cpu=int(number),
                busy=round(user + nice + system + irq + softirq + steal, 2),
                idle=round(idle + iowait, 2),
                softirq=softirq,
                net_rx=counts["NET_RX"].get(number, 0),
                net_tx=counts["NET_TX"].get(number, 0),
            )
        )
    return tuple(cpus)


def parse_interrupts(text: str) -> dict[int, tuple[tuple[int, ...], str]]:
    """Number to counts and label; lines without a number (NMI, LOC) are no device's."""
    head, *lines = text.splitlines() or [""]
    width = len(head.split())
    found: dict[int, tuple[tuple[int, ...], str]] = {}
    for line in lines:
        number, _, rest = line.partition(":")
        words = rest.split()
        if number.strip().isdigit() and len(words) > width:
            found[int(number)] = (tuple(int(word) for word in words[:width]), words[-1])
    return found


class Reading:
    """The real interfaces of a host, those of WireGuard, and their files."""

    def __init__(self, source: Source, links: list[Link]) -> None:
        self.source = source
        real = [link for link in links if link.kind in (None, "wireguard") and not link.loopback][:DEVICES]
        shown = source.read_many(
            [f"{CLASS}/{link.ifname}/{name}" for link in links[:DEVICES] for name in ("ifindex", "address")]
        )

        def same(link: Link) -> bool:
            ifindex = shown.get(f"{CLASS}/{link.ifname}/ifindex", b"").strip()
            address = shown.get(f"{CLASS}/{link.ifname}/address", b"").strip().decode("ascii", "replace")
            return ifindex == str(link.ifindex).encode() and (link.address is None or address == link.address)

        self.sysfs = all(same(link) for link in links[:DEVICES])
        self.links = real if self.sysfs else []

    def _list(self, path: str) -> tuple[str, ...]:
        try:
            return self.source.listdir(path)
        except Unreadable:
            return ()

    def queues(self, *, whole: bool) -> tuple[DeviceQueues, ...]:
        """Queues of every interface; with ``whole`` False only what moves."""
        rows = []
        for link in self.links:
            base = f"{CLASS}/{link.ifname}"
            names = sorted(self._list(f"{base}/queues"), key=lambda name: (name[:2], int(name[3:] or 0)))
            receive, transmit = (
                [n for n in names if n[:2] == "rx"][:QUEUES],
                [n for n in names if n[:2] == "tx"][:QUEUES],
            )
            paths = [f"{base}/queues/{name}/tx_timeout" for name in transmit]
            if whole:
                paths += [f"{base}/queues/{name}/{file}" for name in receive for file in ("rps_cpus", "rps_flow_cnt")]
                paths += [f"{base}/queues/{name}/xps_cpus" for name in transmit] + [f"{base}/threaded"]
            found = {path: kernel_text(raw).strip() for path, raw in self.source.read_many(paths).items()}

            def column(side: list[str], file: str, found: dict[str, str] = found, base: str = base) -> list[str]:
                return [found[path] for name in side if (path := f"{base}/queues/{name}/{file}") in found]

            threaded = found.get(f"{base}/threaded")
            rows.append(
                DeviceQueues(
                    ifindex=link.ifindex,
                    ifname=link.ifname,
                    irqs=self._irqs(base) if whole else (),
                    rps_cpus=tuple(column(receive, "rps_cpus")),
                    xps_cpus=tuple(column(transmit, "xps_cpus")),
                    rps_flow_cnt=tuple(int(word) for word in column(receive, "rps_flow_cnt") if word.isdigit()),
                    threaded=None if threaded is None else threaded != "0",
                    tx_timeouts=tuple(int(word) for word in column(transmit, "tx_timeout") if word.isdigit()),
                )
            )
        return tuple(rows)

    def _irqs(self, base: str) -> tuple[int, ...]:
        """Interrupts of the device; those of a virtio device belong to the PCI device above it."""
        for place in ("device/msi_irqs", "device/../msi_irqs"):
            numbers = [int(name) for name in self._list(f"{base}/{place}") if name.isdigit()]
            if numbers:
                return tuple(sorted(numbers))
        return ()

    def sample(self, *, whole: bool) -> tuple[SoftirqSample, dict[int, str]]:
        """All counters now, and the label of every interrupt. Raises Unreadable where /proc/stat cannot be read."""
        at = self.source.clock("boottime")
        found = {path: kernel_text(raw) for path, raw in self.source.read_many(FILES).items()}
        if "/proc/stat" not in found:
            self.source.read("/proc/stat")  # raises, with the reason
        interrupts = parse_interrupts(found.get("/proc/interrupts", ""))
        sample = SoftirqSample(
            at=at,
            cpus=parse_cpus(found.get("/proc/stat", ""), found.get("/proc/softirqs", "")),
            irqs=tuple(IrqCount(irq=number, counts=counts) for number, (counts, _) in interrupts.items()),
            queues=self.queues(whole=whole),
        )
        return sample, {number: label for number, (_, label) in interrupts.items()}


def of_network(sample: SoftirqSample, labels: dict[int, str]) -> set[int]:
    """Interrupts of network devices: those that sysfs assigns to them, and those that bear an interface's name."""
    owned = {number for device in sample.queues for number in device.irqs}
    names = tuple(device.ifname for device in sample.queues)
    return owned | {number for number, label in labels.items() if names and label.split("-")[0] in names}


def collect(source: Source, options: Options) -> Collected:
    """One sample, or two that are ``options.interval`` seconds apart."""
    links, _ = read_links(source, stats=False)
    reading = Reading(source, links)
    first, labels = reading.sample(whole=True)
    ours = of_network(first, labels)
    files = {
        number: [f"/proc/irq/{number}/{name}" for name in ("smp_affinity_list", "effective_affinity_list")]
        for number in sorted(ours & labels.keys())
    }
    found = source.read_many([path for paths in files.values() for path in paths])
    texts = {path: kernel_text(raw).strip() or None for path, raw in found.items()}
    irqs = tuple(
        Irq(irq=number, label=labels[number], affinity=texts.get(paths[0]), effective=texts.get(paths[1]))
        for number, paths in files.items()
    )
    second = None
    if options.interval > 0:
        source.wait(options.interval)
        second = _kept(reading.sample(whole=False)[0], ours)
    table = Softirqs(irqs=irqs, first=_kept(first, ours), second=second, sysfs=reading.sysfs)
    return Collected(tables={"softirq": table}, rows=len(first.cpus) + len(irqs) + len(first.queues))


def _kept(sample: SoftirqSample, ours: set[int]) -> SoftirqSample:
    return SoftirqSample(
        at=sample.at, cpus=sample.cpus, irqs=tuple(i for i in sample.irqs if i.irq in ours), queues=sample.queues
    )
