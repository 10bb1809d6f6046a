"""A live fleet of twelve hosts in three regions, to be broken between the hosts, and its sweeps.

::

    fra  10.1.0.0/24  edge1 .1  edge2 .2  worker1 .3  gateway1 .4 -- switch --+
    ams  10.2.0.0/24  worker1 .1  worker2 .2  gateway1 .3  gateway2 .4 -------+-- core (a router, not collected)
    sin  10.3.0.0/24  worker1 .1  worker2 .2  worker3 .3  gateway1 .4 --------+
    fra-edge1 and 2, eth1 198.51.100.1 and .2 -- switch -- transit 198.51.100.254 AS65010 (BIRD, not collected)

Every host has wg0 with 10.64.REGION.NUMBER and all others as peers, by wireguard-go. Edges announce 203.0.113.7/32,
which is on their lo, and to each other 10.1.255.NUMBER/32, which is too. Workers have a guest 10.70.REGION.NUMBER
behind tap0, and the program worker_in on tap0 and wg0. Gateways have two peers that nobody has heard of yet, made just
in time.

What takes minutes on a real fleet is not waited for: ``silence`` moves the handshakes back of those pairs that a test
names and that really said nothing between the two looks of a snapshot.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from subprocess import Popen
from typing import Any

import msgspec

from netdiag.collect import Options, collect
from netdiag.fleet.judge import judge_fleet
from netdiag.fleet.load import Fleet as Loaded
from netdiag.index.fleet import FleetHost
from netdiag.model.finding import Finding
from netdiag.model.fleetreport import FleetReport
from netdiag.model.snapshot import Snapshot
from netdiag.snapshotfile import read_snapshot, write_snapshot
from netdiag.sources.live import LiveSource
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make
from tests.lab.daemons import Daemon, Peer, configure, key_pair
from tests.lab.taps import hold

REGIONS = {
    "fra": ("edge1", "edge2", "worker1", "gateway1"),
    "ams": ("worker1", "worker2", "gateway1", "gateway2"),
    "sin": ("worker1", "worker2", "worker3", "gateway1"),
}
SERVICE = "203.0.113.7"
EDGE = """
router id 10.1.0.{number};
protocol device {{}}
protocol kernel {{ ipv4 {{ export where source = RTS_BGP; }}; }}
protocol static service {{ ipv4; route 203.0.113.7/32 blackhole; }}
protocol static own {{ ipv4; route 10.1.255.{number}/32 blackhole; }}
protocol bgp transit {{
  local 198.51.100.{number} as 65001; neighbor 198.51.100.254 as 65010;
  connect delay time 1; connect retry time 1; error wait time 1, 2; hold time 6; keepalive time 2;
  ipv4 {{ import all; export where proto = "service"; }};
}}
protocol bgp sibling {{
  local 10.1.0.{number} as 65001; neighbor 10.1.0.{other} as 65001; direct;
  connect delay time 1; connect retry time 1; error wait time 1, 2; hold time 6; keepalive time 2;
  ipv4 {{ import all; export where source = RTS_STATIC; }};
}}
"""
TRANSIT = """
router id 198.51.100.254;
protocol device {}
protocol kernel { ipv4 { export all; }; }
template bgp edge { local as 65010; connect delay time 1; error wait time 1, 2; passive;
  ipv4 { import all; export none; }; }
