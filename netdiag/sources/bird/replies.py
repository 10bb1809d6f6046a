"""What BIRD's replies say, as model objects: one function a command. Pure; odd lines are passed over, never fatal.

Format: nest/proto.c, proto/bgp/bgp.c, proto/bfd/bfd.c and nest/rt-table.c of BIRD 1.6, 2 and 3. Columns are found by
the words of the header, settings by the first colon, because widths and numbers of columns differ between releases
(route statistics have five columns in BIRD 2, seven in BIRD 3). Codes (four digits) only tell where a reply begins and
ends: the text behind them is the same in all releases.
"""

import re
from itertools import pairwise
from typing import Any

from netdiag.model.bird import BfdSession, BirdInterface, BirdRoute
from netdiag.model.text import kernel_text

_CODED = re.compile(r"^\d{4}[- ]")
_STATUS = (
    ("Router ID is ", "router_id"),
    ("Hostname is ", "hostname"),
    ("Current server time is ", "server_time"),
    ("Last reboot on ", "last_reboot"),
    ("Last reconfiguration on ", "last_reconfiguration"),
)
_ROUTE_TYPES = {
    name: name for name in ("unicast", "unreachable", "blackhole", "prohibit", "opaque", "aggregated", "none")
}
_ROUTE_TYPES["prohibited"] = "prohibit"  # rta_dest_names[] of nest/rt-attr.c; the kernel's name is the shorter one
_WAITING = re.compile(r"Waiting for (\d{1,9}) (?:channels|protocols) to recover")
_TIMER = re.compile(r"Wait timer is (\d{1,9}(?:\.\d{1,9})?)/(\d{1,9}(?:\.\d{1,9})?)")
_SOURCE = re.compile(r"\[(\S+)(?: ([^\]]*?))?(?: from [^\]]*)?\]( [*!]+)?")
"""Protocol, time, mark; "!": the best route too, but the kernel refused it (nest/rt-show.c)."""


def split(raw: bytes) -> dict[str, list[str]]:
    """What ``client.fetch`` returned, by command: lines without codes. A reply that broke off is not there."""
    replies: dict[str, list[str]] = {}
    lines: list[str] = []
    for octets in raw.split(b"\n"):
        if octets.startswith(b"> "):
            lines = replies.setdefault(kernel_text(octets[2:]), [])
        elif octets.startswith(b"! "):
            break
        else:
            lines.append(kernel_text(octets))
    return replies


def broken(raw: bytes) -> str | None:
    """Why the conversation ended early; None where it did not."""
    for octets in raw.split(b"\n"):
        if octets.startswith(b"! "):
            return kernel_text(octets[2:])
    return None


def refused(lines: list[str]) -> str | None:
    """BIRD's own words where it refused a command (codes 8000 and 9000)."""
    for line in lines:
        if line[:1] in ("8", "9") and _CODED.match(line):
            return line[5:]
    return None


def text_of(line: str) -> str:
    """A line without its code or continuation mark."""
    return line[5:] if _CODED.match(line) else line[1:]


def status(lines: list[str]) -> dict[str, str]:
    """``show status``: version, router_id, hostname, server_time, last_reboot, last_reconfiguration, message."""
    found: dict[str, str] = {}
    for line in lines:
        text = text_of(line).strip()
        for start, name in _STATUS:
            if text.startswith(start):
                found[name] = text.removeprefix(start)
                break
        else:
            if text.startswith("BIRD ") and "version" not in found:
                found["version"] = text.removeprefix("BIRD ")
            elif line.startswith("0013") or text.startswith("Daemon is"):
                found["message"] = text
    return found


def recovery(lines: list[str]) -> dict[str, Any]:
    """``show status`` of a daemon that waits for its neighbours after a graceful restart: recovery_channels,
    recovery_left and recovery_wait (nest/proto.c graceful_restart_show_status()); nothing of one that does not."""
    found: dict[str, Any] = {}
    for line in lines:
        text = text_of(line).strip()
        if text.startswith("Graceful restart recovery in progress"):
            found["recovery_channels"] = 0
        elif found and (waits := _WAITING.fullmatch(text)) is not None:
            found["recovery_channels"] = int(waits[1])
        elif found and (timer := _TIMER.fullmatch(text)) is not None:
            found |= {"recovery_left": float(timer[1]), "recovery_wait": float(timer[2])}
    return found


