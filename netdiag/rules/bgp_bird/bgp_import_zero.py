"""What it checks
  An established BGP session brings no route (0 imported) although the neighbour sends some: its input filter refused
  every one. Judged where another session of the same kind does bring routes: one to the same neighbouring AS, or one
  with the same filter by name, of the same family and table; or where nobody can have wanted it so: this host has no
  other default route of the family, or it forwards packets of the family and the session did bring routes before, or
  the same session brings routes of the other family. These three of a filter that somebody wrote; of "import none"
  where BIRD gives routes of the family to the kernel, and no route at all leads beyond this host's own networks, in
  either family. Or where it brought routes at the time of the baseline, whatever refuses them now; or where the
  neighbour, which sent some then, sends none now, and no other session brings any of the family into that table.

Why it matters
  The session looks well and nothing goes over it. With a sibling that brings routes the second way is missing when the
  first one goes; without one, this host reaches only what it is connected to. After a change of an RPKI cache, of a
  prefix list or of a filter this is the usual sight.

Confirm
  birdc show protocols all NAME
  birdc show route protocol NAME

Fix
  Repair the import filter (or the prefix list, or the RPKI tables that it asks) in BIRD's configuration, then
  "birdc configure". BIRD asks the neighbour for its routes again; the session is not restarted.

Not flagged
  "import none" on a session without a sibling that imports: it only announces, by choice, unless this host has no
  other way to anybody (see above); an info where it brought routes since it stands, and was changed meanwhile. A
  neighbour that sends nothing, or has withdrawn what it sent, where no baseline says otherwise. Sessions inside the AS
  on a host that has a default route from elsewhere, where none of the other signs is there. Clients of a route server.
  A session established less than a second ago. Hosts out of service (drained), as far as the baseline goes. Another
  filter that refuses all, on a host that has a default route from elsewhere and no sibling to compare with, is told as
  information only: an announcer may be written so too ("import filter { reject; }" on a node that forwards for its
  guests and announces them). BIRD counts what a filter accepted since the session stands, so a filter that was broken
  before that is not told from one that is meant.

References
  nest/proto.c channel_show_stats(), nest/rt-table.c rte_update2() of BIRD
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.index.ways import ways
from netdiag.model.bird import UpdateCounts
from netdiag.model.finding import Draft, subject
from netdiag.model.route import RTN_UNICAST
from netdiag.model.snapshot import Tables
from netdiag.rules.bgpsiblings import NOTHING, Standing, before, carried, siblings, standing
from netdiag.rules.build_bird import BirdHost, channel
from netdiag.rules.shape import Example, Rule
from netdiag.rules.zerocases import Direction, beside_siblings, silent

RULE = Rule(
    id="bgp-import-zero",
    title="an established BGP session brings no route",
    severity="warning",
    reads=("bird", "routes", "sysctls"),
    consults=("nexthops", "baseline"),
    explains=(
        "route-default-missing",
        "dns-nameserver-unroutable",
    ),
)
BIRD = 12
"""RTPROT_BIRD (include/uapi/linux/rtnetlink.h)."""
FORWARDING = {False: "net.ipv4.ip_forward", True: "net.ipv6.conf.all.forwarding"}


def refused(one: Standing) -> int:
    """Routes that the input filter refused, where none is left; 0 where some are, or none is offered any more."""
    counts, gone = one.channel.import_updates, one.channel.import_withdraws
    if one.channel.imported != 0 or counts is None:
        return 0
    # Withdrawals are not told apart by what the filter had said: then only routes kept as filtered are proof.
    return one.channel.filtered or (0 if gone is not None and gone.received else counts.filtered or 0)


def of_ipv6(one: Standing) -> bool:
    """The family of the routes; BIRD 1.6 has a daemon for each."""
    return one.channel.name == "ipv6" or (
        one.channel.name == "main" and ":" in (one.session.protocol.neighbor_address or "")
    )


def missed(view: HostView, one: Standing) -> bool:
    """A host that only announces does neither: it forwards and learned routes of the session before, or it learns those
    of the other family over it."""
    channels = one.session.protocol.channels
    learned = took(one) and view.sysctl_int(FORWARDING[of_ipv6(one)]) == 1
    return learned or any(other.imported for other in channels if other is not one.channel)


def took(one: Standing) -> bool:
    """Whether it brought routes since it stands: its filter was changed in between, and BIRD counts on."""
    return one.channel.import_updates is not None and bool(one.channel.import_updates.accepted)


def way_out(view: HostView, one: Standing) -> bool:
    """Somebody else than BIRD gave this host a default route."""
    routes = view.routes("inet6" if of_ipv6(one) else "inet")
    return bool(((routes.dst_len == 0) & (routes.type == RTN_UNICAST) & (routes.protocol != BIRD)).any())


def cut_off(view: HostView) -> bool:
    """Whether no route of either family leads beyond the host's own networks: none is a default route, or goes by a
    gateway."""
    if not view.read_whole("nexthops"):
        return False
    for family in ("inet", "inet6"):
        routes = view.routes(family)
        if ((routes.dst_len == 0) & (routes.type == RTN_UNICAST)).any():
            return False
        if any(way.hop.gateway is not None for way in ways(routes, view.nexthops)):
            return False
    return True


def installs(one: Standing) -> bool:
    """Whether its daemon gives routes of the family to the kernel: who only announces needs none there."""
    kernels = (row for row in one.session.daemon.protocols if row.proto == "Kernel" and row.state == "up")
    return any(
        channel.name == one.channel.name and channel.output_filter != NOTHING
        for row in kernels
        for channel in row.channels
    )


def _silent_now(view: HostView, one: Standing) -> Iterator[Draft]:
    """A session that brought routes at the time of the baseline and is offered none now. One of several may be drained
    at its other end; of the last one nobody drains a network."""
    then = before(view, one.session, one.channel.name)
    if then is None or not then.imported or one.channel.imported != 0:
        return
    if any(carried(other) == carried(one) and other.channel.imported for other in standing(view)):
        return
    session = one.session
    yield RULE.found(
        subject=session.subject,
        message=f"BGP session {session.name} to {session.neighbour} is established and brings no {one.channel.name} "
        f"route: the neighbour sends none, and it brought {then.imported} at the time of the baseline",
        evidence=[
            (f"{one.channel.name} imported", 0, session.source),
            (f"{one.channel.name} imported then", then.imported, "baseline"),
        ],
        confirm=[session.confirm],
        fix=f"ask whoever runs {session.protocol.neighbor_address} what it announces to here",
        confidence="likely",
        breaks=[subject("route", dst="::/0" if of_ipv6(one) else "0.0.0.0/0", table=254)],
    )


def check(view: HostView) -> Iterator[Draft]:
    for one in standing(view):
        count = refused(one)
        if not count:
            yield from _silent_now(view, one)
            continue
        better = [other for other in siblings(view, one, "input") if other.channel.imported]
        then = before(view, one.session, one.channel.name)
        was = (then.imported or 0) if then is not None and not better else 0
        if one.channel.input_filter == NOTHING:
            lost = bool(better or was) or (not one.internal and installs(one) and cut_off(view))
            meant = not lost and not took(one)
        else:
            lost = bool(better or was) or not way_out(view, one) or missed(view, one)
            meant = one.internal and not lost
        if meant:
            continue
        session, policy = one.session, one.channel.input_filter
        words = f", while {better[0].session.name} brings {better[0].channel.imported}" if better else ""
        words += f" (it brought {was} at the time of the baseline)" if was else ""
        default = "::/0" if of_ipv6(one) else "0.0.0.0/0"
        yield RULE.found(
            subject=session.subject,
            message=f"BGP session {session.name} to {session.neighbour} is established and brings no "
            f"{one.channel.name} route{words}: filter {policy} refused all {count}",
            evidence=[
                (f"{one.channel.name} imported", 0, session.source),
                (f"{one.channel.name} import updates filtered", count, session.source),
                *(
                    (f"{o.session.name} {o.channel.name} imported", o.channel.imported, o.session.source)
                    for o in better[:2]
                ),
            ],
            confirm=[session.confirm],
            fix=f"{session.command('configure')}  # after repairing the import filter of {session.name} in bird.conf",
            confidence="likely" if lost else "possible",
            breaks=[] if better or way_out(view, one) else [subject("route", dst=default, table=254)],
        )


def _zero(**fields: Any) -> dict[str, Any]:
    counts = UpdateCounts(received=7, rejected=0, filtered=7, accepted=0)
    quiet = UpdateCounts(received=0)
    defaults: dict[str, Any] = {"imported": 0, "import_updates": counts, "import_withdraws": quiet}
    return {"session": "external AS4", "channels": (channel(**(defaults | {"input_filter": "(unnamed)"} | fields)),)}


def _good(**fields: Any) -> dict[str, Any]:
    more = {name: fields.pop(name) for name in ("session", "neighbor_as") if name in fields}
    defaults: dict[str, Any] = {"imported": 3, "input_filter": "(unnamed)"}
    channels = (channel(**(defaults | fields)),)
    return {"session": "external AS4", "neighbor_address": "192.0.2.9", "channels": channels} | more


def _case(name: str, why: str, host: BirdHost, **expected: Any) -> Example:
    return Example(name=name, why=why, tables=_with_default(host), **expected)


def _with_default(host: BirdHost, protocol: int = 3, **fields: Any) -> Tables:
    host.link("eth0").address("eth0", "192.0.2.5/24").address("eth0", "2001:db8::5/64")
    defaults: dict[str, Any] = {"dev": "eth0", "via": "192.0.2.1", "protocol": protocol}
    host.route("default", **(defaults | fields))
    return host.build()


WAY = Direction(_zero, _good, _case, "input_filter", "imported")


def examples() -> Iterator[Example]:
    told: dict[str, Any] = {
        "fires": 1,
        "severity": "warning",
        "confidence": "likely",
        "subject": subject("bgp-session", name="up1"),
    }
    for policy in ("(unnamed)", "REJECT"):
        host = BirdHost().bgp("up1", **_zero(input_filter=policy)).bgp("up2", **_good())
        yield _case(
            f"one of two to the same AS, {policy}",
            "the other tells that routes are wanted",
            host,
            says=("brings no ipv4 route, while up2 brings 3",),
            **told,
        )
    yield from beside_siblings(WAY, told)
    for name, fields in (
        ("BIRD's own default route", {"protocol": 12}),
        ("a default route that refuses", {"type": "unreachable", "dev": None, "via": None, "family": "inet"}),
        ("a default route of the other family", {"via": "2001:db8::1"}),
        ("a route that is not for all", {"dst": "10.0.0.0/8"}),
    ):
        alone = BirdHost().bgp("up1", **_zero()).link("eth0").address("eth0", "192.0.2.5/24")
        words: dict[str, Any] = {"dst": "default", "dev": "eth0", "via": "192.0.2.1"} | fields
        yield Example(
            name=f"alone, {name}",
            why="nobody wants a host without a way out",
            tables=alone.route(**words).build(),
            **told,
        )
    yield _case(
        "alone, IPv6, with a default route of IPv4",
        "families stand apart",
        BirdHost().bgp("up1", **_zero(name="ipv6")),
        **told,
    )
    yield _case(
        "alone, with a default route from elsewhere",
        "an announcer may refuse all by a filter of its own: worth knowing and no more",
        BirdHost().bgp("up1", **_zero()),
        fires=1,
        severity="info",
    )
    yield from _of_routers(told)
    yield from _import_none(told)
    untold = BirdHost().bgp("up1", **_zero(import_withdraws=None)).bgp("up2", **_good())
    yield _case("withdrawals not told", "what was refused counts", untold, **told)
    for name, near, channel_name, calm in (
        ("BIRD 1.6 for IPv6", "2001:db8::1", "main", False),
        ("BIRD 1.6 for IPv4", "192.0.2.1", "main", True),
        ("IPv4 over a session of IPv6", "2001:db8::1", "ipv4", True),
    ):
        yield _case(
            f"{name}, with a default route of IPv4 from elsewhere",
            "the family of the routes counts",
            BirdHost().bgp("up1", neighbor_address=near, **_zero(name=channel_name)),
            fires=1,
            severity="info" if calm else "warning",
        )
    gone = UpdateCounts(received=7)
    yield _case(
        "withdrawn, and some kept as filtered",
        "what is kept is offered now",
        BirdHost().bgp("up1", **_zero(import_withdraws=gone, filtered=2)).bgp("up2", **_good()),
        says=("refused all 2",),
        **told,
    )
    yield _case(
        "withdrawn",
        "nothing is offered any more",
        BirdHost().bgp("up1", **_zero(import_withdraws=gone)).bgp("up2", **_good()),
    )
    yield from _silent()
    earlier = _with_default(BirdHost().bgp("up1", **_good()))
    says = ("(it brought 3 at the time of the baseline)",)
    for policy in ("(unnamed)", "REJECT"):
        now = _with_default(BirdHost().bgp("up1", **_zero(input_filter=policy)))
        yield Example(
            name=f"it brought three, {policy}", why="it was wanted", tables=now, baseline=earlier, says=says, **told
        )
        drained = {"drained": "true"}
        quiet_: dict[str, Any] = {"fires": 1, "severity": "info"} if policy != "REJECT" else {}
        yield Example(
            name=f"drained, {policy}", why="out of service", tables=now, baseline=earlier, labels=drained, **quiet_
        )
    taken: dict[str, Any] = {
        "import_updates": UpdateCounts(received=7, filtered=0, accepted=7),
        "import_withdraws": UpdateCounts(received=7),
    }
    empty, says = _zero(**taken), ("the neighbour sends none, and it brought 3",)
    lone = _with_default(BirdHost().bgp("up1", **empty))
    yield Example(
        name="it brought three, and is sent none",
        why="nobody drains the last",
        tables=lone,
        baseline=earlier,
        says=says,
        **told,
    )
    mate: dict[str, Any] = _good() | {"neighbor_as": 65009}
    second = _with_default(BirdHost().bgp("up1", **empty).bgp("up2", **mate))
    yield Example(
        name="it brought three, is sent none, and another brings some",
        why="its other end may be drained",
        tables=second,
        baseline=earlier,
    )
    never = _with_default(BirdHost().bgp("up1", **empty))
    yield Example(name="it brought none then either", why="nobody sends any", tables=lone, baseline=never)
    inside = _zero() | {"session": "internal AS4"}
    cut = BirdHost().bgp("up1", **inside)
    cut.link("eth0").address("eth0", "192.0.2.5/24")
    yield Example(name="inside the AS, and no way out", why="nobody wants that", tables=cut.build(), **told)
    inner = BirdHost().bgp("up1", **inside)
    yield _case("inside the AS, with a way out", "a reflector's client may only announce", inner)


def _import_none(told: dict[str, Any]) -> Iterator[Example]:
    """By choice, or by mistake."""

    def host(policy: str | None = "ACCEPT", **fields: Any) -> BirdHost:
        made = BirdHost().bgp("up1", **(_zero(input_filter="REJECT") | fields))
        made.link("eth0").address("eth0", "192.0.2.5/24").route("192.0.2.0/24", dev="eth0")
        if policy:
            made.protocol("kernel1", "Kernel", channels=(channel(output_filter=policy),))
        return made

    says = ("filter REJECT refused all 7",)
    yield Example(name="none, and no way out", why="nobody wants that", tables=host().build(), says=says, **told)
    gone = host("ours").route("default", type="unreachable", family="inet").build()
    yield Example(name="none, and what is there refuses", why="no way out either", tables=gone, **told)
    inside = {"session": "internal AS4"}
    for name, why, made in (
        ("no kernel protocol", "who only announces needs none", host(None)),
        ("nothing for the kernel", "the same", host("REJECT")),
        ("inside the AS", "a reflector's client may only announce", host(**inside)),
        ("a way to somebody", "it is managed from there", host().route("10.0.0.0/8", via="192.0.2.9", dev="eth0")),
        (
            "a way by an object",
            "the same",
            host().nexthop(7, family="inet", gateway="192.0.2.9", oif="eth0").route("10.0.0.0/8", nh_id=7),
        ),
        ("a way out by IPv6", "the other family may carry it", host().route("default", dev="eth0", family="inet6")),
    ):
        yield Example(name=f"none, {name}", why=why, tables=made.build())
    other = host(None).protocol("kernel2", "Kernel", channels=(channel(name="ipv6"),))
    yield Example(name="none, the kernel gets the other family", why="who only announces", tables=other.build())
    down = host(None).protocol("kernel1", "Kernel", state="down", channels=(channel(),))
    yield Example(name="none, a kernel protocol that is down", why="it gives nothing", tables=down.build())
    late: dict[str, Any] = {"late": ("nexthops",), "unjudged": True}
    yield Example(name="none, nexthop objects not read", why="a way may be there", tables=host().build(), **late)


def _of_routers(told: dict[str, Any]) -> Iterator[Example]:
    """A default route from elsewhere, and no sibling."""
    info: dict[str, Any] = {"fires": 1, "severity": "info"}
    before = UpdateCounts(received=14, rejected=0, filtered=7, accepted=7)
    for name, family, wanted in (("IPv4", "net.ipv4.ip_forward", told), ("IPv6", "net.ipv6.conf.all.forwarding", info)):
        router = BirdHost().bgp("up1", **_zero(import_updates=before))
        router.sysctl(family, 1)
        yield _case(f"it forwards {name}, and took routes before", "a router wants them", router, **wanted)
    node = BirdHost().bgp("up1", **_zero())
    node.sysctl("net.ipv4.ip_forward", 1)
    yield _case("it forwards, and never took a route", "a node that announces its guests alone", node, **info)
    still = BirdHost().bgp("up1", **_zero(import_updates=before))
    yield _case("took routes before, and forwards nothing", "it has its default route", still, **info)
    router = BirdHost().bgp("up1", **_zero(input_filter="REJECT"))
    router.sysctl("net.ipv4.ip_forward", 1)
    yield _case("it forwards, and imports none", "by choice", router)
    router = BirdHost().bgp("up1", **_zero(input_filter="REJECT", import_updates=before))
    router.sysctl("net.ipv4.ip_forward", 1)
    yield _case("it took routes before, and imports none now", "somebody changed that meanwhile", router, **info)
    for imported, wanted in ((2, told), (0, info)):
        both = _zero()
        both["channels"] += (channel(name="ipv6", imported=imported, input_filter="ACCEPT"),)
        host = BirdHost().bgp("up1", **both)
        yield _case(f"{imported} of IPv6 over the same session", "who learns does not only announce", host, **wanted)


def _silent() -> Iterator[Example]:
    yield from silent(WAY)
    few = UpdateCounts(received=2, rejected=2, filtered=0, accepted=0)
    yield _case(
        "nothing refused",
        "they were invalid (an AS loop): the filter is not to blame",
        BirdHost().bgp("up1", **_zero(import_updates=few)).bgp("up2", **_good()),
    )
    no = BirdHost().bgp("up1", **_zero(import_updates=None)).bgp("up2", **_good())
    yield _case("counts not told", "nothing was refused, as far as is known", no)