protocol bgp edge1 from edge { neighbor 198.51.100.1 as 65001; }
protocol bgp edge2 from edge { neighbor 198.51.100.2 as 65001; }
"""
LONG_AGO = 400.0
"""Seconds: beyond every grace."""


@dataclass
class Member:
    """One host of the fleet."""

    host: Host
    region: int
    number: int
    private: str
    public: str

    @property
    def outer(self) -> str:
        """Its address on the underlay."""
        return f"10.{self.region}.0.{self.number}"

    @property
    def inner(self) -> str:
        """Its address in the mesh."""
        return f"10.64.{self.region}.{self.number}"

    @property
    def guest(self) -> str:
        """The address of its guest."""
        return f"10.70.{self.region}.{self.number}"

    @property
    def worker(self) -> bool:
        """Whether it has guests."""
        return "worker" in self.host.name


@dataclass
class World:
    """The fleet, and what the last sweep knows of each host."""

    lab: Lab
    members: dict[str, Member] = field(default_factory=dict)
    birds: dict[str, Daemon] = field(default_factory=dict)
    core: Host = None  # type: ignore[assignment]
    transit: Host = None  # type: ignore[assignment]
    folder: Path = None  # type: ignore[assignment]
    known: dict[str, Snapshot] = field(default_factory=dict)
    healthy: dict[str, Snapshot] = field(default_factory=dict)
    """The first sweep: the night before."""
    strangers: tuple[str, ...] = ()
    at_work: list[Popen[str]] = field(default_factory=list)
    """What a variant has started and must end."""
    forked: dict[str, int] = field(default_factory=dict)
    """Likewise, by the name of its host."""

    def __getitem__(self, name: str) -> Host:
        return self.members[name].host

    # -- building ----------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Everything, until every pair has shaken hands and both edges announce."""
        lab = self.lab
        self.core = lab.host("core", sysctls={"net.ipv4.ip_forward": "1"})
        self.transit = lab.host("transit")
        for region, (name, hosts) in enumerate(REGIONS.items(), 1):
            switch = lab.switch(f"switch-{name}")
            lab.plug(self.core, name, switch, f"10.{region}.0.254/24")
            for number, short in enumerate(hosts, 1):
                host = lab.host(f"{name}-{short}", sysctls={"net.ipv4.ip_forward": "1"} if "worker" in short else {})
                lab.plug(host, "eth0", switch, f"10.{region}.0.{number}/24")
                host.ip(f"route add default via 10.{region}.0.254")
                self.members[host.name] = Member(host, region, number, *key_pair(host))
        self.strangers = tuple(key_pair(self.core)[1] for _ in range(2))
        for member in self.members.values():
            lab.wireguard(member.host, "wg0", member.private, 51820, self.peers(member))
            member.host.ip(f"address add {member.inner}/16 dev wg0\nlink set wg0 mtu 1420 up")
            member.host.ip("route add 10.70.0.0/16 dev wg0")
            if "gateway" in member.host.name:
                member.host.ip("route add 10.99.0.0/16 dev wg0")
            if member.worker:
                self._guest(member)
        self._edges()
        self.meshed()

    def peers(self, member: Member) -> list[Peer]:
        """The peers that a host must have."""
        found = [
            Peer(
                public_key=other.public,
                allowed_ips=[f"{other.inner}/32", *([f"{other.guest}/32"] if other.worker else [])],
                endpoint=f"{other.outer}:51820",
                persistent_keepalive=1,
            )
            for other in self.members.values()
            if other is not member
        ]
        if "gateway" in member.host.name:
            found += [
                Peer(public_key=key, allowed_ips=[f"10.99.{n}.{member.number}/32"])
                for n, key in enumerate(self.strangers)
            ]
        return found

    def configure(self, name: str, peers: list[Peer] | None = None, port: int = 51820) -> None:
        """Give a host's wg0 its peers, or others."""
        member = self.members[name]
        configure(member.host, "wg0", member.private, port, self.peers(member) if peers is None else peers)

    def _guest(self, member: Member) -> None:
        host = member.host
        host.ip("tuntap add dev tap0 mode tap vnet_hdr\nlink set dev tap0 up\naddress add 169.254.0.1/32 dev tap0")
        host.ip(f"route add {member.guest}/32 dev tap0")
        host.sysctl({"net/ipv4/conf/tap0/proxy_arp": 1})
        hold(host, "tap0", vnet_hdr=True, guests={member.guest: f"06:00:00:00:0{member.region}:0{member.number}"})
        self.program(host.name, "worker_in", ("tap0", "wg0"), pref=10)

    def program(self, name: str, program: str, ifnames: Iterable[str], *, pref: int, verdict: int = -1) -> None:
        """Load a program and attach it by clsact; another verdict is another build."""
        host = self[name]
        pin = f"{program}{verdict + 1}"

        def load() -> None:
            if not Path(make.BPFFS, pin).exists():
                make.pin(make.program(make.SCHED_CLS, program.encode(), verdict=verdict), pin)

        host.call(load)
        for ifname in ifnames:
            host.sh(
                f"tc qdisc add dev {ifname} clsact 2>/dev/null || true\n"
                f"tc filter replace dev {ifname} ingress pref {pref} handle 1 bpf da object-pinned /sys/fs/bpf/{pin}"
            )

    def _edges(self) -> None:
        switch = self.lab.switch("switch-transit")
        self.lab.plug(self.transit, "eth0", switch, "198.51.100.254/24")
        for number in (1, 2):
            host = self[f"fra-edge{number}"]
            self.lab.plug(host, "eth1", switch, f"198.51.100.{number}/24")
            host.ip(f"address add {SERVICE}/32 dev lo\naddress add 10.1.255.{number}/32 dev lo")
            self.birds[host.name] = self.lab.birdd(host, EDGE.format(number=number, other=3 - number))
        self.lab.birdd(self.transit, TRANSIT)
        self.announcing()

    def announcing(self, count: int = 2) -> None:
        """Wait until so many edges have their session."""

        def ready() -> bool:
            return self.transit.run("birdc", "show", "protocols").stdout.count("Established") == count

        self.lab.wait(ready, 15, f"{count} edges announce")

    def meshed(self, *names: str) -> None:
        """Wait until every peer that is called has shaken hands, on these hosts or on all."""

        def ready(host: Host) -> bool:
            ages = [line.split("\t") for line in host.run("wg", "show", "wg0", "latest-handshakes").stdout.splitlines()]
            return all(age != "0" for key, age in ages if key not in self.strangers)

        for name in names or self.members:
            self.lab.wait(lambda n=name: ready(self[n]), 20, f"{name} knows all its peers")  # type: ignore[misc]

    # -- sweeping ----------------------------------------------------------------------------------------------------

    def sweep(self, *names: str, interval: float = 1.2) -> None:
        """Collect these hosts, or all, at once; the others stay as they are known."""
        wanted = names or tuple(self.members)
        pids = {name: self._start(name, interval) for name in wanted}
        for name in pids:
            path = self.folder / f"{name}.netdiag"
            self.lab.wait(path.exists, 20, f"{name} is collected")
            self.known[name] = read_snapshot(str(path))
            path.unlink()

    def _start(self, name: str, interval: float) -> int:
        host = self[name]
        (self.folder / f"{name}.netdiag").unlink(missing_ok=True)
        into = self.folder / f"{name}.netdiag"

        def work() -> None:
            options = Options(interval=interval, deadline=20.0, hostname=name)
            write_snapshot(collect(LiveSource(time.monotonic() + 20.0), options), str(into))

        return host.fork(work)

    def judged(
        self,
        *,
        without: tuple[str, ...] = (),
        silent: Callable[[str, str], bool] | None = None,
        clocks: Mapping[str, float] | None = None,
    ) -> FleetReport:
        """The report over what is known. ``silent``: pairs of hosts that, having said nothing between the looks, have
        said nothing for minutes. ``clocks``: hosts whose clock is so many seconds ahead, and that nothing keeps: all
        hosts of the lab have the one clock of the kernel."""
        names = {member.public: name for name, member in self.members.items()}
        hosts = []
        for name, snapshot in sorted(self.known.items()):
            if name not in without:
                told = snapshot if silent is None else silence(snapshot, names, silent)
                told = by_another_clock(told, clocks[name]) if clocks and name in clocks else told
                hosts.append(FleetHost(name=name, snapshot=told, previous=self.healthy.get(name)))
        return judge_fleet(Loaded(tuple(hosts), ()))


