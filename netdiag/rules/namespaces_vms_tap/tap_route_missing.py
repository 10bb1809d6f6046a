"""What it checks
  A virtual machine runs on a tap that is up, and guests of this host are routed (not bridged), but no route leads to
  it: no host route and no subnet through the tap, in any table. Or a guest that answered within the last minute has no
  route back to its tap. Or a guest has a route of one family, while two or more other running guests, and two thirds of
  them at least, have one of the other family: a warning where all have, or where this host has prepared its tap for the
  family as theirs (an address of its own, proxy_arp); else an info. Beside a single other guest that has both:
  a warning, where both taps are prepared for the missing one.

Why it matters
  The guest can send, and no answer ever finds it: what is for its address follows the default route out of the host,
  or is refused. Other guests of the same host work, which makes it look like a fault of that guest.

Confirm
  ip route show table all dev TAP
  ip -6 route show table all dev TAP
  ip neigh show dev TAP                        (addresses that the guest uses)

Fix
  ip route add ADDRESS/32 dev TAP (ip -6 route add ADDRESS/128 dev TAP), as the other guests have it. It adds one
  route and touches no other guest. Whatever starts the machines must do so as well, or it is missing after a restart.

Not flagged
  Taps in a bridge, an Open vSwitch or another master (but a VRF). Taps whose frames tc or eBPF may redirect elsewhere
  (as Firecracker under CNI has them; not filters that only limit or mark), unless the programs return constants that
  let frames go on and take none away, a guest's tap with a route has the same programs, or two such taps have a build
  each of programs of that name. Taps that nobody holds (a warm pool), taps that are down (tap-down-vmm-eio). A tap
  without any sign of routing on this host (no address, no neighbour, no sibling with a route, no proxy_arp, no known
  VMM on a host that forwards) is an info: a machine may be meant to have no network. A VMM on a host that forwards is
  a warning, if that is the only sign. Guests with link-local addresses only. A guest that was silent for over a minute.
  A guest of one family among guests of both, whose tap has nothing of the other family that theirs all have: an address
  of this host or proxy_arp, or a neighbour.

References
  net/ipv4/fib_frontend.c; Documentation/networking/ip-sysctl.rst proxy_arp;
  https://github.com/firecracker-microvm/firecracker/blob/main/docs/network-setup.md
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfAttachment
from netdiag.model.finding import Draft, Severity, subject
from netdiag.model.link import Xdp
from netdiag.model.neighbour import Neighbour
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc
from netdiag.rules.guesttaps import READS, GuestTap, guest_taps, leads_to, link_local, pid_words
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.tapcases import beside_cases, few_lack_cases, filtered_cases, treated_cases
from netdiag.rules.treatedtaps import Treated

RULE = Rule(
    id="tap-route-missing",
    title="a running guest has no route to its tap",
    severity="critical",
    reads=(*READS, "rules", "sysctls"),
    consults=("bpf", "qdiscs"),
    explains=(
        "proxy-ndp-missing",
        "vm-stale-neigh-after-restore",
        "prefsrc-*",
        "addr-wrong-prefixlen",
        "route-expected-missing",
    ),
)
MOST = 2 / 3
"""The share of the other guests from which on a family counts as every guest's."""
FRESH = 60.0
"""Seconds: a neighbour that was confirmed within them is there."""


def judged(tap: GuestTap) -> bool:
    """A running machine that the host could route to."""
    return tap.link.up and tap.held and tap.free


def signs(tap: GuestTap, siblings: list[GuestTap], view: HostView) -> list[str]:
    """What says that this host routes to its guests, of a tap without a route; the weakest sign last."""
    found = []
    other = next((each for each in siblings if judged(each) and each.routes), None)
    if other is not None:
        found.append(f"{other.link.ifname} has a route to {other.routes[0].dst}")
    near = next((row for row in tap.neighbours if not link_local(row.dst)), None)
    if near is not None:
        found.append(f"{near.dst} is a neighbour on {tap.link.ifname}")
    mine = [row for row in view.addresses if row.ifindex == tap.link.ifindex and not link_local(row.local)]
    if mine:
        found.append(f"{tap.link.ifname} has the address {mine[0].local}/{mine[0].prefixlen}")
    if tap.link.inet_conf.get("proxy_arp"):
        found.append(f"proxy_arp is on for {tap.link.ifname}")
    if view.sysctl("net.ipv4.ip_forward") == "1" and any(row.vmm for row in tap.holders):
        found.append(f"this host forwards, and {tap.holder} runs a machine on it")
    return found


