"""How names are resolved: /etc/resolv.conf, /etc/nsswitch.conf, and whom local resolvers ask.

Source: files (resolv.conf(5), nsswitch.conf(5), dnsmasq(8), resolved.conf(5), unbound.conf(5), named.conf(5), CoreDNS's
Corefile, what systemd-resolved and systemd-networkd keep of each link), and the command line of a dnsmasq or a CoreDNS
that runs here alone, which may name others; whether a local resolver is alive is seen in the table of sockets. Needs no
privilege; files of a daemon that sees other ones (a mount namespace) need CAP_SYS_PTRACE. A file that is not there is
an answer.
"""

import ipaddress
import json
import posixpath
import re
from itertools import pairwise
from typing import Any

import msgspec

from netdiag.collectors import Collected, Options
from netdiag.model.host import Forwarder, Resolver
from netdiag.model.text import kernel_text
from netdiag.sources.protocol import Source, Unreadable

RESOLV_CONF = "/etc/resolv.conf"
FOLDERS = {
    "dnsmasq": ("/etc/dnsmasq.conf", "/etc/dnsmasq.d", ""),
    "systemd-resolved": ("/etc/systemd/resolved.conf", "/etc/systemd/resolved.conf.d", ".conf"),
    "unbound": ("/etc/unbound/unbound.conf", "/etc/unbound/unbound.conf.d", ".conf"),
}
"""By daemon: its file, its folder of further files, and how those must end."""
NAMED = ("/etc/bind/named.conf", "/etc/named.conf")
COREFILE = "/etc/coredns/Corefile"
LINKS = ("/run/systemd/resolve/netif", "/run/systemd/netif/links")
"""One file a link, named by its index: what ``resolvectl`` set, and what systemd-networkd has for it."""
FILES_KEPT = 64
SHORT = {
    "-C": "conf-file",
    "-7": "conf-dir",
    "-S": "server",
    "-r": "resolv-file",
    "-R": "no-resolv",
    "-1": "enable-dbus",
}
"""Options of dnsmasq that say whom it asks."""
ALONE = ("no-resolv", "enable-dbus")
"""Those that need no value of their own."""


def address_of(word: str) -> str | None:
    """An address as the C library takes it; a zone (``%eth0``) is kept. None where it is none."""
    address, percent, zone = word.partition("%")
    try:
        return str(ipaddress.ip_address(address)) + percent + zone
    except ValueError:
        return None


def nameserver_of(word: str) -> str | None:
    """The address that glibc makes of a word in resolv.conf: of IPv4 by inet_aton(3), so that 192.0.2 is 192.0.0.2 and
    a part with a leading zero is octal."""
    parts = word.split(".")
    if len(parts) > 4 or not all(re.fullmatch("0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*", part) for part in parts):
        return address_of(word)
    *high, low = (int(part, 16 if part[1:2] in ("x", "X") else 8 if part[0] == "0" else 10) for part in parts)
    room = 8 * (4 - len(high))
    if any(number > 255 for number in high) or low >> room:
        return None
    return str(ipaddress.IPv4Address(low + sum(number << 24 - 8 * at for at, number in enumerate(high))))


def refused(text: str) -> tuple[str, ...]:
    """Words after ``nameserver`` that the C library does not take; lines end at line feeds alone."""
    lines = [line.replace("\t", " ").split(" ") for line in text.split("\n")]
    words = [next((word for word in line[1:] if word), "") for line in lines if line[0] == "nameserver"]
    return tuple(word for word in words if nameserver_of(word) is None)


