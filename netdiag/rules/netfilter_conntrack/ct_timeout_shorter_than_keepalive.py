"""What it checks
  Connection tracking forgets an established TCP connection (nf_conntrack_tcp_timeout_established) before its keepalive
  would have shown that it lives (net.ipv4.tcp_keepalive_time, two hours by default), on a host that forwards for
  others with a stateful filter or NAT.

Why it matters
  After the timeout the next packet of an idle connection belongs to nothing: it is dropped, or leaves with the wrong
  source, and the far end resets. "Idle connections to the database die after some minutes."

Confirm
  sysctl net.netfilter.nf_conntrack_tcp_timeout_established net.ipv4.tcp_keepalive_time
  conntrack -L -p tcp --state ESTABLISHED | head

Fix
  sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=86400, or shorten the keepalive of the applications
  behind (their own hosts' net.ipv4.tcp_keepalive_time). Entries that exist get the new timeout with their next packet.

Not flagged
  Timeouts longer than the keepalive. Hosts that track nothing for others: no NAT rule, and nothing forwarded. From five
  minutes up to the keepalive it is info: many set this on purpose to keep the table small.

References
  Documentation/networking/nf_conntrack-sysctl.rst; RFC 5382 REQ-5 (at least two hours and four minutes); RFC 1122
  section 4.2.3.6
"""

from collections.abc import Callable, Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Severity, subject
from netdiag.model.nft import NftChain, NftElement, NftSet, NftTable
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import CT_MARK, chain, plain, rule, same, state, table, verdict
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="ct-timeout-shorter-than-keepalive",
    title="tracked connections are forgotten before their keepalive",
    severity="warning",
    confidence="likely",
    reads=("sysctls", "nft", "conntrack_state"),
)
NAME = "net.netfilter.nf_conntrack_tcp_timeout_established"
KEEPALIVE = "net.ipv4.tcp_keepalive_time"
DEFAULT_KEEPALIVE = 7200
SHORT = 300
"""Seconds below which no keepalive that is in use helps."""


def check(view: HostView) -> Iterator[Draft]:
    timeout = view.conntrack_state.settings.get("tcp_timeout_established")
    keepalive = view.sysctl_int(KEEPALIVE) or DEFAULT_KEEPALIVE
    forwards = view.sysctl_int("net.ipv4.ip_forward") == 1 or view.sysctl_int("net.ipv6.conf.all.forwarding") == 1
    if timeout is None or timeout >= keepalive or not forwards:
        return
    users = [f"{one.family} {one.name}" for one in view.netfilter.tables if not one.dormant and _tracks(one)]
    if not users:
        return
    yield RULE.found(
        subject=subject("sysctl", name=NAME),
        message=f"idle TCP connections through this host are forgotten after {timeout} s, but keepalives come after"
        f" {keepalive} s: the next packet is dropped",
        evidence=[
            (NAME, timeout, f"/proc/sys/{NAME.replace('.', '/')}"),
            (KEEPALIVE, keepalive, f"/proc/sys/{KEEPALIVE.replace('.', '/')}"),
            ("tables that need tracking", ", ".join(users[:3]), "NFT_MSG_GETRULE"),
        ],
        confirm=[f"sysctl {NAME} {KEEPALIVE}"],
        fix=f"sysctl -w {NAME}=86400",
        severity="warning" if timeout < SHORT else "info",
    )


def _tracks(one: NftTable) -> bool:
    """Whether a table translates, or judges forwarded packets by their state."""
    names = {"nat", "masq", "redir"}
    keys = {"MASQUERADE", "SNAT", "DNAT", "conntrack", "state"}
    return any(e.name in names or e.key in keys for at in _for_others(one) for r in at.rules for e in r.expressions)


def _for_others(one: NftTable) -> list[NftChain]:
    """Chains that see packets of others: input and output, and what is reached from there alone, are for this host."""
    found = [at for at in one.chains if at.base and at.hook not in ("input", "output")]
    mapped = {element.chain for each in one.sets for element in each.elements}
    for at in found:
        wanted = mapped | {e.chain for each in at.rules for e in each.expressions}
        found += [other for other in one.chains if other.name in wanted and other not in found]
    return found