def fresh(tap: GuestTap) -> Iterator[Neighbour]:
    """Global neighbours that answered within the last minute."""
    for row in tap.neighbours:
        alive = row.state in ("reachable", "delay", "probe") or (row.confirmed is not None and row.confirmed < FRESH)
        if alive and row.state != "permanent" and not link_local(row.dst):
            yield row


def families(tap: GuestTap) -> set[str]:
    """Families with a route to the guest."""
    return {route.family for route in tap.routes}


def check(view: HostView) -> Iterator[Draft]:
    taps = guest_taps(view)
    routed = [tap for tap in taps if judged(tap) and tap.routes]
    treated, others, indexes = Treated(view, routed), Routed(view, routed), {tap.link.ifindex for tap in taps}
    for tap in taps:
        if not judged(tap) or treated.redirected(tap):
            continue
        if not tap.routes and not tap.connected:
            found = signs(tap, taps, view)
            alone = "inet6" if others.having["inet6"] and not others.having["inet"] else None
            yield _finding(tap, "no route leads to it", found, _weight(found), None, family=alone)
            continue
        lost = [
            row for row in fresh(tap) if not indexes & set(leads_to(view, row.dst)) and not _covered(view, tap, row)
        ]
        if lost:
            yield _finding(
                tap, f"no route leads to {lost[0].dst}", [f"{lost[0].dst} answers there"], "critical", lost[0]
            )
            continue
        missing = others.missing(tap)
        if missing:
            name, why, severity = missing
            family = "inet6" if name == "IPv6" else "inet"
            yield _finding(tap, f"it has no {name} route", [why], severity, None, family=family)


def _weight(found: list[str]) -> Severity:
    """A host that forwards may be about to give the machine its route: that sign alone is a warning."""
    if not found:
        return "info"
    return "warning" if found[0].startswith("this host forwards") else "critical"


def _covered(view: HostView, tap: GuestTap, row: Neighbour) -> bool:
    """Some table has a route through the tap that holds the address: policy routing decides."""
    fib = view.fib(row.family)
    mine = set(tap.points.routes if row.family == "inet" else tap.points.routes6)
    bits = 32 if row.family == "inet" else 128
    return any(mine & set(fib.routes_covering(table, f"{row.dst}/{bits}").tolist()) for table in fib.tables())


def _heard(tap: GuestTap, family: str) -> bool:
    """Whether the guest was heard in this family, by a link-local address at least."""
    return any(row.family == family for row in tap.neighbours)


class Routed:
    """The running guests that have routes, by what speaks of their families; gone through once for all taps."""

    def __init__(self, view: HostView, taps: list[GuestTap]) -> None:
        self.taps = taps
        self._addressed = {(row.ifindex, row.family) for row in view.addresses if not row.local.startswith("fe80")}
        self.having = {family: [tap for tap in taps if family in families(tap)] for family in ("inet", "inet6")}
        self.prepared = {family: all(self._prepared(tap, family) for tap in of) for family, of in self.having.items()}
        self.heard = {family: all(_heard(tap, family) for tap in of) for family, of in self.having.items()}

    def _prepared(self, tap: GuestTap, family: str) -> bool:
        """Whether this host has an address of the family on the tap, other than the kernel's own, or answers for
        others."""
        answers = family == "inet" and bool(tap.link.inet_conf.get("proxy_arp"))
        return answers or (tap.link.ifindex, family) in self._addressed

    def missing(self, tap: GuestTap) -> tuple[str, str, Severity] | None:
        """The family that at least two other running guests have routes of, and most of them, and this one has not;
        what shows that, and how much it says: a few others without may have one family on purpose. A single other
        guest counts where it has both families and both taps are prepared for the missing one."""
        others = len(self.taps) - 1
        if not others or not tap.routes:
            return None
        if others == 1:
            return self._beside(tap, next(one for one in self.taps if one is not tap))
        for family, name in (("inet", "IPv4"), ("inet6", "IPv6")):
            if family in families(tap):
                continue
            having, prepared = len(self.having[family]), self._prepared(tap, family)
            single = (self.prepared[family] and not prepared) or (self.heard[family] and not _heard(tap, family))
            if not single and having >= max(2, MOST * others):
                if having == others:
                    return name, f"every other guest's tap has an {name} route", "warning"
                ready = prepared and self.prepared[family]
                why = f"{having} of {others} others have one"
                return (name, f"{why}, and it is prepared as they are", "warning") if ready else (name, why, "info")
        return None

    def _beside(self, tap: GuestTap, other: GuestTap) -> tuple[str, str, Severity] | None:
        for family, name in (("inet", "IPv4"), ("inet6", "IPv6")):
            ready = self._prepared(other, family) and self._prepared(tap, family)
            unheard = _heard(other, family) and not _heard(tap, family)
            if family not in families(tap) and len(families(other)) == 2 and ready and not unheard:
                return name, f"{other.link.ifname} has one, and both taps are prepared for it", "warning"
        return None