def silence(snapshot: Snapshot, names: Mapping[str, str], silent: Callable[[str, str], bool]) -> Snapshot:
    """The snapshot as it would be some minutes later, if peers that said nothing between the looks stay silent."""
    table = snapshot.tables.wireguard
    heard = {(row.ifname, row.public_key): row.rx_bytes for row in table.second}

    def aged(ifname: str, row: Any, before: int) -> Any:
        quiet = (
            silent(snapshot.meta.name, names.get(row.public_key, "")) and heard.get((ifname, row.public_key)) == before
        )
        if not quiet or row.latest_handshake is None:
            return row
        return msgspec.structs.replace(row, latest_handshake=row.latest_handshake - LONG_AGO)

    first = {(device.ifname, row.public_key): row.rx_bytes for device in table.devices for row in device.peers}
    devices = tuple(
        msgspec.structs.replace(device, peers=tuple(aged(device.ifname, row, row.rx_bytes) for row in device.peers))
        for device in table.devices
    )
    second = tuple(aged(row.ifname, row, first.get((row.ifname, row.public_key), -1)) for row in table.second)
    wireguard = msgspec.structs.replace(table, devices=devices, second=second)
    return replace(snapshot, tables=replace(snapshot.tables, wireguard=wireguard))


def by_another_clock(snapshot: Snapshot, ahead: float) -> Snapshot:
    """The snapshot as a host would give it whose clock is ahead by so many seconds, or behind."""

    def moved(row: Any) -> Any:
        return msgspec.structs.replace(row, latest_handshake=row.latest_handshake and row.latest_handshake + ahead)

    table = snapshot.tables.wireguard
    devices = tuple(msgspec.structs.replace(device, peers=tuple(map(moved, device.peers))) for device in table.devices)
    wireguard = msgspec.structs.replace(
        table,
        at=table.at + ahead,
        second_at=table.second_at and table.second_at + ahead,
        devices=devices,
        second=tuple(map(moved, table.second)),
    )
    clock = msgspec.structs.replace(snapshot.tables.clock, state=5, status=0x40, daemons=())
    return replace(snapshot, tables=replace(snapshot.tables, wireguard=wireguard, clock=clock))


def alarms(report: FleetReport) -> list[Finding]:
    """What would wake somebody; cgroups are the machine's, and other tests have theirs there."""
    return [row for row in report.findings if row.severity != "info" and not row.rule.startswith("bpf-cgroup-")]


def told(report: FleetReport) -> str:
    """The findings in a few lines, for a failing test's message."""
    by_id = {row.id: row.rule for row in report.findings}
    loud = [row for row in report.findings if row.severity != "info"]
    lines = [
        f"{row.severity} {row.rule}: {row.message}"
        + (f" [under {by_id[row.explained_by]}]" if row.explained_by else "")
        for row in loud
    ]
    return "\n".join(lines)