def examples() -> Iterator[Example]:
    masq = chain("post", rule(plain("masq")), hook="postrouting", priority="srcnat", type="nat")

    def host(timeout: int | None, *chains: NftChain, forward: int = 1, keepalive: int | None = 7200) -> HostBuilder:
        built = HostBuilder().sysctl("net.ipv4.ip_forward", forward)
        if keepalive is not None:
            built.sysctl(KEEPALIVE, keepalive)
        built.conntrack_state(settings={} if timeout is None else {"tcp_timeout_established": timeout})
        return built.nft(table(*(chains or (masq,)), name="t"))

    def case(name: str, why: str, built: HostBuilder, fires: int = 0, severity: Severity | None = None) -> Example:
        return Example(name=name, why=why, tables=built.build(), fires=fires, severity=severity)

    yield case("a minute", "every pause kills", host(60), 1, "warning")
    yield case("just below five minutes", "the same", host(299), 1, "warning")
    yield case("five minutes", "some choose that", host(300), 1, "info")
    yield case("just below the keepalive", "worth knowing", host(7199), 1, "info")
    yield case("as the keepalive", "it is refreshed in time", host(7200))
    yield case("just below the usual keepalive", "two hours where none is told", host(7199, keepalive=None), 1, "info")
    yield case("as the usual keepalive", "likewise", host(7200, keepalive=None))
    yield case("a shorter keepalive", "it is refreshed in time", host(600, keepalive=600))
    yield case("five days", "the kernel's default", host(432000))
    yield case("no timeout told", "not known", host(None))
    yield case("no forwarding", "only its own connections, whose sockets answer", host(60, forward=0))
    six = host(60, forward=0).sysctl("net.ipv6.conf.all.forwarding", 1)
    yield case("forwards IPv6", "as good", six, 1, "warning")
    switched = host(60, chain("fwd", hook="forward")).nft(table(masq, name="off", dormant=True))
    yield case("a dormant table", "it translates nothing", switched)
    yield from _tracking(host)


def _tracking(host: Callable[..., HostBuilder]) -> Iterator[Example]:
    """Which rulesets need tracking for the connections of others."""
    known = rule(state("established"), verdict("accept"))
    old = rule(plain("match", key="conntrack"), verdict("accept"), compat=True)
    jump = rule(verdict("jump", "below"))
    vmap = NftSet(name="m", handle=1, elements=(NftElement(key="01", verdict="jump", chain="below"),))
    for name, fires, chains in (
        ("stateful forward", 1, [chain("f", known, hook="forward", policy="drop")]),
        ("stateful forward of iptables", 1, [chain("FORWARD", old, hook="forward", policy="drop")]),
        ("stateful forward, in a chain below", 1, [chain("f", jump, hook="forward"), chain("below", known)]),
        ("stateful chain that nobody calls", 0, [chain("f", jump, hook="forward"), chain("b", known), chain("below")]),
        ("stateful input only", 0, [chain("i", known, hook="input", policy="drop")]),
        ("stateful output only", 0, [chain("o", known, hook="output", policy="drop")]),
        ("stateful input of iptables", 0, [chain("INPUT", old, hook="input", policy="drop")]),
        ("stateful input, in a chain below", 0, [chain("i", jump, hook="input"), chain("below", known)]),
        ("a mark of the connection", 0, [chain("f", rule((CT_MARK, same("01000000"))), hook="forward")]),
        ("a mark of the packet", 0, [chain("f", rule(plain("target", key="MARK"), compat=True), hook="forward")]),
    ):
        why = "what it forwards depends on the table" if fires else "nothing of others depends on it"
        yield Example(name=name, why=why, tables=host(60, *chains).build(), fires=fires)
    mapped = table(chain("f", hook="forward"), chain("below", known), name="m", sets=(vmap,))
    built = host(60, chain("f", hook="forward")).nft(mapped)
    yield Example(name="stateful forward by a verdict map", why="the map jumps there", tables=built.build(), fires=1)
