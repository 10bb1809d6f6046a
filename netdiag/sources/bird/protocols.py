"""``show protocols all`` of BIRD 1.6, 2 and 3 as model objects. Pure; see ``replies`` for how texts are read.

A protocol is a row under the header, then indented settings; ``Channel NAME`` begins a channel. BIRD 1.6 has none:
what belongs to one there stands in the protocol itself and comes out as one channel named
``main``.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from netdiag.model.bird import BirdChannel, BirdProtocol, UpdateCounts
from netdiag.sources.bird.replies import text_of

_TIME = re.compile(r"^\d\d:\d\d(:\d\d)?(\.\d+)?$")
_COUNTS = ("received", "rejected", "filtered", "ignored", "accepted")
_STATS = {
    "Import updates": "import_updates",
    "Import withdraws": "import_withdraws",
    "Export updates": "export_updates",
    "Export withdraws": "export_withdraws",
}
_LIMITS = {
    "Import limit": "import_limit",
    "Receive limit": "receive_limit",
    "Export limit": "export_limit",
}
_CHANNEL_TEXTS = {
    "State": "state",
    "Table": "table",
    "Peer table": "peer_table",
    "Input filter": "input_filter",
    "Output filter": "output_filter",
    "Import filter": "input_filter",
    "Export filter": "output_filter",
    "BGP Next hop": "bgp_next_hop",
}
_PROTOCOL_TEXTS = {
    "Description": "description",
    "BGP state": "bgp_state",
    "Neighbor ID": "neighbor_id",
    "Source address": "source_address",
    "Session": "session",
    "Hold timer": "hold_timer",
    "Keepalive timer": "keepalive_timer",
    "Last error": "last_error",
}
_NUMBERS = {"Neighbor AS": "neighbor_as", "Local AS": "local_as"}
_ROUTE_COUNT = re.compile(r"(\d+) (imported|filtered|exported|preferred)")
OTHER_LIMIT = 64
"""Unknown settings kept of one protocol or channel."""


@dataclass
class _Open:
    """A protocol while its lines come in."""

    fields: dict[str, Any]
    channels: list[dict[str, Any]] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    limit: str | None = None

    def channel(self) -> dict[str, Any]:
        """The channel that a setting belongs to; BIRD 1.6's only one is made here."""
        if not self.channels:
            self.channels.append({"name": "main"})
        return self.channels[-1]


def _number(text: str) -> int | None:
    word = text.split(maxsplit=1)[0] if text.split() else ""
    return int(word) if word.isdigit() else None


def _row(text: str) -> dict[str, Any] | None:
    """The columns of a protocol's own line; None where it is not one."""
    words = text.split(None, 4)
    if len(words) < 4:
        return None
    since, info = None, ""
    if len(words) > 4:
        since, _, rest = words[4].partition(" ")
        following, _, after = rest.strip().partition(" ")
        if _TIME.match(following):
            since, rest = f"{since} {following}", after
        info = " ".join(rest.split())
    return {
        "name": words[0],
        "proto": words[1],
        "table": None if words[2] == "---" else words[2],
        "state": words[3],
        "since": since,
        "info": info,
    }


def _counts(columns: list[str], value: str) -> UpdateCounts:
    """One line of statistics, by the header's words."""
    found = {
        name: int(word)
        for name, word in zip(columns, value.split(), strict=False)
        if name in _COUNTS and word.isdigit()
    }
    return UpdateCounts(**found)


def _keep(target: dict[str, Any], name: str, value: str) -> None:
    other: dict[str, str] = target.setdefault("other", {})
    if len(other) < OTHER_LIMIT:
        other[name] = value


def _limit(target: dict[str, Any], name: str, value: str) -> None:
    target[name] = _number(value)
    target[f"{name}_hit"] = "[HIT]" in value


def _neighbor(fields: dict[str, Any], value: str) -> None:
    address, _, ifname = value.partition("%")
    fields["neighbor_address"] = address
    fields["neighbor_ifname"] = ifname or None


def _setting(protocol: _Open, name: str, value: str) -> None:
    """One ``Name: value`` line under a protocol."""
    fields = protocol.fields
    if name in _PROTOCOL_TEXTS:
        fields[_PROTOCOL_TEXTS[name]] = value
    elif name in _NUMBERS:
        fields[_NUMBERS[name]] = _number(value)
    elif name == "Neighbor address":
        _neighbor(fields, value)
    elif name == "Route change stats":
        protocol.columns = re.split(r"\s{2,}", value)
    elif name in _STATS:
        protocol.channel()[_STATS[name]] = _counts(protocol.columns, value)
    elif name == "Routes":
        protocol.channel().update({what: int(count) for count, what in _ROUTE_COUNT.findall(value)})
    elif name in _LIMITS:
        protocol.limit = _LIMITS[name]
        _limit(protocol.channel(), protocol.limit, value)
    elif name == "Route limit":
        # BIRD 1.6 shows how full the import limit is, "10/100", below the limit itself.
        protocol.channel().setdefault("import_limit", _number(value.rpartition("/")[2]))
    elif name == "Action" and protocol.limit:
        protocol.channel()[f"{protocol.limit}_action"] = value
    elif name == "Preference":
        protocol.channel()["preference"] = _number(value)
    elif name in _CHANNEL_TEXTS:
        protocol.channel()[_CHANNEL_TEXTS[name]] = value
    else:
        _keep(protocol.channels[-1] if protocol.channels else fields, name, value)


def _detail(protocol: _Open, text: str) -> None:
    """One indented line under a protocol."""
    words = text.strip()
    if words.startswith("Channel ") and ":" not in words:
        protocol.channels.append({"name": words.removeprefix("Channel ")})
        protocol.limit = None
        return
    if words == "Neighbor graceful restart active":
        protocol.fields["neighbor_graceful_restart"] = True
        return
    name, colon, value = words.partition(":")
    if colon:
        _setting(protocol, name.strip(), value.strip())


def _closed(protocol: _Open) -> BirdProtocol:
    return BirdProtocol(**protocol.fields, channels=tuple(BirdChannel(**channel) for channel in protocol.channels))


def protocols(lines: list[str]) -> tuple[BirdProtocol, ...]:
    """Every protocol, in BIRD's order."""
    found: list[BirdProtocol] = []
    current: _Open | None = None
    for line in lines:
        if line.startswith(("2002", "0000")):
            continue  # the header; the end
        if line.startswith("1002"):
            row = _row(text_of(line))
            if current is not None:
                found.append(_closed(current))
            current = _Open(row) if row is not None else None
        elif current is not None:
            _detail(current, text_of(line))
    if current is not None:
        found.append(_closed(current))
    return tuple(found)
