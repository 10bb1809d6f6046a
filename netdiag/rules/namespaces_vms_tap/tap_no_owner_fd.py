"""What it checks
  A tap is up and set up for a guest (somebody put a route or a permanent neighbour on it, told its bridge a hardware
  address behind it, or asked for an address there, where never anybody was, and got no answer), but no process has it
  open: the virtual machine was never started, or started with another tap; or it is gone, which tap-orphan-dead-vm then
  says above this.

Why it matters
  A tap is half a cable. Without a process that reads it the kernel takes its carrier away, and every packet to the
  guest is dropped where it is routed; nothing tells the sender. From outside the virtual machine looks hung.

Confirm
  ip -details link show dev TAP                (NO-CARRIER)
  grep -lsxF "iff:<TAB>TAP" /proc/[0-9]*/fdinfo/*
  ip route show dev TAP

Fix
  Start the virtual machine with this tap, or look which tap its configuration names. If no machine is meant to be
  here, delete the tap: ip link delete dev TAP; its routes and neighbours go with it, nothing else does.

Not flagged
  Taps made ahead for machines that do not exist yet (a warm pool): no route that somebody put there points to them,
  whatever address of the host they carry. Such a tap with an address of its own, or in a bridge, is an info at most,
  and so is that of a machine that was stopped, for nobody can tell it from one that died, one that some process held at
  the time of the baseline or whose guest is asked for still, and one single tap that was never held. Several to which
  nothing refers are a pool. Taps that are down. Taps with a carrier: their process may live in another PID namespace.

References
  drivers/net/tun.c __tun_detach() and tun_net_xmit(); Documentation/networking/tuntap.rst;
  https://github.com/firecracker-microvm/firecracker/issues/3465
"""

from collections.abc import Iterator
from dataclasses import replace

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_fdb import entry, fdb
from netdiag.rules.forsakentaps import asked_in_vain, held_then, written_down
from netdiag.rules.guesttaps import READS, GuestTap, guest_taps, holders_command
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="tap-no-owner-fd",
    title="a tap that is set up for a guest is held by no process",
    severity="warning",
    reads=READS,
    consults=("fdb", "baseline"),
    explains=("neigh-*", "vm-*", "proxy-ndp-missing", "route-linkdown-nexthop-used", "tap-tx-*"),
)


def abandoned(tap: GuestTap) -> bool:
    """Up, and neither the kernel nor /proc knows a process behind it."""
    return tap.link.up and not tap.held


def expected(tap: GuestTap) -> str:
    """What says that a guest is expected behind it; empty: nothing does."""
    if tap.routes:
        more = f" and {len(tap.routes) - 1} more" if len(tap.routes) > 1 else ""
        return f"the route to {tap.routes[0].dst}{more}"
    fixed = [row for row in tap.neighbours if row.state == "permanent"]
    return f"the permanent neighbour {fixed[0].dst}" if fixed else ""


def _left(tap: GuestTap) -> str:
    """What is so of a tap that is set up while nothing says that a guest is expected."""
    if tap.link.carrier_up_count:
        return "its machine was stopped or has died, and the tap is set up still"
    prepared = tap.connected or tap.link.master is not None
    return "it is set up, but nothing is routed there" if prepared else "it is up, and nothing refers to it"


