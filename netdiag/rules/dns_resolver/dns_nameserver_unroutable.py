"""What it checks
  What the routing of this host does with a question to each nameserver of /etc/resolv.conf: a route or rule that
  refuses or swallows it (blackhole, unreachable, prohibit), or a way over an interface that is down or has no carrier.

Why it matters
  A blackholed nameserver costs five seconds and a retry for every lookup, before the next one is asked. Logins hang,
  health checks run out of time, and nothing is said anywhere.

Confirm
  ip route get NAMESERVER

Fix
  Take the refusing route or rule away, or name another nameserver. A more specific route to it takes effect at once.

Not flagged
  A nameserver for which there simply is no route, on a host that has no way out: it was inherited from elsewhere; and
  a family without any route, which fails at once. A second nameserver that cannot be reached behind one that can, and
  one behind an interface that is down, which other rules name: only told. A default route that refuses: that host is
  meant to be cut off. As more than a note: null routes for whole networks (10.0.0.0/8), which no nameserver was
  meant by. Loopback addresses. A host that does not ask the DNS.

References
  resolv.conf(5) timeout, attempts; ip-route(8) blackhole; net/ipv4/route.c ip_route_output_key_hash_rcu()
"""

from collections.abc import Iterator
from typing import NamedTuple

from netdiag.index.packet import Query
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Severity, Subject, subject
from netdiag.model.link import IFF_LOWER_UP
from netdiag.rules.build import HostBuilder
from netdiag.rules.nameservers import asked, asks_dns
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="dns-nameserver-unroutable",
    title="a nameserver cannot be reached",
    severity="critical",
    reads=("resolver", "links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls"),
)

BROAD = {"inet": 16, "inet6": 32}
"""Prefix lengths below which a refusal is a null route for whole networks."""


class Trouble(NamedTuple):
    """Why a nameserver cannot be asked."""

    reason: str
    touches: tuple[Subject, ...] = ()
    broad: bool = False
    """It refuses so much that the nameserver is hardly what was meant: null routes for private space."""


def trouble(view: HostView, address: str) -> Trouble | None:
    """What the kernel does with a question to this nameserver; None: it is sent."""
    family = "inet6" if ":" in address else "inet"
    host, _, zone = address.partition("%")
    answer = view.lookup(Query(family=family, dst=host, oif=zone or None, ip_proto=17, dport=53))
    if answer.type in ("blackhole", "unreachable", "prohibit"):
        if not answer.prefixlen:
            return None
        dst = _prefix(view, family, answer.route)
        return Trouble(
            f"the {answer.type} route {dst} in table {answer.table}",
            (subject("route", dst=dst, table=answer.table),),
            broad=answer.prefixlen < BROAD[family],
        )
    if answer.rule is not None and answer.rule.action in ("blackhole", "unreachable", "prohibit"):
        reason = f"policy rule {answer.rule.priority} ({answer.rule.action})"
        return Trouble(reason, broad=answer.rule.dst_len < BROAD[family])
    links = [link for hop in answer.hops if (link := view.link(hop.oif)) is not None]
    if links and not any(link.flags & IFF_LOWER_UP for link in links):
        name = links[0].ifname
        return Trouble(f"its way is over {name}, which is down", (subject("link", ifname=name),))
    return None


def _prefix(view: HostView, family: str, position: int | None) -> str:
    return "" if position is None else view.route_rows(family, [position])[0].dst


def check(view: HostView) -> Iterator[Draft]:
    servers = asked(view)
    if not asks_dns(view):
        return
    cut = {address: found for address in servers if (found := trouble(view, address)) is not None}
    for address, found in cut.items():
        severity: Severity = "info"
        over_dead_link = bool(found.touches) and found.touches[0]["kind"] == "link"
        if found.broad:
            consequence = "it may have been inherited from a network where it can"
        elif over_dead_link:
            consequence = "names wait for the interface"
        elif len(cut) == len(servers):
            severity, consequence = "critical", "no name can be looked up"
        elif address == servers[0]:
            severity, consequence = "warning", "every lookup waits for it first"
        else:
            consequence = "it is of no help when the first fails"
        version = "-6 " if ":" in address else ""
        yield RULE.found(
            subject=subject("prefix", prefix=address),
            severity=severity,
            message=f"questions to nameserver {address} do not leave this host: {found.reason}; {consequence}",
            evidence=[
                ("nameservers", " ".join(servers), "/etc/resolv.conf"),
                ("what becomes of a question", found.reason, f"RTM_GETROUTE dst {address}"),
            ],
            confirm=[f"ip {version}route get {quoted(address.partition('%')[0])}", "grep nameserver /etc/resolv.conf"],
            fix=f"take away {found.reason.removeprefix('the ')}, or name another nameserver"
            if not over_dead_link
            else f"ip link set dev {quoted(str(found.touches[0]['ifname']))} up  # or name another nameserver",
            touches=found.touches,
        )


