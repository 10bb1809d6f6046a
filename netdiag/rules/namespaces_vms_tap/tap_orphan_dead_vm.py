"""What it checks
  A persistent tap is up and still has routes or permanent neighbours of a guest, but the process that had it open is
  gone: the virtual machine died or was stopped, and what was set up for it stayed.

Why it matters
  The host goes on attracting traffic for a guest that does not exist: the routes are announced or answered for, and
  every packet is dropped at the tap. Leftovers of dead machines also use up addresses, names and rules, and the next
  machine that gets the same address meets the old route.

Confirm
  ip -details link show dev TAP                (NO-CARRIER, persist on)
  grep -lsxF "iff:<TAB>TAP" /proc/[0-9]*/fdinfo/*
  ip route show dev TAP

Fix
  ip link delete dev TAP removes the tap with its routes and neighbours; firewall rules that name it stay and must be
  removed by what made them. If the machine is only being restarted, wait for it instead.

Not flagged
  A machine that restarts takes seconds: the finding is gone on the next run. Taps of stopped machines to which
  nothing refers any more. Taps that never had a process: tap-no-owner-fd. Taps that are not persistent vanish with
  their process by themselves. Taps that are down lose their routes.

References
  drivers/net/tun.c __tun_detach(): the device stays where IFF_PERSIST is set, without carrier;
  https://github.com/aleph-im/aleph-vm/issues/579
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.guesttaps import READS, guest_taps, holders_command
from netdiag.rules.namespaces_vms_tap.tap_no_owner_fd import abandoned, expected
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="tap-orphan-dead-vm",
    title="a virtual machine is gone, its tap and routes are still there",
    severity="warning",
    reads=READS,
    explains=(
        "tap-no-owner-fd",
        "neigh-*",
        "vm-*",
        "proxy-ndp-missing",
        "route-linkdown-nexthop-used",
        "tap-tx-*",
    ),
)


def check(view: HostView) -> Iterator[Draft]:
    for tap in guest_taps(view):
        sign = expected(tap)
        if not sign or not abandoned(tap) or not tap.link.carrier_up_count:
            continue
        name = tap.link.ifname
        yield RULE.found(
            subject=tap.about,
            message=f"the process behind the tap {name} is gone, but {sign} still leads there: "
            "what is sent to that guest is lost",
            evidence=(
                (f"{name} carrier", "0", f"RTM_GETLINK {name} IFLA_CARRIER"),
                (f"times {name} was attached", tap.link.carrier_up_count, "RTM_GETLINK IFLA_CARRIER_UP_COUNT"),
                ("processes that hold it", "none", "/proc/*/fdinfo iff:"),
            ),
            confirm=(f"ip -details link show dev {quoted(name)}", holders_command(name)),
            fix=f"ip link delete dev {quoted(name)}  # its routes go with it; or start the machine again",
            touches=tap.objects,
            breaks=(*tap.objects, *(subject("neighbour", dst=row.dst, ifname=name) for row in tap.neighbours)),
        )


def _dead(**fields: object) -> HostBuilder:
    return HostBuilder().link("eth0").tap("tap0", **{"holder": None, "carrier_up_count": 1} | fields)  # type: ignore[arg-type]


def _case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires)


def examples() -> Iterator[Example]:
    yield _case("machine died", "its route stayed", _dead().route("10.1.0.5/32", dev="tap0"), 1)
    yield _case("IPv6", "the same", _dead().route("2001:db8::5/128", dev="tap0"), 1)
    fixed = _dead().neighbour("10.1.0.5", dev="tap0", state="permanent")
    yield _case("permanent neighbour", "the other thing that is set up for a guest", fixed, 1)
    yield _case("nothing refers to it", "a persistent tap of a stopped machine", _dead())
    yield _case(
        "address of the host only", "the host's own side refers to nobody", _dead().address("tap0", "10.1.0.1/24")
    )
    never = _dead(carrier_up_count=0).route("10.1.0.5/32", dev="tap0")
    yield _case("never held", "tap-no-owner-fd speaks", never)
    yield _case("alive", "a machine runs", HostBuilder().tap("tap0").route("10.1.0.5/32", dev="tap0"))
    yield _case("down", "routes went with it", _dead(up=False).neighbour("10.1.0.5", dev="tap0", state="permanent"))
