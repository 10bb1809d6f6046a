"""What it checks
  A WireGuard interface takes everything (a peer has a default prefix, and a default route leads by the interface) and
  marks its encrypted packets, but no policy rule of that family asks for the mark; and because of that either the table
  of the default route is out of reach, or the encrypted packets are routed back into the tunnel.

Why it matters
  wg-quick keeps the tunnel's default route in a table of its own, with the rule "not fwmark MARK lookup TABLE". Without
  the rule everything leaves in the clear by the old default route, which nobody notices. Where the default route is in
  table main, the encrypted packets follow it into the tunnel, and nothing leaves at all.

Confirm
  ip rule show
  wg show IFNAME fwmark

Fix
  ip rule add not fwmark MARK table TABLE. Where a rule of that kind asks for another mark: wg set IFNAME fwmark MARK.
  Where the tunnel has the default route of main: ip rule add fwmark MARK table TABLE, that of the uplink. All traffic
  of this host moves into the tunnel at once; open connections that went outside it break. wg-quick also makes "ip rule
  add table main suppress_prefixlength 0", so that local networks stay local: look whether that one is there too.

Not flagged
  A mark that is only used in the firewall: no default route by the interface. Any rule with the mark, inverted or not,
  with a mask or not, but for one that asks for a few bits of it only. A default route by the interface in a table that
  other rules lead to, while the encrypted packets get out by themselves. A device that is down.

References
  wg-quick(8) "Table", add_default() of wg-quick; net/core/fib_rules.c fib_rule_match(); wg(8) "fwmark"
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.model.route import RT_TABLE_MAIN
from netdiag.model.wireguard import WireguardDevice
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.routewords import ip_command, table_word
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.wireguardpeers import peer_subject, query_to, source
from netdiag.rules.wireguardways import alive, default_tables, device_objects, network, usable_tables

RULE = Rule(
    id="wg-fwmark-rule-missing",
    title="the policy rule for a tunnel's mark is missing",
    severity="critical",
    reads=("links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls", "wireguard"),
    explains=(
        "table-without-rule",
        "wg-endpoint-via-own-tunnel",
        "wg-handshake-stale",
        "wg-never-handshaked",
        "route-default-missing",
        "rule-references-empty-table",
        "bgp-not-established",
        "bgp-hold-timer-expired",
        "bgp-bfd-down",
    ),
)
FAMILIES = {"inet": 4, "inet6": 6}
WHOLE = 8
"""Bits of a mask that mean a mark rather than a flag in it."""


def takes_everything(device: WireguardDevice, family: str) -> bool:
    """Whether a peer has the default prefix, or a half of it."""
    prefixes = (network(text) for peer in device.peers for text in peer.allowed_ips)
    return any(one.version == FAMILIES[family] and one.prefixlen <= 1 for one in prefixes)


def asked_for(view: HostView, device: WireguardDevice, family: str) -> bool:
    """Whether a policy rule tells the device's packets from others. One for a few bits, of which the mark has some by
    chance, does not: another user of marks made it."""
    for rule in view.rules:
        mask = 0xFFFFFFFF if rule.fwmask is None else rule.fwmask
        marked = rule.family == family and device.fwmark & mask == rule.fwmark
        if marked and (rule.invert or rule.fwmark == device.fwmark or mask.bit_count() >= WHOLE):
            return True
    return False


def comes_back(view: HostView, device: WireguardDevice, link: Link) -> bool:
    """Whether encrypted packets go into the tunnel."""
    queries = [query for peer in device.peers if (query := query_to(device, peer)) is not None]
    return any(view.lookup(query).oif == link.ifindex for query in queries)


def check(view: HostView) -> Iterator[Draft]:
    for device, link in alive(view):
        for family in FAMILIES:
            if not device.fwmark or not takes_everything(device, family) or asked_for(view, device, family):
                continue
            tables = default_tables(view, family, link.ifindex)
            stranded = sorted(tables - {t for t, short in usable_tables(view, family).items() if not short})
            if stranded:
                text, table = "out of reach: this host's traffic leaves in the clear", stranded[0]
            elif tables and comes_back(view, device, link):
                text = "used for the encrypted packets too: they go into the tunnel again and nothing leaves"
                table = min(tables)
            else:
                continue
            beside = _beside(view, family, tables) if table == RT_TABLE_MAIN else []
            yield _finding(device, family, (table, beside), text, fix=_fix(view, device, family, (table, beside)))


def _beside(view: HostView, family: str, own: set[int]) -> list[int]:
    """Tables that lead everything elsewhere than into the tunnel; ``own``: those of the tunnel."""
    routes = view.routes(family)
    return sorted(set(routes.table[routes.dst_len == 0].tolist()) - own - {RT_TABLE_MAIN})


def _fix(view: HostView, device: WireguardDevice, family: str, tables: tuple[int, list[int]]) -> str:
    """The rule that is missing, or where a rule of its kind asks for another mark, that mark. ``tables``: that of the
    tunnel's default route, and where it is main, those that could lead the encrypted packets elsewhere."""
    table, beside = tables
    ip, mark = ip_command(family), f"{device.fwmark:#x}"
    for rule in view.rules:
        whole = rule.fwmark and rule.fwmask in (None, 0xFFFFFFFF)
        if rule.family == family and rule.invert and whole and rule.table == table:
            return f"wg set {quoted(device.ifname)} fwmark {rule.fwmark:#x}  # as rule {rule.priority} asks"
    if table != RT_TABLE_MAIN:
        return f"{ip} rule add not fwmark {mark} table {table}"
    return f"{ip} rule add fwmark {mark} table {beside[0] if beside else 'TABLE'}"


