"""What a host is set up like, as flat names and values that can be held against those of its siblings.

Kernel, settings, BIRD and its filters, eBPF programs by build, policy rules; and of interfaces MTU, queueing
discipline, offloads and settings, by what they are for (uplink, wireguard, tap), because names differ from host to
host. What counts, or is sized by the memory of the machine, is left out. What was not read has no value. Pure.
"""

import math
from collections.abc import Iterator

from netdiag.index.fleet import FleetHost
from netdiag.model.link import Link
from netdiag.model.policyrule import PolicyRule

COUNTS = ("nf_conntrack_count", "nf_conntrack_max", "nf_conntrack_buckets", "_mem", "max_tw_buckets", "high_thresh")
CONF = ("rp_filter", "forwarding", "accept_local", "arp_ignore", "arp_announce", "proxy_arp", "src_valid_mark")


def attributes(host: FleetHost) -> dict[str, str]:
    """Everything that was read of a host, by name: ``kernel``, ``sysctl net.ipv4.ip_forward``, ``uplink mtu`` ..."""
    found: dict[str, set[str]] = {}
    for name, value in _all(host):
        found.setdefault(name, set()).add(value)
    return {name: ", ".join(sorted(values)) for name, values in found.items()}


def _all(host: FleetHost) -> Iterator[tuple[str, str]]:
    tables = host.tables
    yield "kernel", host.snapshot.meta.kernel
    if tables.identity.distribution:
        yield "distribution", tables.identity.distribution
    for name, value in tables.sysctls.values.items():
        if not name.endswith(COUNTS):
            yield f"sysctl {name}", value
    if host.read("rules"):
        yield "policy rules", "; ".join(_rule(row) for row in tables.rules)
    if host.read("bird"):
        yield from _bird(host)
    if host.read("links", "routes"):
        yield from _links(host)


def _rule(row: PolicyRule) -> str:
    """A rule without addresses, which differ by host."""
    words = [row.family, str(row.priority), row.action, str(row.table or "")]
    words += ["from"] if row.src_len else []
    words += [f"fwmark {row.fwmark:#x}"] if row.fwmark else []
    return " ".join(words)


def _bird(host: FleetHost) -> Iterator[tuple[str, str]]:
    for daemon in host.tables.bird.daemons:
        if daemon.version:
            yield "bird version", daemon.version
        for protocol in daemon.protocols:
            for channel in protocol.channels if protocol.proto == "BGP" else ():
                to = f"AS{protocol.neighbor_as} {channel.name}"
                yield f"bird import filter of {to}", channel.input_filter or "none"
                yield f"bird export filter of {to}", channel.output_filter or "none"


def _links(host: FleetHost) -> Iterator[tuple[str, str]]:
    tables = host.tables
    classes = _classes(host)
    devices = {row.ifindex: row for row in tables.ethtool.devices} if host.read("ethtool") else {}
    names = tables.ethtool.feature_names
    programs = {row.id: row for row in tables.bpf.programs}
    for link in tables.links:
        what = classes.get(link.ifindex)
        if what is None:
            continue
        yield f"{what} mtu", str(link.mtu)
        yield f"{what} qdisc", link.qdisc or "none"
        for key in CONF:
            if key in link.inet_conf:
                yield f"{what} {key}", str(link.inet_conf[key])
        device = devices.get(link.ifindex)
        if device is not None:
            yield f"{what} driver", device.driver or "none"
            for number, name in enumerate(names):
                word = device.features[number // 32] if number // 32 < len(device.features) else 0
                yield f"{what} offload {name}", "on" if word >> number % 32 & 1 else "off"
    if host.read("bpf"):
        for row in tables.bpf.attachments:
            one = programs.get(row.prog_id)
            what = classes.get(row.ifindex or 0)
            if one is not None and what is not None and not one.name.startswith("sd_"):
                yield f"program {one.function or one.name} at {what} {row.hook}", one.tag


def _classes(host: FleetHost) -> dict[int, str]:
    """What interfaces are for, by index."""
    tables = host.tables
    found: dict[int, str] = {}
    for routes in (tables.routes, tables.routes6):
        for at in (routes.dst_len == 0).nonzero()[0][:64].tolist():
            row = routes.row(at)
            found |= {hop.oif: "uplink" for hop in row.hops if row.type == "unicast" and row.table == 254}
    keyed = {device.ifindex for device in host.devices}
    for link in tables.links:
        found |= {link.ifindex: what} if (what := _class(link, keyed)) else {}
    return found


def _class(link: Link, keyed: set[int | None]) -> str | None:
    if link.ifindex in keyed or link.kind == "wireguard":
        return "wireguard"
    return "tap" if link.kind == "tun" else None


def fisher(both: int, sick: int, having: int, total: int) -> float:
    """Fisher's exact test, one-sided: how likely it is that of ``having`` hosts out of ``total`` at least ``both`` are
    among the ``sick`` ones by chance alone. Hypergeometric tail, in logarithms."""
    whole = _choose(total, having)
    tail = sum(
        math.exp(_choose(sick, number) + _choose(total - sick, having - number) - whole)
        for number in range(max(both, having - (total - sick)), min(sick, having) + 1)
    )
    return min(1.0, tail)


def _choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
