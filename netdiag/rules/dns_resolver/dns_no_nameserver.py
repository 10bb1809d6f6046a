"""What it checks
  Programs on this host look names up in the DNS, but /etc/resolv.conf names no nameserver: it is a symbolic link to a
  file that is not there, or a file without a nameserver line, or one of which the C library does not take the address
  (a port, a list, lines that end with a carriage return), or gone where a resolver of this host waits at another
  address; and nothing answers at 127.0.0.1, which is asked then.

Why it matters
  Every lookup fails at once. After an upgrade, a change of the network manager or a lost DHCP lease the link to
  /run/systemd/resolve or /run/resolvconf often stays while the file behind it goes.

Confirm
  ls -lL /etc/resolv.conf; grep nameserver /etc/resolv.conf

Fix
  Start what writes the file (systemd-resolved, resolvconf, NetworkManager), or replace the link by a file with
  nameserver lines. The C library reads it anew within a second; other programs may want a restart.

Not flagged
  A host whose /etc/nsswitch.conf does not have dns for hosts, or asks systemd-resolved by its socket before, which
  waits there. A resolver on this host at 127.0.0.1. A host without any /etc/resolv.conf, as small containers and
  routers are: only told, where its nsswitch.conf says dns. A file without nameservers on a host that is on no network.

References
  resolv.conf(5), nsswitch.conf(5), systemd-resolved.service(8)
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Severity, subject
from netdiag.model.protocols import IPPROTO_UDP
from netdiag.rules.build import HostBuilder
from netdiag.rules.nameservers import DNS_PORT, FALLBACK, asks_dns
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.sockettables import listening, on_network, served

RULE = Rule(
    id="dns-no-nameserver",
    title="no nameserver is known",
    severity="critical",
    reads=("resolver", "sockets", "links", "addresses"),
    own_cause=True,
)


def check(view: HostView) -> Iterator[Draft]:
    resolver = view.resolver
    if resolver.nameservers or not asks_dns(view, looks=True) or served(view, FALLBACK, DNS_PORT):
        return
    gone = not (resolver.present or resolver.dangling)
    if not (resolver.dangling or on_network(view)) or (gone and resolver.hosts is None):
        return
    waits = bool((listening(view.sockets, IPPROTO_UDP) & (view.sockets.sport == DNS_PORT)).any())
    if gone:
        message = "/etc/resolv.conf is not there" + (", and the resolver of this host is not asked" if waits else "")
        confirm = ["ls -l /etc/resolv.conf", "ss -lun"]
        fix = "write /etc/resolv.conf anew, or restart what should"
    elif resolver.dangling:
        message = f"/etc/resolv.conf points to {resolver.target}, which is not there: no name can be looked up"
        confirm = ["ls -lL /etc/resolv.conf", "readlink /etc/resolv.conf"]
        fix = f"restart what writes {quoted(resolver.target or '')} (systemctl status systemd-resolved)"
    elif resolver.no_addresses:
        word = resolver.no_addresses[0]
        message = f"/etc/resolv.conf names no nameserver, for {word!r} is no address: no name can be looked up"
        confirm = ["cat -A /etc/resolv.conf", "ls -l /etc/resolv.conf"]
        fix = "write the address alone after nameserver in /etc/resolv.conf, without a port, quotes or a list"
        if word.endswith("\r"):
            fix = "sed -i --follow-symlinks 's/\\r$//' /etc/resolv.conf  # its lines end as those of Windows do"
    else:
        message = "/etc/resolv.conf names no nameserver: no name can be looked up"
        confirm = ["grep -c nameserver /etc/resolv.conf", "ls -l /etc/resolv.conf"]
        fix = "write a nameserver line into /etc/resolv.conf, or restart what should"
    yield RULE.found(
        subject=subject("host"),
        severity="info" if gone and not waits else "critical",
        message=message,
        evidence=[
            ("nameservers", 0, "/etc/resolv.conf"),
            ("link to", resolver.target or "no link", "readlink /etc/resolv.conf"),
            ("hosts", " ".join(resolver.hosts) if resolver.hosts else "files dns, by default", "/etc/nsswitch.conf"),
        ],
        confirm=confirm,
        fix=fix,
    )


def examples() -> Iterator[Example]:
    gone: dict[str, Any] = {"present": False, "target": "/run/systemd/resolve/stub-resolv.conf", "dangling": True}

    def case(
        name: str,
        why: str,
        fires: int,
        *,
        network: bool = True,
        stub: bool = False,
        at: tuple[str, int] | None = None,
        severity: Severity | None = None,
        says: tuple[str, ...] = (),
        **fields: Any,
    ) -> Example:
        host = HostBuilder().link("eth0").resolver(**fields)
        if network:
            host.address("eth0", "192.0.2.1/24")
        if stub:
            host.socket(protocol=17, src=FALLBACK, sport=53, comm="dnsmasq")
        if at is not None:
            host.socket(protocol=17, src=at[0], sport=at[1])
        severity = severity or ("critical" if fires else None)
        return Example(name=name, why=why, tables=host.build(), fires=fires, severity=severity, says=says)

    yield case("link to nothing", "the plain fault", 1, says=("points to /run", "restart what writes"), **gone)
    yield case("link to nothing, no network yet", "what should have made it has not run", 1, network=False, **gone)
    yield case("empty file", "the file is there and says nothing", 1, says=("names no", "nameserver line"))
    yield case("empty file, dns asked", "nsswitch says so", 1, hosts=("files", "mymachines", "dns"))
    yield case("empty file, resolve after dns", "the file is asked first", 1, hosts=("files", "dns", "resolve"))
    yield case(
        "a port", "no address", 1, no_addresses=("192.0.2.53:53",), says=("'192.0.2.53:53' is no", "alone after")
    )
    yield case(
        "a file of Windows",
        "no address",
        1,
        no_addresses=("192.0.2.53\r",),
        says=("sed -i --follow-symlinks 's/\\r$//'",),
    )
    yield case("a port, and another", "that one is asked", 0, no_addresses=("::1x",), nameservers=("192.0.2.53",))
    yield case("a nameserver", "all is well", 0, nameservers=("192.0.2.53",))
    yield case("link to a file with a nameserver", "the usual link", 0, target="/run/x", nameservers=("192.0.2.53",))
    yield case("no file at all", "a small container that needs no names", 0, present=False)
    lost: dict[str, Any] = {"present": False, "hosts": ("files", "dns")}
    yield case("the file is gone", "names may not matter", 1, severity="info", says=("is not there", "anew"), **lost)
    yield case("gone, with a resolver at its own address", "nobody asks it", 1, at=("127.0.0.53", 53), **lost)
    yield case("gone, another program waits", "mDNS", 1, at=("0.0.0.0", 5353), severity="info", **lost)
    yield case("gone, and no network", "nobody to ask", 0, network=False, **lost)
    yield case("gone, with a resolver at 127.0.0.1", "that is asked then", 0, stub=True, **lost)
    yield case("hosts only", "nobody asks the DNS", 0, hosts=("files",), **gone)
    yield case("resolved by its socket", "the file is not asked", 0, hosts=("files", "resolve", "dns"), **gone)
    yield case("a resolver at 127.0.0.1", "that is asked where none is named", 0, stub=True)
    yield case("empty file, no network", "nothing to look up, and nobody to ask", 0, network=False)
    for name, ifname, address, fields in (
        ("a card that is down", "eth1", "198.51.100.1/24", {}),
        ("loopback alone", "lo", "203.0.113.7/32", {}),
        ("link-local addresses alone", "eth0", "169.254.0.9/16", {"scope": 253}),
    ):
        bare = HostBuilder().link("eth0").link("eth1", up=False).resolver(**lost).address(ifname, address, **fields)
        yield Example(name=f"gone, and {name}", why="that is no network", tables=bare.build())
    away = HostBuilder().link("eth1").resolver(**lost).address("eth1", "198.51.100.1/24").vanished("eth1")
    yield Example(name="gone, and so is the card", why="it went while it was read", tables=away.build())
