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

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, plain, rule, state, table, verdict
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


def _tracks(one: object) -> bool:
    """Whether a table translates, or judges forwarded packets by their state."""
    chains = getattr(one, "chains", ())
    names = {"nat", "masq", "redir"}
    xt = {"MASQUERADE", "SNAT", "DNAT", "conntrack", "state"}
    return any(
        e.name in names
        or (e.name in ("match", "target") and e.key in xt)
        or (e.name == "ct" and e.key == "state" and chain.hook != "input")
        for chain in chains
        for each in chain.rules
        for e in each.expressions
    )


def examples() -> Iterator[Example]:
    def host(timeout: int, *, forward: int = 1, nat: bool = True) -> HostBuilder:
        built = HostBuilder().sysctl("net.ipv4.ip_forward", forward).sysctl(KEEPALIVE, 7200)
        built.conntrack_state(settings={"tcp_timeout_established": timeout})
        masq = chain("post", rule(plain("masq")), hook="postrouting", priority="srcnat", type="nat")
        known = chain("in", rule(state("established"), verdict("accept")), hook="input", policy="drop")
        return built.nft(table(masq if nat else known, name="t"))

    def case(name: str, why: str, built: HostBuilder, fires: int = 0, severity: object = None) -> Example:
        return Example(name=name, why=why, tables=built.build(), fires=fires, severity=severity)  # type: ignore[arg-type]

    yield case("a minute", "every pause kills", host(60), 1, "warning")
    yield case("just below five minutes", "the same", host(299), 1, "warning")
    yield case("five minutes", "some choose that", host(300), 1, "info")
    yield case("just below the keepalive", "worth knowing", host(7199), 1, "info")
    yield case("as the keepalive", "it is refreshed in time", host(7200))
    yield case("five days", "the kernel's default", host(432000))
    yield case("no forwarding", "only its own connections, whose sockets answer", host(60, forward=0))
    yield case("stateful input only", "nothing of others depends on it", host(60, nat=False))