def bfd_sessions(lines: list[str]) -> tuple[BfdSession, ...]:
    """``show bfd sessions``: address, interface, state, since, interval and timeout in seconds."""
    found: list[BfdSession] = []
    protocol = ""
    for line in lines:
        text = text_of(line).rstrip()
        words = text.split()
        if line.startswith("1020") and text.endswith(":"):
            protocol = text[:-1]
        elif words[:2] == ["IP", "address"] or len(words) < 4 or line.startswith("0000"):
            continue
        else:
            numbers = [float(word) for word in words[-2:] if word.replace(".", "", 1).isdigit()]
            both = len(numbers) == 2
            found.append(
                BfdSession(
                    protocol=protocol,
                    address=words[0],
                    ifname=None if words[1] == "---" else words[1],
                    state=words[2],
                    since=" ".join(words[3:-2]) if both else words[3],
                    interval=numbers[0] if both else None,
                    timeout=numbers[1] if both else None,
                )
            )
    return tuple(found)


def interfaces(lines: list[str]) -> tuple[BirdInterface, ...]:
    """``show interfaces summary``: name, state, and one address of each family (of its own family in BIRD 1.6)."""
    found: list[BirdInterface] = []
    for line in lines:
        words = text_of(line).split()
        if line.startswith(("2005", "0000")) or len(words) < 2 or words[1] not in ("up", "down"):
            continue
        addresses = tuple(word for word in words[2:] if "/" in word)
        found.append(BirdInterface(ifname=words[0], state=words[1], addresses=addresses))
    return tuple(found)


_TABLE_COUNT = re.compile(r"(\d+) of (\d+) routes for (\d+) networks(?: in table (\S+))?")


def route_counts(lines: list[str]) -> dict[str, int]:
    """``show route count``: networks by table. BIRD 1.6 answers for one table and does not name it: ``master``."""
    found: dict[str, int] = {}
    for line in lines:
        text = text_of(line)
        match = _TABLE_COUNT.search(text)
        if match and not text.startswith("Total"):
            found[match[4] or "master"] = int(match[3])
    return found


def routes(lines: list[str]) -> tuple[BirdRoute, ...]:
    """``show route``: networks with type, protocol, gateways and interfaces; several routes of one network in turn."""
    found: list[BirdRoute] = []
    table: str | None = None
    net = ""
    current: dict[str, Any] | None = None
    for line in lines:
        text = text_of(line).rstrip()
        words = text.split()
        if text.startswith("Table ") and text.endswith(":"):
            table = words[1].rstrip(":")
        elif not words or line.startswith(("0000", "1008", "1012")):
            continue
        elif current is not None and words[0] in ("via", "dev") and text[:1] in "\t ":
            _hop(current, words)
        elif _SOURCE.search(text):
            if text[:1] not in "\t ":
                net = words[0]
            if current is not None:
                found.append(BirdRoute(**current))
            current = _route(net, table, text, words)
    if current is not None:
        found.append(BirdRoute(**current))
    return tuple(found)


def _route(net: str, table: str | None, text: str, words: list[str]) -> dict[str, Any]:
    source = _SOURCE.search(text)
    kind = next((_ROUTE_TYPES[word] for word in words[:2] if word in _ROUTE_TYPES), "unicast")
    route: dict[str, Any] = {
        "net": net,
        "table": table,
        "type": kind,
        "protocol": source[1] if source else None,
        "best": bool(source and source[3]),
        "refused": bool(source and "!" in (source[3] or "")),
        "since": source[2] if source else None,
        "via": (),
        "dev": (),
    }
    # BIRD 1.6 has the next hop on the same line: "192.0.2.0/24 via 10.0.0.2 on eth0 [bgp1 ...] * (100)".
    _hop(route, words[1:])
    return route


def _hop(route: dict[str, Any], words: list[str]) -> None:
    """Take ``via ADDRESS on IFNAME`` or ``dev IFNAME`` into the route."""
    for name, following in pairwise(words):
        if name == "via":
            route["via"] += (following,)
        elif name in ("on", "dev"):
            route["dev"] += (following,)