def _finding(device: WireguardDevice, family: str, tables: tuple[int, list[int]], effect: str, *, fix: str) -> Draft:
    name, ip, (table, beside) = device.ifname, ip_command(family), tables
    everything = "0.0.0.0/0" if family == "inet" else "::/0"
    return RULE.found(
        subject=subject("wireguard-interface", ifname=name, family=family),
        message=f"{name} marks its packets with {device.fwmark:#x}, no {'IPv4' if family == 'inet' else 'IPv6'} rule "
        f"asks for that mark, and so the tunnel's default route (table {table_word(table)}) is {effect}",
        evidence=[
            ("fwmark of the device", f"{device.fwmark:#x}", source(device, "WGDEVICE_A_FWMARK", "fwmark")),
            (f"rules with fwmark {device.fwmark:#x}", "none", "RTM_GETRULE FRA_FWMARK"),
            (f"default route of table {table_word(table)}", f"dev {name}", "RTM_GETROUTE"),
        ],
        confirm=[f"{ip} rule show", f"wg show {quoted(name)} fwmark"],
        fix=fix,
        touches=device_objects(device),
        breaks=[
            *device_objects(device),
            *(peer_subject(device, peer) for peer in device.peers),
            *(subject("route", dst=everything, table=number) for number in (RT_TABLE_MAIN, *beside)),
            subject("route", dst=everything, table=table, ifname=name),
        ],
    )


def _host(
    *, fwmark: int = 51820, table: int = 51820, family: str = "inet", allowed: str | None = None
) -> WireguardBuilder:
    host = WireguardBuilder()
    host.link("eth0").address("eth0", "192.0.2.2/24").address("eth0", "2001:db8::2/64")
    host.route("default", via="192.0.2.1", dev="eth0").route("default", via="2001:db8::1", dev="eth0")
    host.wireguard("wg0", fwmark=fwmark)
    host.route("default", dev="wg0", table=table, family=family, priority=10 if table == 254 else 0)
    everything = "0.0.0.0/0" if family == "inet" else "::/0"
    endpoint = "198.51.100.9" if family == "inet" else "2001:db8:9::9"
    return host.wg_peer("wg0", "a", endpoint=endpoint, allowed_ips=(allowed or everything,), age=20)


def _halves(*routes: str, allowed: str) -> WireguardBuilder:
    host = _host(allowed=allowed)
    host.without_routes(table=51820)
    for dst in routes:
        host.route(dst, dev="wg0", table=51820)
    return host


