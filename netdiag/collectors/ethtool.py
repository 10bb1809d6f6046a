"""Network cards and their drivers: speed, features, rings, channels, pause, FEC, error counters, looked at twice.

Source: dumps of generic netlink's ethtool family, one a kind of setting (Linux 5.6; net/ethtool/netlink.c), and the
ethtool ioctl for drivers' names and own counters. Needs no privilege. On a host with more than SMALL interfaces only
those that are no virtual ones are asked for more than their features. Absent where the kernel has no such family.
Partial where the drivers took too long to tell their counters.
"""

from typing import Any

import msgspec

from netdiag.collectors import Collected, Options
from netdiag.collectors.links import read_links
from netdiag.model.ethtool import Ethtool, EthtoolCounters, EthtoolDevice
from netdiag.model.link import Link
from netdiag.sources.netlink.ethtool import SettingsSink, settings
from netdiag.sources.netlink.wireguard import Families, families
from netdiag.sources.protocol import Source, Unreadable

SMALL = 256
"""Interfaces up to which all are asked for everything."""
KINDS = ("LINKMODES", "LINKSTATE", "RINGS", "CHANNELS", "COALESCE", "PAUSE", "FEC")
MODES = ("supported", "advertised", "partner")


def chosen(links: list[Link]) -> list[Link]:
    """The interfaces worth asking: real ones, and all others where they are few."""
    real = [link for link in links if link.kind is None and not link.loopback]
    return (real if len(links) > SMALL else [link for link in links if not link.loopback])[:SMALL]


class Reading:
    """The answers of one host."""

    def __init__(self, source: Source, links: list[Link]) -> None:
        self.source = source
        self.links = {link.ifindex: link for link in links}
        self.asked = [link.ifindex for link in chosen(links)]
        self.values: dict[int, dict[str, Any]] = {ifindex: {} for ifindex in self.links}
        self.family = 0
        self.late = 0
        """Devices whose drivers were not asked, because the others took too long."""

    def find(self) -> None:
        """The family's number. Raises Unreadable."""
        found = Families()
        self.source.dump(families(), found)
        self.family = found.numbers.get("ethtool", 0)
        if not self.family:
            raise Unreadable("absent", "this kernel has no ethtool family of generic netlink")

    def dump(self, what: str, wanted: frozenset[int]) -> dict[int, dict[str, Any]]:
        """One kind of setting; none where the kernel does not know the question."""
        sink = SettingsSink(what, wanted)
        try:
            self.source.dump(settings(self.family, what), sink)
        except Unreadable as refusal:
            if refusal.why not in ("absent", "failed"):
                raise
        return sink.rows

    def fetch(self, question: str, form: Any, nothing: Any) -> Any:
        """An answer of the ioctl; what stands for it where there is none."""
        try:
            return msgspec.json.decode(self.source.fetch("ethtool", question), type=form)
        except (Unreadable, msgspec.MsgspecError):
            return nothing

    def names(self, which: str) -> tuple[str, ...]:
        """Names of bits, which any interface can tell."""
        if not self.links:
            return ()
        found: tuple[str, ...] = self.fetch(f"names {which} {min(self.links)}", tuple[str, ...], ())
        return found

    def read(self) -> None:
        """All settings of all devices."""
        everybody = frozenset(self.links)
        for what, wanted in [("FEATURES", everybody), *((kind, frozenset(self.asked)) for kind in KINDS)]:
            if wanted:
                for ifindex, values in self.dump(what, wanted).items():
                    self.values[ifindex] |= values
        numbers = "\n".join(str(ifindex) for ifindex in self.asked)
        drivers = self.fetch(f"drivers\n{numbers}", dict[str, dict[str, str]], {}) if numbers else {}
        for number, driver in drivers.items():
            self.values[int(number)] |= driver

    def counters(self) -> tuple[EthtoolCounters, ...]:
        """Error counters now."""
        if not self.asked:
            return ()
        numbers = "\n".join(str(ifindex) for ifindex in self.asked)
        own = self.fetch(f"counters\n{numbers}", dict[str, dict[str, int]], {})
        standard = self.dump("STATS", frozenset(self.asked))
        told = frozenset(int(number) for number in own)
        self.late = max(self.late, len(self.asked) - len(told)) if own else self.late
        rows = []
        for ifindex in self.asked:
            if ifindex in told or ifindex in standard:
                counts = own.get(str(ifindex), {}) | standard.get(ifindex, {})
                ifname = self.links[ifindex].ifname
                rows.append(EthtoolCounters(ifindex=ifindex, ifname=ifname, counters=counts))
        return tuple(rows)


def device_of(link: Link, values: dict[str, Any], modes: tuple[str, ...]) -> EthtoolDevice:
    """One device, its link modes by name."""
    values = dict(values)
    for name in MODES:
        words = values.pop(name, ())
        values[name] = tuple(
            mode for bit, mode in enumerate(modes) if bit // 32 < len(words) and words[bit // 32] >> bit % 32 & 1
        )
    fec = values.pop("fec", None)
    if fec is not None:
        values["fec"] = modes[fec] if fec < len(modes) else str(fec)
    return EthtoolDevice(ifindex=link.ifindex, ifname=link.ifname, **values)


def collect(source: Source, options: Options) -> Collected:
    """All devices, and unless ``options.interval`` is 0 their error counters once more."""
    links, _ = read_links(source, stats=False)
    reading = Reading(source, links)
    reading.find()
    started = source.clock("boottime")
    first = reading.counters()
    reading.read()
    names, modes = reading.names("features"), reading.names("linkmodes")
    seconds = None
    second: tuple[EthtoolCounters, ...] = ()
    if options.interval > 0 and reading.asked:
        source.wait(options.interval)
        seconds = source.clock("boottime") - started
        second = reading.counters()
    devices = tuple(device_of(link, reading.values[link.ifindex], modes) for link in links)
    table = Ethtool(devices=devices, feature_names=names, counters=first, seconds=seconds, second=second)
    return Collected(
        tables={"ethtool": table},
        rows=len(devices),
        status="partial" if reading.late else "ok",
        detail=f"{reading.late} devices were not asked for their counters: the others took too long"
        if reading.late
        else "",
    )