def check(view: HostView) -> Iterator[Draft]:
    taps = guest_taps(view)
    missed = asked_in_vain(view) if taps else {}
    for tap in taps:
        if not abandoned(tap):
            continue
        asked, mac = missed.get(tap.link.ifindex, []), written_down(view, tap.link)
        then = held_then(view, tap.link)
        sign, times = expected(tap), tap.link.carrier_up_count or 0
        prepared = tap.connected or tap.link.master is not None or (len(taps) == 1 and not times)
        if not (sign or asked or mac or then or prepared):
            continue
        name = tap.link.ifname
        lost = "what is sent to it is lost"
        what = (
            f"{sign} leads there, {lost}"
            if sign
            else f"its bridge was told that {mac} is there, {lost}"
            if mac
            else f"somebody asks for {asked[0]} there, and {lost}"
            if asked
            else then or _left(tap)
        )
        yield RULE.found(
            subject=tap.about,
            severity="warning" if sign or mac or (asked and not times) else "info",
            confidence="certain" if sign or mac else "likely" if asked or then else "possible",
            message=f"no process holds the tap {name}{' any more' if times else ', and none ever did'}: {what}",
            evidence=(
                (f"{name} carrier", "0", f"RTM_GETLINK {name} IFLA_CARRIER"),
                (f"times {name} was attached", times, "RTM_GETLINK IFLA_CARRIER_UP_COUNT"),
                ("processes that hold it", "none", "/proc/*/fdinfo iff:"),
                *((f"neighbour {dst} dev {name}", "does not answer", "RTM_GETNEIGH") for dst in asked[:2]),
            ),
            confirm=(f"ip -details link show dev {quoted(name)}", holders_command(name)),
            fix=f"ip link delete dev {quoted(name)}  # if no machine is meant to be here; else start it with this tap",
            touches=tap.objects,
            breaks=(
                *tap.objects,
                *(subject("neighbour", dst=dst, ifname=name) for dst in (*(row.dst for row in tap.neighbours), *asked)),
            ),
        )


def _routed(**fields: object) -> HostBuilder:
    return HostBuilder().link("eth0").tap("tap0", **{"holder": None, "carrier_up_count": 0} | fields)  # type: ignore[arg-type]


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    about = subject("tap", ifname="tap0")
    plain = _routed().route("10.1.0.5/32", dev="tap0")
    yield _case("routed, nobody there", "the plain fault", plain, 1, subject=about, confidence="certain")
    v6 = _routed().route("2001:db8:1::5/128", dev="tap0")
    yield _case("IPv6 only", "a guest may have no IPv4", v6, 1, severity="warning")
    other = _routed().route("10.1.0.0/28", dev="tap0", table=100)
    yield _case("route of another table", "guests may be routed by policy", other, 1, severity="warning")
    several = _routed().link("eth1")
    several.route("10.1.0.0/24", hops=[several.hop("tap0"), several.hop("eth1")])
    yield _case("one of several next hops", "a part of the flows goes there", several, 1)
    before = _routed(carrier_up_count=1).route("10.1.0.5/32", dev="tap0")
    gone: dict[str, object] = {
        "severity": "warning",
        "says": ("holds the tap tap0 any more: the route to 10.1.0.5/32",),
    }
    yield _case("held before", "tap-orphan-dead-vm says why", before, 1, **gone)
    never = ("and none ever did",)
    untold = _routed(carrier_up_count=None).route("10.1.0.5/32", dev="tap0")
    yield _case("count not told", "an old kernel", untold, 1, says=never)
    for state, updated, severity in (
        ("failed", 5.0, "warning"),
        ("incomplete", 5.0, "warning"),
        ("failed", 61.0, "info"),
    ):
        asked = _routed().address("tap0", "10.1.0.1/30").neighbour("10.1.0.2", dev="tap0", state=state, updated=updated)
        why = "somebody wants the guest" if severity == "warning" else "somebody wanted the guest"
        yield _case(f"asked for in vain, {state}, {updated:g} s ago", why, asked, 1, severity=severity)
    ended = _routed(carrier_up_count=1).address("tap0", "10.1.0.1/30").neighbour("10.1.0.2", dev="tap0", state="failed")
    says = ("any more: somebody asks for 10.1.0.2 there",)
    yield _case("asked for still", "its machine ended a moment ago", ended, 1, severity="info", says=says)
    said = ("and none ever did: somebody asks for 10.1.0.2 there, and what is sent to it is lost",)
    again = _routed().address("tap0", "10.1.0.1/30").neighbour("10.1.0.2", dev="tap0", state="failed")
    yield _case("asked for in vain", "the words", again, 1, says=said)
    router = _routed().tap("tap1").neighbour("fe80::2", dev="tap0", state="failed")
    yield _case("a link-local address asked for", "a router solicitation's answer", router)
    yield from _bridged()
    fixed = _routed().neighbour("10.1.0.5", dev="tap0", state="permanent")
    yield _case("permanent neighbour", "somebody wrote down the guest's hardware address", fixed, 1, severity="warning")
    yield from _silent()