def _finding(
    tap: GuestTap, what: str, why: list[str], severity: Severity, near: Neighbour | None, *, family: str | None = None
) -> Draft:
    """``family``: the one whose route is missing; None: no matter which."""
    name = tap.link.ifname
    seen = (row.dst for row in tap.neighbours if not link_local(row.dst) and family in (None, row.family))
    address = near.dst if near else next(seen, "ADDRESS")
    bits = 128 if ":" in address or family == "inet6" else 32
    because = f"; {why[0]}" if why else ""
    return RULE.found(
        subject=tap.about,
        severity=severity,
        confidence="possible" if severity == "info" else "certain" if near else "likely",
        message=f"{tap.holder} runs on the tap {name}, but {what}: nothing reaches that guest{because}",
        evidence=(
            (f"routes through {name}", len(tap.points.routes) + len(tap.points.routes6), "RTM_GETROUTE"),
            *((f"sign {number + 1} of routing", text, "RTM_GETROUTE, RTM_GETNEIGH") for number, text in enumerate(why)),
            *pid_words(tap),
        ),
        confirm=(
            f"ip -br link show dev {quoted(name)}; ip route show table all dev {quoted(name)}",
            f"ip -br link show dev {quoted(name)}; ip neigh show dev {quoted(name)}",
        ),
        fix=f"ip {'-6 ' if bits == 128 else ''}route add {address}/{bits} dev {quoted(name)}",
        touches=tap.objects,
        breaks=(*tap.objects, *(subject("neighbour", dst=row.dst, ifname=name) for row in tap.neighbours)),
    )