def _host(*servers: str, **fields: object) -> HostBuilder:
    return (
        HostBuilder()
        .link("eth0")
        .address("eth0", "192.0.2.1/24")
        .address("eth0", "2001:db8::1/64")
        .route("default", via="192.0.2.254", dev="eth0")
        .resolver(*servers, **fields)
    )


def examples() -> Iterator[Example]:
    far, other = "198.51.100.53", "203.0.113.53"

    def refusing(host: HostBuilder, dst: str = f"{far}/32", kind: str = "blackhole") -> HostBuilder:
        return host.route(dst, type=kind, dev="lo" if ":" in dst else None)

    def fires(
        name: str, why: str, host: HostBuilder, severity: Severity = "critical", count: int = 1, *says: str
    ) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=count, severity=severity, says=says)

    words = f"the blackhole route {far}/32 in table 254; no name can be looked up"
    yield fires("blackholed", "the plain fault", refusing(_host(far)), "critical", 1, words)
    shut = _host(far).rule(100, ip_proto=17, dport_start=53, dport_end=53, action="prohibit")
    yield fires("questions alone are refused", "whoever is asked", shut, "info")
    half = _host(far).rule(100, dst="198.51.0.0", dst_len=16, action="prohibit")
    yield fires("a rule of sixteen bits", "that is no hygiene", half)
    yield fires("an aggregate of fifteen bits", "that may be", refusing(_host(far), "198.50.0.0/15"), "info")
    for bits, severity in ((32, "critical"), (31, "info")):
        six = refusing(_host("2001:db8:53::1"), "2001:db8::/32" if bits == 32 else "2001:db8::/31")
        six.without_routes(table=255, family="inet6")
        yield fires(f"an IPv6 aggregate of {bits} bits", "the same", six, severity)  # type: ignore[arg-type]
    yield fires("an aggregate swallows it", "a covering prefix", refusing(_host(far), "198.51.100.0/24"))
    yield fires("unreachable", "refused, not swallowed", refusing(_host(far), kind="unreachable"))
    yield fires("prohibited", "the same by another name", refusing(_host(far), kind="prohibit"))
    yield fires("IPv6", "another family", refusing(_host("2001:db8:53::1"), "2001:db8:53::1/128"))
    yield fires("the first of two", "each lookup waits", refusing(_host(far, other)), "warning")
    yield fires("the second of two", "degraded", refusing(_host(other, far)), "info")
    both = refusing(refusing(_host(far, other)), f"{other}/32")
    yield fires("both", "none is left", both, count=2)
    yield fires(
        "a rule refuses", "before any route is asked", _host(far).rule(100, dst=far, dst_len=32, action="prohibit")
    )
    down = HostBuilder().link("eth0").link("eth1", carrier=False).address("eth1", "198.51.100.1/24").resolver(far)
    yield fires("over an interface without carrier", "the interface is named by other rules", down, "info")
    wide = refusing(_host(far), "198.0.0.0/8")
    yield fires("a null route for a whole network", "the nameserver may be inherited", wide, "info")
    yield fires("an aggregate of sixteen bits", "that is no hygiene", refusing(_host(far), "198.51.0.0/16"))
    ruled = _host(far).rule(100, dst="198.0.0.0", dst_len=8, action="prohibit")
    yield fires("a rule for a whole network", "the same by a rule", ruled, "info")
    for name, why, host in (
        ("reached by the default route", "as it should be", _host(far)),
        ("on the link", "as it should be", _host("192.0.2.53")),
        ("no way out at all", "inherited from elsewhere", HostBuilder().link("eth0").resolver(far)),
        ("a family without routes", "fails at once, and the next is asked", _host("2001:db8:53::1", other)),
        (
            "cut off on purpose",
            "a default route that refuses",
            HostBuilder().route("default", type="unreachable").resolver(far),
        ),
        ("the stub", "no packet leaves the host", refusing(_host("127.0.0.53"))),
        ("on a link that is gone", "nobody is asked there", _host("fe80::53%eth9")),
        ("by a link that went meanwhile", "whether it was up is not known", _host(far).vanished("eth0")),
        ("hosts only", "nobody asks", refusing(_host(far, hosts=("files",)))),
        ("another prefix is swallowed", "not this one", refusing(_host(far), f"{other}/32")),
    ):
        yield Example(name=name, why=why, tables=host.build())
