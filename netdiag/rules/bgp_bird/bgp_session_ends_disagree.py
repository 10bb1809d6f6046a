"""What it checks
  Both ends of a BGP session are hosts of the fleet, joined on their two addresses, and they do not agree: each names
  another AS for one side than that side has, or one end holds the session for established, for more than half a minute,
  and the other does not.

Why it matters
  Each end reports "not established" with its own half of the reason, or one reports nothing at all and goes on sending
  traffic to the other. Side by side it is one line of one configuration.

Confirm
  birdc show protocols all NAME             (on both hosts)

Fix
  Bring the configurations in line: local AS of one is the neighbour AS of the other, and so the TTL security, the
  multihop and the password; birdc configure. The session starts anew.

Not flagged
  Ends that are switched off or drained on one side: somebody did it. Sessions that began a moment ago, or were lost
  after the other end was read. A neighbour that was not collected. Two sessions between the same addresses.

References
  RFC 4271 sections 6.2 and 8; RFC 5082
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from netdiag.index.fleet import FleetView, across
from netdiag.model.finding import Draft, subject
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.fleetbgp import HostSession, host_sessions
from netdiag.rules.shape import FleetExample, Rule

RULE = Rule(
    id="bgp-session-ends-disagree",
    title="the two ends of a BGP session do not agree",
    severity="critical",
    confidence="likely",
    reads=("bird", "addresses", "links"),
    explains=(
        "bgp-not-established",
        "bgp-bad-as",
        "bgp-ttl-security-half-open",
        "bgp-multihop-missing",
        "bgp-import-zero",
    ),
    scope="fleet",
)
SETTLED = 30.0
"""Seconds for which an end must have been in its state."""


def _ends(view: FleetView) -> Iterator[tuple[HostSession, HostSession]]:
    """Both ends of every session between two hosts, joined on the addresses of both."""
    owned = {host.name: {row.local for row in host.tables.addresses} for host in view.hosts}
    owners: dict[str, list[str]] = defaultdict(list)
    for name, addresses in owned.items():
        for address in addresses:
            owners[address].append(name)
    at: dict[tuple[str, str], list[HostSession]] = defaultdict(list)
    for row in host_sessions(view):
        far = owners.get(row.session.protocol.neighbor_address or "", [])
        if len(far) == 1:
            at[row.host.name, far[0]].append(row)
    for (near, other), rows in sorted(at.items()):
        back = at.get((other, near), [])
        if near < other and len(rows) == len(back) == 1:
            source = {row.session.protocol.source_address for row in (*rows, *back)} - {None}
            if len(source) < 2 or rows[0].session.protocol.source_address == back[0].session.protocol.neighbor_address:
                yield rows[0], back[0]


def _taken(row: HostSession) -> float:
    """When its host was read, in seconds since 1970; 0: not told."""
    try:
        return datetime.fromisoformat(row.host.snapshot.meta.taken_at).timestamp()
    except ValueError:
        return 0.0


def _difference(one: HostSession, two: HostSession) -> str | None:
    """In what the ends differ; None: in nothing that is known."""
    for near, far in ((one, two), (two, one)):
        said, has = near.session.protocol.neighbor_as, far.session.protocol.local_as
        if said is not None and has is not None and said != has and not near.session.up:
            return f"{near.host.name} calls AS{said}, and {far.host.name} is AS{has}"
    for near, far in ((one, two), (two, one)):
        age, waits = near.session.age(), far.session.age()
        later = _taken(near) - _taken(far)
        if not near.session.up or age is None or waits is None:
            continue
        if min(age, waits, waits + later) >= SETTLED:
            return f"{near.host.name} holds it for established, and {far.host.name} is in {far.session.state}"
    return None


def check(view: FleetView) -> Iterator[Draft]:
    for one, two in _ends(view):
        if one.session.switched_off or two.session.switched_off or (one.session.up and two.session.up):
            continue
        difference = _difference(one, two)
        if difference is None:
            continue
        yield RULE.found(
            subject=across((one.host.name, two.host.name), subject("bgp-session", name=one.session.name)),
            message=f"the BGP session of {one.host.name} ({one.session.name}) and {two.host.name} "
            f"({two.session.name}) does not agree: {difference}",
            evidence=[
                (
                    f"{row.session.name} on {row.host.name}",
                    f"{row.session.state}, local AS{row.session.protocol.local_as}, neighbour "
                    f"{row.session.neighbour}, {row.session.error or 'no error'}",
                    row.session.source,
                )
                for row in (one, two)
            ],
            confirm=[one.session.confirm, two.session.confirm],
            fix="make both configurations agree, then birdc configure on the one that changed",
            breaks=[one.subject, two.subject],
        )


def examples() -> Iterator[FleetExample]:
    def edge(
        number: int, other: int, *, asn: int | None, calls: int | None, state: str | None = "Active", **more: Any
    ) -> Any:
        host = BirdHost().daemon()
        fields: dict[str, Any] = {"neighbor_address": f"192.0.2.{other}", "local_as": asn, "neighbor_as": calls}
        if state is None:
            host.bgp(f"to_{other}", **(fields | more))
        else:
            host.bgp_down(f"to_{other}", "BGP Error: Bad peer AS", bgp_state=state, **(fields | more))
        host.link("eth0").address("eth0", f"192.0.2.{number}/24").address("eth0", f"10.9.9.{number}/32")
        return host.build()

    def case(name: str, why: str, one: Any, two: Any, fires: int = 0) -> FleetExample:
        about = subject("bgp-session", name="to_2") if fires else None
        hosts = {"fra-edge1": one, "fra-edge2": two}
        return FleetExample(name=name, why=why, hosts=hosts, fires=fires, subject=about)

    wrong = edge(1, 2, asn=65001, calls=65009)
    yield case("another AS", "65009 was never there", wrong, edge(2, 1, asn=65002, calls=65001), 1)
    right = edge(1, 2, asn=65001, calls=65002, state=None)
    source: dict[str, Any] = {"source_address": "192.0.2.2"}
    told = edge(1, 2, asn=65001, calls=65002, state=None, source_address="192.0.2.1")
    half = edge(2, 1, asn=65002, calls=65001, state="OpenConfirm", **source)
    yield case("one is up", "TTL security on one side", told, half, 1)
    fresh = edge(2, 1, asn=65002, calls=65001, state="OpenConfirm", since="11:59:58.000")
    yield case("a moment ago", "it is about to come up", right, fresh)
    yield case("both up", "as it must be", right, edge(2, 1, asn=65002, calls=65001, state=None))
    off = BirdHost().daemon().bgp_down("to_1", state="down", bgp_state="Down", neighbor_address="192.0.2.1")
    off.link("eth0").address("eth0", "192.0.2.2/24")
    yield case("switched off", "somebody did it", wrong, off.build())
    yield FleetExample(name="not collected", why="its own rules speak", hosts={"fra-edge1": wrong})
    off = BirdHost().daemon().bgp_down("to_2", state="down", bgp_state="Down", neighbor_address="192.0.2.2")
    off.link("eth0").address("eth0", "192.0.2.1/24")
    yield case("switched off on the other side", "the same", off.build(), edge(2, 1, asn=65002, calls=65009))
    opening: dict[str, Any] = {"asn": 65001, "calls": 65002, "state": "OpenConfirm"}
    theirs: dict[str, Any] = {"asn": 65002, "calls": 65001, "state": None}
    for seconds, fires in (("30", 1), ("31", 0)):  # of a minute that ends at noon
        late = edge(1, 2, **opening, since=f"11:59:{seconds}.000")
        yield case(f"the second is up, since :{seconds}", "half a minute", late,
                   edge(2, 1, **theirs, **source), fires)  # fmt: skip
    yield case("between loopbacks and between links", "these are two sessions", told,
               edge(2, 1, asn=65002, calls=65001, neighbor_address="10.9.9.1", source_address="10.9.9.2"))  # fmt: skip
    anew = edge(2, 1, asn=65009, calls=65001, since="11:59:58.000")
    yield case("another AS a moment ago", "the first has not noticed yet", right, anew)
    both = edge(1, 2, asn=65001, calls=65002), edge(2, 1, asn=65002, calls=65001)
    yield case("both down", "they agree", *both)
    yield case("AS not told", "by ``neighbor external``", edge(1, 2, asn=65001, calls=None), both[1])
    yield case("own AS not told", "an old daemon", edge(1, 2, asn=None, calls=65002), both[1])
    yield case("when is not told", "another time format", right, edge(2, 1, asn=65002, calls=65001, since=None))
    more = BirdHost().daemon()
    for name in ("a", "b"):
        more.bgp_down(name, neighbor_address="192.0.2.2", local_as=65001, neighbor_as=65009)
    two = more.link("eth0").address("eth0", "192.0.2.1/24").build()
    early = edge(1, 2, asn=65001, calls=65002, state=None, since=None)
    yield case("when is not told on the other side", "the same", early, edge(2, 1, asn=65002, calls=65001))
    yield case("two between the same addresses", "which belongs to which is not known", two, both[1])
    self_ = {"fra-edge1": edge(1, 1, asn=65001, calls=65009)}
    yield FleetExample(name="to its own other daemon", why="that one was not read", hosts=self_)