def _two() -> HostBuilder:
    host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
    return host.tap("tap0").tap("tap1").route("10.1.0.5/32", dev="tap0")


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    about = subject("tap", ifname="tap1")
    yield _case("its sibling has one", "guests are routed here", _two(), 1, subject=about, severity="critical")
    alone = HostBuilder().link("eth0").tap("tap1", inet_conf={"proxy_arp": 1})
    yield _case("the only guest", "proxy_arp says that guests are routed", alone, 1, severity="critical")
    near = HostBuilder().link("eth0").tap("tap1").neighbour("10.1.0.6", dev="tap1", state="stale")
    critical: dict[str, object] = {"severity": "critical"}
    yield _case(
        "neighbour without a route", "the host talked to it", near, 1, says=("10.1.0.6/32 dev tap1",), **critical
    )
    turned = HostBuilder().sysctl("net.ipv4.ip_forward", 1).link("eth0").tap("tap1", inet_conf={"proxy_arp": 1})
    yield _case("proxy_arp on a host that forwards", "the stronger sign decides", turned, 1, **critical)
    own = HostBuilder().link("eth0").tap("tap1").address("tap1", "10.1.0.1/32")
    yield _case("address of the host on it", "a /32 makes no subnet", own, 1, severity="critical")
    six = HostBuilder().link("eth0").tap("tap1").address("tap1", "2001:db8::1/128")
    six.route("2001:db8::1/128", dev="tap1", protocol=2)
    yield _case("address of IPv6 on it", "nor does the route to it", six, 1, severity="critical")
    peer = HostBuilder().link("eth0").tap("tap1").address("tap1", "2001:db8::1/128", peer="2001:db8::2")
    yield _case(
        "the guest's address as the other end", "that is a route", peer.route("2001:db8::2/128", dev="tap1", protocol=2)
    )
    both = _two().route("2001:db8::6/128", dev="tap1").neighbour("10.1.0.6", dev="tap1")
    yield _case("one family of two", "the guest answers, and nothing finds it", both, 1, says=("10.1.0.6",),
                confidence="certain", **critical)  # fmt: skip
    for state, confirmed in (("reachable", None), ("stale", 59.0)):
        late = _two().route("2001:db8::6/128", dev="tap1")
        late.neighbour("10.1.0.6", dev="tap1", state=state, confirmed=confirmed)
        yield _case(f"{state}, confirmed {confirmed}", "it was there a moment ago", late, 1, **critical)
    six = _two().route("10.1.0.6/32", dev="tap1").neighbour("2001:db8::6", dev="tap1", state="delay")
    yield _case("IPv6 of two", "the same the other way round", six, 1, says=("-6 route add 2001:db8::6/128",))
    three = _two().tap("tap2").route("10.1.0.7/32", dev="tap2").route("10.1.0.6/32", dev="tap1")
    three.route("2001:db8::5/128", dev="tap0").route("2001:db8::7/128", dev="tap2")
    yield _case(
        "siblings have both families",
        "nobody answered yet, but all others have it",
        three,
        1,
        severity="warning",
        confidence="likely",
    )
    yield from _prepared_for()
    subnet = three.tap("tap3").address("tap3", "10.1.0.17/30")
    yield _case("and a fourth has a subnet", "it has no route of its own", subnet, 1, severity="warning")
    for hook, fires in (("flow_dissector", 1), ("tc", 0), ("netkit", 0), ("xdp", 0)):
        taken = _two().bpf(attachments=[BpfAttachment(prog_id=1, hook=hook, ifindex=4)])  # type: ignore[arg-type]
        yield _case(f"{hook} on the tap", "what may take its frames elsewhere", taken, fires)
    dark: dict[str, object] = {"late": ("bpf",)}
    yield _case("programs not read", "its sibling's leave the frames to routing", _two(), 1, **dark, **critical)
    yield _case(
        "the only guest, programs not read", "one may take its frames elsewhere", alone, 0, unjudged=True, **dark
    )
    policy, other = program(1, tag="aa" * 8), program(2, tag="bb" * 8)
    same = tc(tc(_two().bpf(programs=[policy, other]), "tap0", 1), "tap1", 1)
    yield _case("the same policy on both", "it leaves the frames of tap0 to routing", same, 1, **critical)
    unlike = tc(tc(_two().bpf(programs=[policy, other]), "tap0", 1), "tap1", 2)
    yield _case("another program than its sibling", "it may redirect", unlike)
    per_tap = _two().bpf(programs=[policy, program(3, tag=policy.tag)])
    yield _case(
        "loaded once for each tap", "the same instructions", tc(tc(per_tap, "tap0", 1), "tap1", 3), 1, **critical
    )
    nameless = _two().bpf(programs=[program(1, tag=None), program(2, tag=None)])  # type: ignore[arg-type]
    yield _case("instructions not told", "it may be another", tc(tc(nameless, "tap0", 1), "tap1", 2))
    half = _two().route("2001:db8::6/128", dev="tap1").neighbour("10.1.0.6", dev="tap1").bpf(programs=[policy, other])
    yield _case("another program, and a route of IPv6", "it may redirect", tc(tc(half, "tap0", 1), "tap1", 2))
    pool = HostBuilder().link("eth0").tap("tap0", holder=None).tap("tap1").route("10.1.0.5/32", dev="tap0")
    pool.bpf(programs=[policy])
    yield _case("the same policy on a tap of the pool", "nobody lives there", tc(tc(pool, "tap0", 1), "tap1", 1))
    none = HostBuilder().link("eth0").tap("tap0").tap("tap1").neighbour("10.1.0.6", dev="tap1").bpf(programs=[policy])
    yield _case("the same policy, no routes at all", "it may redirect", tc(tc(none, "tap0", 1), "tap1", 1))
    more = tc(tc(tc(_two().bpf(programs=[policy, other]), "tap0", 1), "tap1", 1), "tap1", 2, priority=2)
    yield _case("one program more than its sibling", "that one may redirect", more)
    aside = _two().bpf(attachments=[BpfAttachment(prog_id=1, hook="tc", ifindex=2)])
    yield _case("tc on the uplink", "its frames are not the tap's", aside, 1, **critical)
    yield from treated_cases()
    yield from few_lack_cases()
    yield from beside_cases()
    yield from filtered_cases()
    yield from _silent()