def examples() -> Iterator[Example]:
    about = subject("wireguard-interface", ifname="wg0")
    for family in FAMILIES:
        yield Example(
            name=f"wg-quick's rule gone, {family}",
            why="everything leaves in the clear",
            tables=_host(family=family).rule(32764, table=254, suppress_prefixlength=0, family=family).build(),
            fires=1,
            subject=about,
            severity="critical",
            says=("(table 51820) is out of reach", "rule add not fwmark 0xca6c table 51820"),
        )
    yield Example(
        name="rule with another mark",
        why="the mark was changed and the rule was not",
        tables=_host().rule(32765, table=51820, fwmark=51821, invert=True).build(),
        fires=1,
        says=("nothing leaves", "wg set wg0 fwmark 0xca6d"),
    )
    suppressed = _host().rule(32764, table=51820, suppress_prefixlength=0)
    bit = _host().rule(900, table=77, fwmark=0x20, fwmask=0x20).route("default", via="192.0.2.1", dev="eth0", table=77)
    yield Example(name="a rule for a bit", why="the mark has it by chance", tables=bit.build(), fires=1)
    yield Example(name="a rule without defaults", why="it is out of reach too", tables=suppressed.build(), fires=1)
    halves = _halves("0.0.0.0/1", "128.0.0.0/1", allowed="0.0.0.0/1")
    yield Example(name="in halves", why="as OpenVPN and others write it", tables=halves.build(), fires=1, subject=about)
    main = _host(table=254).without_routes(table=254)
    main.route("192.0.2.0/24", dev="eth0").route("default", dev="wg0")
    words = ("ip rule add fwmark 0xca6c table TABLE",)
    why = "it takes the encrypted packets too"
    yield Example(name="default route in main", why=why, tables=main.build(), fires=1, says=words)
    main.route("default", via="192.0.2.1", dev="eth0", table=77)
    words = ("ip rule add fwmark 0xca6c table 77",)
    yield Example(name="default route in main, a table beside", why=why, tables=main.build(), fires=1, says=words)
    only6 = _host(family="inet6").rule(32765, table=51820, fwmark=51820, invert=True)
    yield Example(name="the rule of the other family", why="each needs its own", tables=only6.build(), fires=1)
    yield from _quiet_examples()


def _quiet_examples() -> Iterator[Example]:
    quick = _host().rule(32764, table=254, suppress_prefixlength=0).rule(32765, table=51820, fwmark=51820, invert=True)
    yield Example(name="wg-quick", why="the rule is there", tables=quick.build())
    plain = _host(table=254).rule(100, table=77, fwmark=51820).route("default", via="192.0.2.1", dev="eth0", table=77)
    yield Example(name="not inverted", why="the mark leads to the uplink's table", tables=plain.build())
    masked = _host().rule(32765, table=51820, fwmark=0xCA00, fwmask=0xFF00, invert=True)
    yield Example(name="with a mask", why="the mark fits it", tables=masked.build())
    yield Example(name="no mark", why="another design", tables=_host(fwmark=0).build())
    yield Example(name="mark for the firewall", why="a mesh", tables=_host(allowed="10.0.0.0/8").build())
    by_source = _host().rule(100, table=51820, src="10.0.0.0", src_len=8)
    yield Example(name="a rule by source", why="the encrypted packets get out", tables=by_source.build())
    source = (
        _host(fwmark=51821).rule(100, table=77, fwmark=51821).route("default", via="192.0.2.1", dev="eth0", table=77)
    )
    yield Example(name="a rule with the mark, for the uplink", why="somebody decided by it", tables=source.build())
    for name, routes, allowed in (
        ("one half", ("0.0.0.0/1",), "0.0.0.0/0"),
        ("a quarter", ("0.0.0.0/2", "64.0.0.0/2"), "0.0.0.0/0"),
        ("a peer for a quarter", ("0.0.0.0/1", "128.0.0.0/1"), "64.0.0.0/2"),
    ):
        yield Example(name=name, why="that is not everything", tables=_halves(*routes, allowed=allowed).build())
    other = _host(allowed="::/0")
    yield Example(name="everything of the other family", why="its default route is none of its", tables=other.build())
    inside = _host().without_routes(table=51820).route("198.51.100.0/24", dev="wg0")
    yield Example(name="no default by it", why="wg-endpoint-via-own-tunnel says it", tables=inside.build())
