"""What it checks
  /etc/resolv.conf names more than three nameservers, or a high ndots together with a long search list.

Why it matters
  The C library asks the first three nameservers and never the others: whoever counts on the fourth has none. With
  ndots:5 and several search domains each lookup of an outside name becomes a dozen questions.

Confirm
  grep -E "nameserver|search|options" /etc/resolv.conf

Fix
  Leave the three that matter; put a resolver on this host in front of more. Write outside names with a dot at the end.

Not flagged
  Long search lists alone: since glibc 2.26 there is no limit. ndots with a short list. It is only ever a note.

References
  resolv.conf(5) MAXNS, ndots
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.nameservers import ASKED, asks_dns
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="dns-too-many-ns-or-search",
    title="nameservers that are never asked, or lookups that multiply",
    severity="info",
    reads=("resolver",),
    own_cause=True,
)
NDOTS, DOMAINS = 5, 4


def check(view: HostView) -> Iterator[Draft]:
    resolver = view.resolver
    if not asks_dns(view):
        return
    unasked = resolver.nameservers[ASKED:]
    ndots = max(
        (int(word[6:]) for word in resolver.options if word.startswith("ndots:") and word[6:].isdigit()), default=1
    )
    if unasked:
        message = f"nameserver {unasked[0]} is never asked: it is the fourth in /etc/resolv.conf"
    elif ndots >= NDOTS and len(resolver.search) >= DOMAINS:
        message = f"each lookup of an outside name tries {len(resolver.search)} domains first (ndots:{ndots})"
    else:
        return
    yield RULE.found(
        subject=subject("host"),
        message=message,
        evidence=[
            ("nameservers", len(resolver.nameservers), "/etc/resolv.conf"),
            ("search domains", len(resolver.search), "/etc/resolv.conf"),
            ("ndots", ndots, "/etc/resolv.conf"),
        ],
        confirm=['grep -E "nameserver|search|options" /etc/resolv.conf'],
        fix="leave three nameservers in /etc/resolv.conf, and the search domains that are used",
    )


def examples() -> Iterator[Example]:
    def case(
        name: str,
        why: str,
        fires: int,
        servers: int,
        search: int = 0,
        *options: str,
        hosts: tuple[str, ...] | None = None,
    ) -> Example:
        host = HostBuilder().resolver(
            *(f"192.0.2.{number}" for number in range(1, servers + 1)),
            search=tuple(f"d{number}.example" for number in range(search)),
            options=options,
            hosts=hosts,
        )
        return Example(name=name, why=why, tables=host.build(), fires=fires)

    yield case("four nameservers", "the fourth is never asked", 1, 4)
    yield case("three nameservers", "all are asked", 0, 3)
    yield case("ndots and a long list", "questions multiply", 1, 1, 4, "ndots:5")
    yield case("ndots and a short list", "Kubernetes' own three", 0, 1, 3, "ndots:5")
    yield case("a long list", "no limit today", 0, 1, 9)
    yield case("fewer dots", "four", 0, 1, 4, "ndots:4")
    yield case("not a number", "ignored as by the C library", 0, 1, 4, "ndots:many")
    yield case("nobody asks", "hosts only", 0, 4, hosts=("files",))