def _prepared_for() -> Iterator[Example]:
    """A guest without an IPv4 route, beside two with both: what their taps have of IPv4, and its own."""
    on: dict[str, object] = {"inet_conf": {"proxy_arp": 1}}
    for name, own, others, fires in (
        ("proxy_arp on theirs alone", {}, on, 0),
        ("proxy_arp on all", on, on, 1),
        ("proxy_arp on its own", on, {}, 1),
    ):
        host = HostBuilder().link("eth0").tap("tap0", **own).route("2001:db8::5/128", dev="tap0")  # type: ignore[arg-type]
        for number in (1, 2):
            host.tap(f"tap{number}", **others)  # type: ignore[arg-type]
            host.route(f"2001:db8::{number}/128", dev=f"tap{number}").route(f"10.1.0.{number}/32", dev=f"tap{number}")
        yield _case(f"one of three without IPv4, {name}", "a guest may have one family", host, fires)
    for family, local, fires in (("IPv4", "169.254.0.1/32", 0), ("none", "fe80::9/64", 1)):
        host = HostBuilder().link("eth0").tap("tap0").route("2001:db8::5/128", dev="tap0").address("tap0", "fe80::9/64")
        for number in (1, 2):
            host.tap(f"tap{number}").address(f"tap{number}", local)
            host.route(f"2001:db8::{number}/128", dev=f"tap{number}").route(f"10.1.0.{number}/32", dev=f"tap{number}")
        yield _case(f"addresses of {family} on the others", "they are prepared for it", host, fires)

    for name, mine, local in (
        ("proxy_arp", on, "fe80::9/64"),
        ("IPv4", {}, "169.254.0.1/32"),
        ("none", {}, "fe80::9/64"),
    ):
        host = HostBuilder().link("eth0").tap("tap0").route("10.1.0.5/32", dev="tap0")
        for number in (1, 2):
            host.tap(f"tap{number}", **mine).address(f"tap{number}", local)  # type: ignore[arg-type]
            host.route(f"2001:db8::{number}/128", dev=f"tap{number}").route(f"10.1.0.{number}/32", dev=f"tap{number}")
        yield _case(f"one of three without IPv6, {name} on the others", "IPv4 prepares for no IPv6", host, 1)
        host.neighbour("10.1.0.5", dev="tap0", state="stale", confirmed=600.0)
        says = ("ip -6 route add ADDRESS/128 dev tap0",)
        yield _case(f"and its IPv4 address is known, {name}", "that one has its route", host, 1, says=says)
    for name, near, fires in (("unheard", None, 0), ("heard by IPv4", "10.1.0.5", 0), ("heard", "fe80::5", 1)):
        host = HostBuilder().link("eth0").tap("tap0").route("10.1.0.5/32", dev="tap0")
        for number in (1, 2):
            host.tap(f"tap{number}").neighbour(f"fe80::{number}", dev=f"tap{number}", state="stale")
            host.route(f"2001:db8::{number}/128", dev=f"tap{number}").route(f"10.1.0.{number}/32", dev=f"tap{number}")
        if near:
            host.neighbour(near, dev="tap0", state="stale", confirmed=600.0)
        yield _case(f"one of three without IPv6, {name}", "the others speak it; it may be of IPv4 alone", host, fires)