def _bridged() -> Iterator[Example]:
    """Behind a bridge, and by the baseline."""

    def host(**fields: object) -> HostBuilder:
        made = HostBuilder().link("br0", kind="bridge").tap("tap1", master="br0")
        return made.tap("tap0", **{"holder": None, "master": "br0", "carrier_up_count": 1} | fields)  # type: ignore[arg-type]

    for state, dev, severity in ((0x40, "tap0", "warning"), (0x80, "tap0", "info"), (0x40, "tap1", "info")):
        made = host()
        rows = fdb([entry(made, "52:54:00:00:00:05", None, dev=dev, state=state, flags=0)])
        says = ("its bridge was told that 52:54:00:00:00:05 is there",) if severity == "warning" else ()
        tables = replace(made.build(), fdb=rows)
        yield Example(name=f"entry {state:#x} of {dev}", why="libvirt writes down guests, and ports have their own",
                      tables=tables, fires=1, severity=severity, says=says)  # type: ignore[arg-type]  # fmt: skip
    then = host(holder="qemu", carrier_up_count=1).build()
    says = ("tap0 any more: qemu held it at the time of the baseline",)
    yield Example(name="held at the time of the baseline", why="machines of a pool come and go", tables=host().build(),
                  fires=1, severity="info", confidence="likely", baseline=then, says=says)  # fmt: skip
    yield Example(name="held by nobody then", why="it was stopped before", tables=host().build(), fires=1,
                  severity="info", baseline=host().build())  # fmt: skip


def _silent() -> Iterator[Example]:
    pool = _routed().tap("tap1", holder=None, carrier_up_count=0)
    yield _case("warm pool", "made ahead, nothing refers to them", pool)
    beside = _routed().tap("tap1")
    yield _case("one made ahead", "beside a machine's", beside)
    alone = ("and none ever did: it is up, and nothing refers to it",)
    yield _case("the only tap", "its machine did not start, or is to start", _routed(), 1, severity="info", says=alone)
    yield _case(
        "warm pool with an address",
        "the host's side is ready, no guest is routed: worth knowing at most",
        _routed().address("tap0", "10.1.0.1/30"),
        1,
        severity="info",
    )
    bridged = HostBuilder().link("br0", kind="bridge").tap("tap0", holder=None, master="br0", carrier_up_count=0)
    yield _case("port of a bridge", "libvirt leaves such taps of stopped machines", bridged, 1, severity="info")
    yield _case("link-local only", "every interface has fe80::/64", _routed().tap("tap1").address("tap0", "fe80::1/64"))
    yield _case("held", "a machine runs", HostBuilder().tap("tap0").route("10.1.0.5/32", dev="tap0"))
    unseen = _routed(carrier=True).route("10.1.0.5/32", dev="tap0")
    yield _case("carrier without a process", "its process lives in another PID namespace", unseen)
    yield _case("down", "nobody uses it", _routed(up=False).route("10.1.0.5/32", dev="tap0"))
    stopped = _routed(carrier_up_count=1).address("tap0", "10.1.0.1/30")
    left: dict[str, object] = {"severity": "info", "says": ("tap0 any more: its machine was stopped or has died",)}
    yield _case("held before, with an address", "its machine was stopped", stopped, 1, **left)
    dead = HostBuilder().link("br0", kind="bridge").tap("tap0", holder=None, master="br0", carrier_up_count=1)
    yield _case("held before, in a bridge", "stopped or dead, nobody can tell", dead, 1, **left)
    yield _case("held before, nothing set up", "a persistent tap, kept", _routed(carrier_up_count=1))
    tun = HostBuilder().link("tun0", kind="tun", info={"type": "tun"}, carrier=False).route("10.8.0.0/24", dev="tun0")
    yield _case("a VPN's tun", "no machine's", tun)
    stale = _routed().tap("tap1").neighbour("10.1.0.5", dev="tap0", state="stale")
    yield _case("a neighbour of the past", "nobody wrote it down", stale)
    quiet = HostBuilder().tap("tap0", carrier=False, carrier_up_count=0).route("10.1.0.5/32", dev="tap0")
    yield _case("held, its carrier taken away", "the monitor does that (TUNSETCARRIER)", quiet)
