"""``intent.toml``: what this host is meant to be, and its labels.

Names of routing tables are those that every kernel knows (main, default, local); others are numbers. Numbers may be
written as ``ip -j`` prints them, which is as text in places.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from netdiag.model.intent import (
    IntendedAddress,
    IntendedAnnouncement,
    IntendedPeer,
    IntendedProgram,
    IntendedRoute,
    IntendedRule,
    IntendedWireguard,
    Intent,
)
from netdiag.model.protocols import PROTOCOLS
from netdiag.model.route import RTN_NAMES
from netdiag.told.strict import Table, ToldRefused, address, load, number, parse, prefix, prefixes, text, truth

DEFAULT = "/etc/netdiag/intent.toml"
TABLES = {"default": 253, "main": 254, "local": 255}
ACTIONS = ("lookup", "goto", "nop", "blackhole", "unreachable", "prohibit")
ON_INTERFACES = ("xdp", "tc-ingress", "tc-egress", "netkit-primary", "netkit-peer")
SECRET = re.compile(r"secret|_key$|fastopen_key", re.IGNORECASE)
"""Settings whose value is a secret are not read, whoever asks."""
SETTING = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-.@:/]*")
T = TypeVar("T")


class Told(NamedTuple):
    """A whole file."""

    intent: Intent
    labels: dict[str, str]


def read(path: str) -> Told:
    """The file. Raises ToldRefused."""
    return _told(load(path))


def decode(content: bytes, path: str) -> Told:
    """The same from bytes; ``path`` is for complaints."""
    return _told(parse(content, path))


def _told(top: Table) -> Told:
    labels = top.table("labels")
    found = Intent(
        sysctl=_sysctl(top),
        bpf=_each(top, "bpf", _program),
        announce=_each(top, "announce", _announcement),
        rule=_each(top, "rule", _rule),
        route=_each(top, "route", _route),
        address=_each(top, "address", _address),
        wireguard=_each(top, "wireguard", _wireguard),
    )
    named = {}
    if labels is not None:
        named = {key: labels.take(key, _label) for key in list(labels.rows)}
    top.done()
    return Told(found, named)


def _each(top: Table, key: str, read_one: Callable[[Table], T]) -> tuple[T, ...] | None:
    """Every table of an array; each must have been read to the last key."""
    tables = top.tables(key)
    if tables is None:
        return None
    found = []
    for table in tables:
        found.append(read_one(table))
        table.done()
    return tuple(found)


def _label(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        return str(value)
    raise ValueError("must be a text, a number, true or false")


def _sysctl(top: Table) -> dict[str, str] | None:
    table = top.table("sysctl")
    if table is None:
        return None
    found: dict[str, str] = {}
    for key in list(table.rows):
        dotted = _dotted(key)
        if dotted is None:
            raise table.refuse(f"{key!r} is no setting: write it as net.ipv4.ip_forward, in quotes")
        if SECRET.search(dotted):
            raise table.refuse(f"{key} holds a secret, which netdiag never reads")
        found[dotted] = table.take(key, _setting)
    return found


def _dotted(key: str) -> str | None:
    """The name with dots, as sysctl(8) takes it: a name with slashes keeps the dots of interfaces as slashes."""
    if not SETTING.fullmatch(key) or "." in key.replace("/", ".").split("..") or ".." in key or "//" in key:
        return None
    slash, dot = key.find("/"), key.find(".")
    if slash >= 0 and (dot < 0 or slash < dot):
        key = key.translate(str.maketrans("/.", "./"))
    return key if "." in key else None


def _setting(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, list) and all(isinstance(entry, int) for entry in value):
        return " ".join(map(str, value))
    raise ValueError("must be a number or a text")


def _program(row: Table) -> IntendedProgram:
    hook = row.take("hook", text, required=True)
    if hook not in ON_INTERFACES and not hook.startswith("cgroup-"):
        raise row.refuse(f"hook = {hook!r}: must be one of {', '.join(ON_INTERFACES)}, cgroup-*")
    ifname = row.take("ifname", text, required=hook in ON_INTERFACES)
    if ifname is not None and hook not in ON_INTERFACES:
        raise row.refuse(f"ifname means nothing for {hook}")
    return IntendedProgram(
        hook=hook, ifname=ifname, name=row.take("name", text, required=True), tag=row.take("tag", _tag)
    )


def _tag(value: Any) -> str:
    if not re.fullmatch("[0-9a-f]{16}", text(value).lower()):
        raise ValueError("must be 16 hex digits, as bpftool prints it")
    return str(value).lower()


def _announcement(row: Table) -> IntendedAnnouncement:
    return IntendedAnnouncement(
        prefix=row.take("prefix", prefix, required=True), session=row.take("session", text, "*")
    )


def _table(value: Any) -> int:
    return TABLES[value] if isinstance(value, str) and value in TABLES else _plain(value, "a table: main, or a number")


def _plain(value: Any, what: str) -> int:
    try:
        return number(value)
    except ValueError:
        raise ValueError(f"must be {what}") from None


def _family(row: Table, *addresses: str | None) -> str:
    """What the file says, else what its addresses are, else inet, as ``ip`` does."""
    told = row.take("family", text)
    if told not in (None, "inet", "inet6"):
        raise row.refuse(f"family = {told!r}: must be inet or inet6")
    families = {"inet6" if ":" in found else "inet" for found in addresses if found not in (None, "all", "default")}
    families |= {told} if told else set()
    if len(families) > 1:
        raise row.refuse("mixes IPv4 and IPv6")
    return families.pop() if families else "inet"


def _selector(row: Table, key: str, length: str) -> str | None:
    """``src`` with ``srclen``, or ``src`` as a prefix; ``all`` stays."""
    given = row.take(key, text)
    bits = row.take(length, number)
    if given is None or given in ("all", "any", "default"):
        return None if given is None else "all"
    try:
        return prefix(given if bits is None or "/" in given else f"{given}/{bits}")
    except ValueError as error:
        raise row.refuse(f"{key} = {given!r}: {error}") from error


def _mark(row: Table) -> tuple[int | None, int | None]:
    given = row.take("fwmark", lambda value: value)
    mask = row.take("fwmask", number)
    if given is None:
        return None, mask
    head, slash, tail = str(given).partition("/")
    try:
        mark = number(given if isinstance(given, int) else head)
        mask = number(tail) if slash else mask
    except ValueError as error:
        raise row.refuse(f"fwmark = {given!r}: must be a number, with or without a mask: 0x1/0xff") from error
    return mark, 0xFFFFFFFF if mask is None else mask


def _protocol(value: Any) -> int:
    return PROTOCOLS[value] if value in PROTOCOLS else _plain(value, "tcp, udp ... or a number")


def _rule(row: Table) -> IntendedRule:
    src, dst = _selector(row, "src", "srclen"), _selector(row, "dst", "dstlen")
    action = row.take("action", text)
    if action not in (None, *ACTIONS):
        raise row.refuse(f"action = {action!r}: must be one of {', '.join(ACTIONS)}")
    mark, mask = _mark(row)
    found = IntendedRule(
        family=_family(row, src, dst),
        priority=row.take("priority", number),
        table=row.take("table", _table),
        action=action,
        src=src,
        dst=dst,
        iif=row.take("iif", text),
        oif=row.take("oif", text),
        fwmark=mark,
        fwmask=mask,
        tos=row.take("tos", number),
        ipproto=row.take("ipproto", _protocol),
        sport=row.take("sport", number),
        dport=row.take("dport", number),
        uid_start=row.take("uid_start", number),
        uid_end=row.take("uid_end", number),
        goto=row.take("goto", number),
        suppress_prefixlen=row.take("suppress_prefixlen", number),
        l3mdev=row.take("l3mdev", truth),
        inverted=row.take("not", truth),
    )
    if not set(row.rows) - {"family"}:
        raise row.refuse("says nothing about the rule")
    return found


def _route(row: Table) -> IntendedRoute:
    dst = row.take("dst", text, required=True)
    gateway, prefsrc = row.take("gateway", address), row.take("prefsrc", address)
    if dst != "default":
        try:
            dst = prefix(dst)
        except ValueError as error:
            raise row.refuse(f"dst = {dst!r}: {error}") from error
        family = _family(row, dst, prefsrc)
    else:
        family = _family(row, gateway, prefsrc)
        dst = "0.0.0.0/0" if family == "inet" else "::/0"
    kind = row.take("type", text)
    if kind is not None and kind not in RTN_NAMES.values():
        raise row.refuse(f"type = {kind!r}: must be unicast, blackhole ...")
    return IntendedRoute(
        family=family,
        dst=dst,
        table=row.take("table", _table, 254),
        gateway=gateway,
        dev=row.take("dev", text),
        type=kind,
        metric=row.take("metric", number),
        prefsrc=prefsrc,
    )


def _address(row: Table) -> IntendedAddress:
    ifname = row.take("ifname", text, required=True)
    given = row.take("address", text, required=True)
    try:
        interface = ipaddress.ip_interface(given)
    except ValueError:
        raise row.refuse(f"address = {given!r}: must be an address, with or without its length") from None
    length = interface.network.prefixlen if "/" in given else None
    return IntendedAddress(ifname=ifname, address=str(interface.ip), prefixlen=length)


def _key(value: Any) -> str:
    try:
        if len(base64.b64decode(text(value), validate=True)) == 32:
            return str(value)
    except binascii.Error:
        pass
    raise ValueError("must be a public key of 44 characters")


def _peer(row: Table) -> IntendedPeer:
    return IntendedPeer(
        public_key=row.take("public_key", _key, required=True), allowed_ips=row.take("allowed_ips", prefixes)
    )


def _wireguard(row: Table) -> IntendedWireguard:
    return IntendedWireguard(ifname=row.take("ifname", text, required=True), peer=_each(row, "peer", _peer))


__all__ = ["DEFAULT", "Told", "ToldRefused", "decode", "read"]