def _silent() -> Iterator[Example]:
    yield _case("routed", "the healthy worker", _two().route("10.1.0.6/32", dev="tap1"))
    yield _case("routed in another table", "by policy", _two().route("10.1.0.6/32", dev="tap1", table=100))
    yield _case("subnet", "a /30 a guest", _two().address("tap1", "10.1.0.9/30"))
    pool = HostBuilder().link("eth0").tap("tap0").tap("tap1", holder=None).route("10.1.0.5/32", dev="tap0")
    yield _case("warm pool", "nobody holds it", pool)
    bridged = _two().link("br0", kind="bridge")
    yield _case("port of a bridge", "the bridge has the subnet", bridged.tap("tap1", master="br0"))
    both = _two().tap_filtered("tap0").tap_filtered("tap1")
    yield _case("filters on both", "what they do is not read", both)
    yield _case("redirected by tc", "Firecracker under CNI: a filter joins tap and veth", _two().tap_filtered("tap1"))
    yield _case("down", "tap-down-vmm-eio speaks", _two().tap("tap1", up=False))
    bare = HostBuilder().link("eth0").tap("tap1")
    yield _case("no sign of routing", "a machine without a network", bare, 1, severity="info")
    alone = HostBuilder().sysctl("net.ipv4.ip_forward", 1).link("eth0").tap("tap1")
    yield _case("a VMM on a host that forwards", "the only guest lost its route", alone, 1, severity="warning")
    old = _two().route("2001:db8::6/128", dev="tap1").neighbour("10.1.0.6", dev="tap1", state="stale", confirmed=60.0)
    yield _case("neighbour of long ago", "the guest gave that address up", old)
    policy = _two().route("10.1.0.0/24", dev="tap1", table=100).neighbour("10.1.0.6", dev="tap1")
    yield _case(
        "policy routing", "the rule that leads to table 100 needs a mark", policy.rule(100, table=100, fwmark=1)
    )
    wrong = _two().route("10.1.0.7/32", dev="tap1").neighbour("10.1.0.5", dev="tap1")
    yield _case("the route leads to another guest", "tap-route-to-wrong-tap speaks", wrong)
    local = _two().route("10.1.0.6/32", dev="tap1").neighbour("fe80::5", dev="tap1")
    yield _case("link-local neighbour", "every guest has one", local)
    yield _case("XDP on the tap", "a program may take its frames", _two().tap("tap1", xdp=Xdp(mode="native")))
    unknown = (
        _two().route("2001:db8::6/128", dev="tap1").neighbour("10.1.0.6", dev="tap1", state="stale", confirmed=None)
    )
    yield _case("neighbour, when is not told", "it may be long ago", unknown)
    fixed = _two().route("2001:db8::6/128", dev="tap1").neighbour("10.1.0.6", dev="tap1", state="permanent")
    yield _case("written down", "nobody answered", fixed)
    first = _two().route("10.1.0.6/32", dev="tap1").neighbour("10.1.0.6", dev="tap1")
    first.route("default", via="192.0.2.9", dev="eth0", table=100).rule(100, table=100)
    yield _case("a rule that leads elsewhere first", "policy routing decides", first)

    def three(**last: object) -> HostBuilder:
        host = _two().route("2001:db8::5/128", dev="tap0").route("10.1.0.6/32", dev="tap1")
        return host.tap("tap2", **last).route("10.1.0.7/32", dev="tap2")  # type: ignore[arg-type]

    yield _case("one of two siblings has both families", "they differ", three())
    yield _case(
        "the other sibling is down", "one alone shows nothing", three(up=False).route("2001:db8::7/128", dev="tap2")
    )
    own = _two().route("2001:db8::5/128", dev="tap0").tap("tap2").route("10.1.0.7/32", dev="tap2")
    own.route("2001:db8::7/128", dev="tap2").address("tap1", "10.1.0.9/30")
    yield _case("a subnet beside siblings with both", "it is reached by that", own)
    info: dict[str, object] = {"severity": "info"}
    yield _case(
        "two machines without a network", "no sign for either", HostBuilder().tap("tap0").tap("tap1"), 2, **info
    )
    idle = HostBuilder().tap("tap0", up=False).tap("tap1").route("10.1.0.5/32", dev="tap0")
    yield _case("a sibling that is down has one", "it may be of the past", idle, 1, **info)
    unseen = HostBuilder().tap("tap1").neighbour("fe80::5", dev="tap1").address("tap1", "fe80::1/64")
    yield _case("link-local only", "no sign of routing", unseen, 1, **info)
    program = HostBuilder().sysctl("net.ipv4.ip_forward", 1).tap("tap1", holder="openvpn")
    yield _case("a program on a host that forwards", "no machine that is known", program, 1, **info)