def parse_resolv(text: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Nameservers, search list and options; the last ``search`` or ``domain`` counts."""
    nameservers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        # The keyword starts in the first column (resolv.conf(5)).
        if not line or line[0] in "#; \t":
            continue
        words = line.split()
        if words[0] == "nameserver" and len(words) > 1 and (address := nameserver_of(words[1])):
            nameservers.append(address)
        elif words[0] in ("search", "domain"):
            search = tuple(words[1:])
        elif words[0] == "options":
            options += words[1:]
    return tuple(nameservers), search, tuple(options)


def parse_hosts_line(text: str) -> tuple[str, ...] | None:
    """The ``hosts`` database of nsswitch.conf; None where it is not named."""
    for line in text.splitlines():
        name, colon, rest = line.partition("#")[0].partition(":")
        if colon and name.strip() == "hosts":
            return tuple(rest.split())
    return None


def split_port(word: str, mark: str) -> tuple[str, int] | None:
    """Address and port of ``192.0.2.1#5353``; None where it is no address. What stands behind ``@`` is dropped."""
    address, _, port = word.partition(mark)
    found = address_of(address.strip("[]"))
    number = port.partition("@")[0].partition("#")[0]
    return (found, int(number) if number.isdigit() else 53) if found else None


def without_comment(line: str) -> str:
    """A line of dnsmasq's configuration; a comment starts at the line's begin or behind a space."""
    return re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()


def parse_dnsmasq(text: str, source: str) -> list[Forwarder]:
    """``server=[/domain/]address[#port]`` lines."""
    found: list[Forwarder] = []
    for line in text.splitlines():
        key, equals, value = without_comment(line).partition("=")
        if not equals or key.strip() not in ("server", "local"):
            continue
        *domains, last = value.strip().split("/")
        if (place := split_port(last.split("@")[0], "#")) is None:
            continue
        scopes: list[str | None] = [name for name in domains if name]
        if not scopes:
            scopes.append(None)
        for domain in scopes:
            found.append(Forwarder(daemon="dnsmasq", address=place[0], port=place[1], domain=domain, source=source))
    return found


def options_of(arguments: list[str]) -> list[tuple[str, str]]:
    """Those options of dnsmasq's command line that say whom it asks, by their long names."""
    found: list[tuple[str, str]] = []
    left = list(arguments)
    while left:
        word = left.pop(0)
        if word.startswith("--"):
            name, _, value = word.removeprefix("--").partition("=")
        else:
            name, value = SHORT.get(word[:2], ""), word[2:]
        if name in SHORT.values():
            if name not in ALONE and not value and left:
                value = left.pop(0)
            found.append((name, value))
    return found


def daemon_here(source: Source, name: str) -> tuple[int, list[str]] | None:
    """Process and arguments of the one daemon of this name in this network namespace; None: there is none, or several
    that differ."""
    found: dict[bytes, int] = {}
    try:
        own = source.readlink("/proc/self/ns/net")
        for line in source.fetch("processes", name).split(b"\n"):
            pid = line.partition(b" ")[0].decode()
            if pid and source.readlink(f"/proc/{pid}/ns/net") == own:
                found.setdefault(source.read(f"/proc/{pid}/cmdline"), int(pid))
    except Unreadable:
        return None
    if len(found) != 1:
        return None
    ((line, number),) = found.items()
    return number, [kernel_text(word) for word in line.split(b"\0")[1:] if word]


def seen_by(source: Source, pid: int) -> str:
    """What stands before the paths of files as a process sees them: nothing, where they are the same."""
    try:
        same = source.readlink(f"/proc/{pid}/ns/mnt") == source.readlink("/proc/self/ns/mnt")
    except Unreadable:
        same = True
    return "" if same else f"/proc/{pid}/root"


def domains_of(text: str) -> list[str]:
    """The domains that a file of resolved.conf(5) sends to its servers (``Domains=~consul``)."""
    lines = (line.strip().partition("=") for line in text.splitlines())
    words = [word for key, _, value in lines if key.strip() == "Domains" for word in value.split()]
    return [word[1:] for word in words if word.startswith("~") and word != "~."]


def _resolved_server(word: str) -> tuple[str, int] | None:
    """``192.0.2.1:5353``, ``[2001:db8::1]:5353``, ``2001:db8::1%eth0#name``."""
    name = word.partition("#")[0]
    return split_port(name, "]:" if name.startswith("[") else ":" if name.count(":") == 1 else "\0")


def parse_resolved(text: str, source: str) -> list[Forwarder]:
    """``DNS=`` with ``Domains=~consul`` of the same file; FallbackDNS= is not asked while there is another."""
    servers: list[tuple[str, int]] = []
    for line in text.splitlines():
        key, _, value = line.strip().partition("=")
        if key.strip() == "DNS":
            if not value.strip():
                servers.clear()
            servers += [place for word in value.split() if (place := _resolved_server(word))]
    scopes: list[str | None] = [*domains_of(text)]
    if not scopes:
        scopes.append(None)
    return [
        Forwarder(daemon="systemd-resolved", address=address, port=port, domain=domain, source=source)
        for address, port in servers
        for domain in scopes
    ]


def parse_link(text: str, source: str) -> list[Forwarder]:
    """What systemd-resolved keeps of one link (SERVERS=, DOMAINS=~consul), or systemd-networkd tells it of one (DNS=,
    ROUTE_DOMAINS=consul): the servers of each domain that is sent there. Others are in resolved's resolv.conf."""
    lines = (line.strip().partition("=") for line in text.splitlines())
    held = {key: value.split() for key, _, value in lines}
    domains = [word[1:] for word in held.get("DOMAINS", ()) if word.startswith("~")] + held.get("ROUTE_DOMAINS", [])
    places = [place for word in (*held.get("SERVERS", ()), *held.get("DNS", ())) if (place := _resolved_server(word))]
    return [
        Forwarder(daemon="systemd-resolved", address=address, port=port, domain=domain, source=source)
        for address, port in places
        for domain in domains
        if domain.strip(".")
    ]


def forgets(text: str) -> bool:
    """Whether a file of resolved.conf(5) drops the servers of those before it: an empty ``DNS=``."""
    return any(line.strip().replace(" ", "") == "DNS=" for line in text.splitlines())


def parse_unbound(text: str, source: str) -> list[Forwarder]:
    """``forward-addr:`` and ``stub-addr:`` of each zone; the zone ``.`` is everything."""
    found: list[Forwarder] = []
    zone: str | None = None
    for line in text.splitlines():
        key, colon, value = line.partition(" #")[0].strip().partition(":")
        word = value.strip().strip('"')
        if not colon:
            continue
        if key in ("forward-zone", "stub-zone", "server"):
            zone = None
        elif key == "name":
            zone = word.rstrip(".") or None
        elif key in ("forward-addr", "stub-addr") and (place := split_port(word, "@")):
            found.append(Forwarder(daemon="unbound", address=place[0], port=place[1], domain=zone, source=source))
    return found


PARSERS = {"systemd-resolved": parse_resolved, "unbound": parse_unbound}


def listed(source: Source, folder: str, end: str) -> list[str]:
    """Files of a folder of further configuration."""
    try:
        names = source.listdir(folder)
    except Unreadable:
        return []
    kept = [name for name in names if name.endswith(end) and not name.startswith((".", "README"))]
    return [f"{folder}/{name}" for name in kept[:FILES_KEPT]]


def read_dnsmasq(source: Source) -> list[Forwarder]:
    """By the files that its command line names, or else those of Debian; and by the command line itself."""
    file, folder, end = FOLDERS["dnsmasq"]
    pid, arguments = daemon_here(source, "dnsmasq") or (0, [])
    given = options_of(arguments)
    root = seen_by(source, pid) if pid else ""
    files = [value for name, value in given if name == "conf-file"] or [file]
    folders = [value.partition(",")[0] for name, value in given if name == "conf-dir"]
    if not folders and files == [file]:
        folders = [folder]
    paths = [root + one for one in files] + [path for one in folders for path in listed(source, root + one, end)]
    texts = {path: kernel_text(raw) for path, raw in source.read_many(paths).items()}
    if given:
        texts[f"/proc/{pid}/cmdline"] = "\n".join(f"{name}={value}" if value else name for name, value in given)
    found = [row for path, text in texts.items() for row in parse_dnsmasq(text, path)]
    lines = [without_comment(line) for text in texts.values() for line in text.splitlines()]
    if "no-resolv" not in lines:
        more = [root + line.partition("=")[2].strip() for line in lines if line.startswith("resolv-file=")]
        if pid and not more:
            more = [root + RESOLV_CONF]  # which mostly names dnsmasq itself: that it passes by
        for path, raw in source.read_many(more).items() if more else ():
            for address in parse_resolv(kernel_text(raw))[0]:
                if not address.startswith("127.") and address != "::1":
                    found.append(Forwarder(daemon="dnsmasq", address=address, source=path))
    if any(line.partition("=")[0] == "enable-dbus" for line in lines):
        return [row for row in found if row.domain is not None]  # NetworkManager tells it the others, unseen
    return found


def texts_of(source: Source, paths: list[str]) -> dict[str, str]:
    """What these files hold, those of them that are there; a recording that is older than the question has none."""
    try:
        return {path: kernel_text(raw) for path, raw in source.read_many(paths).items()} if paths else {}
    except Unreadable:
        return {}


def settings_of(source: Source, what: str, path: str) -> dict[str, Any]:
    """What a file says, see netdiag.sources.settings; empty lists where it is not there, or was never asked for."""
    try:
        said: dict[str, Any] = json.loads(source.fetch("settings", f"{what}\n{path}"))
    except Unreadable:
        return {"servers": [], "includes": [], "files": []}
    return said


def read_named(source: Source) -> list[Forwarder]:
    """By the files of Debian or of Red Hat, and those that they include."""
    found: list[Forwarder] = []
    left, seen = list(NAMED), set[str]()
    while left and len(seen) < FILES_KEPT:
        paths = [path for path in dict.fromkeys(left) if path not in seen]
        seen.update(paths)
        left = []
        for path in paths:
            said = settings_of(source, "named", path)
            found += [
                Forwarder(daemon="named", address=address, port=port, domain=domain, source=path)
                for address, port, domain in said["servers"]
            ]
            left += [posixpath.join(posixpath.dirname(path), name) for name in said["includes"]]
    return found


def read_coredns(source: Source) -> list[Forwarder]:
    """By the Corefile that its command line names, or that of /etc."""
    pid, arguments = daemon_here(source, "coredns") or (0, [])
    root = seen_by(source, pid) if pid else ""
    words = [word.replace("--conf", "-conf", 1) for word in arguments]
    given = [after for word, after in pairwise(words) if word == "-conf"]
    given += [word.partition("=")[2] for word in words if word.startswith("-conf=")]
    found: list[Forwarder] = []
    path = root + (given[0] if given else COREFILE)
    said = settings_of(source, "corefile", path)
    for address, port, domain in said["servers"]:
        found.append(Forwarder(daemon="coredns", address=address, port=port, domain=domain, source=path))
    for name, domain in said["files"]:
        for named, text in texts_of(source, [root + name]).items():
            for address in parse_resolv(text)[0]:
                found.append(Forwarder(daemon="coredns", address=address, port=53, domain=domain, source=named))
    return found


def read_forwarders(source: Source) -> list[Forwarder]:
    """Whom the local resolvers ask, by their files."""
    found: list[Forwarder] = read_dnsmasq(source) + read_named(source) + read_coredns(source)
    for daemon, parse in PARSERS.items():
        file, folder, end = FOLDERS[daemon]
        contents = source.read_many([file, *listed(source, folder, end)])
        for path, raw in contents.items():
            text = kernel_text(raw)
            if daemon == "systemd-resolved" and forgets(text):
                found = [row for row in found if row.daemon != daemon]
            found += parse(text, path)
        if daemon == "systemd-resolved":
            # Servers of one file and domains of another belong together: both are of the whole host.
            alone = [text for path, raw in contents.items() if not parse(text := kernel_text(raw), path)]
            for row in [row for row in found if row.daemon == daemon]:
                more = [msgspec.structs.replace(row, domain=name) for text in alone for name in domains_of(text)]
                found += [each for each in more if _new(found, each)]
    links = [path for folder in LINKS for path in listed(source, folder, "")]
    for path, raw in source.read_many(links).items() if links else ():
        found += [row for row in parse_link(kernel_text(raw), path) if _new(found, row)]
    # What resolved asks at this moment, DHCP and links included (systemd-resolved.service(8)).
    path = "/run/systemd/resolve/resolv.conf"
    effective = source.read_many([path]).get(path)
    if effective is not None:
        asked = {(row.address, row.port) for row in found if row.daemon == "systemd-resolved"}
        for address in parse_resolv(kernel_text(effective))[0]:
            if (address, 53) not in asked:
                found.append(Forwarder(daemon="systemd-resolved", address=address, source=path))
    return found


def _new(known: list[Forwarder], row: Forwarder) -> bool:
    return all((one.address, one.port, one.domain) != (row.address, row.port, row.domain) for one in known)


def collect(source: Source, options: Options) -> Collected:
    """One row: the resolver. Raises Unreadable where /etc/resolv.conf is there and may not be read."""
    try:
        target: str | None = source.readlink(RESOLV_CONF)
    except Unreadable:
        target = None
    try:
        text = kernel_text(source.read(RESOLV_CONF))
        strange, present = refused(text), True
        nameservers, search, given = parse_resolv("\n".join(line for line in text.split("\n") if not refused(line)))
    except Unreadable as error:
        if error.why != "absent":
            raise
        nameservers, search, given, strange, present = (), (), (), (), False
    raw = source.read_many(["/etc/nsswitch.conf"]).get("/etc/nsswitch.conf")
    table = Resolver(
        present=present,
        target=posixpath.normpath(posixpath.join("/etc", target)) if target else None,
        dangling=target is not None and not present,
        nameservers=nameservers,
        no_addresses=strange[:8],
        search=search,
        options=given,
        hosts=parse_hosts_line(kernel_text(raw)) if raw is not None else None,
        forwarders=tuple(read_forwarders(source)),
    )
    return Collected(tables={"resolver": table}, rows=len(nameservers))
