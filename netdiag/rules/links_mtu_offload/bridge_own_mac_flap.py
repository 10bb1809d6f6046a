"""What it checks
  A bridge with addresses of its own changed its hardware address since it was brought up: it bears that of one port,
  and its link-local address was made of that of another port that is still there.

Why it matters
  A bridge without a fixed address takes the lowest of its ports'. When a port with a lower one is added (a container,
  a machine), the bridge's own address changes under all who talk to it: neighbours send to the old one until their
  entries age out, DHCP may hand out another address, and the same happens again when that port goes.

Confirm
  ip -br link show dev BRIDGE
  ip -br link show master BRIDGE
  ip -6 address show dev BRIDGE scope link

Fix
  ip link set dev BRIDGE address THE-OLD-ONE. An address that was set is kept from then on, whatever ports come and go.
  Neighbours that learned the present one need a moment. Put it into the bridge's configuration as well.

Not flagged
  Bridges whose address was set (by Docker, libvirt, CNI plugins): it is no port's. A bridge that got its first port
  after it was brought up. Bridges without an address of their own: nobody talks to them. Bridges without IPv6, or with
  a link-local address that was not made of a hardware address: whether they changed cannot be known.

References
  net/bridge/br_stp_if.c br_stp_recalculate_bridge_id() (NET_ADDR_SET); RFC 4291 appendix A;
  https://github.com/moby/libnetwork/issues/2380
"""

import ipaddress
from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bridge-own-mac-flap",
    title="a bridge changed its own hardware address with its ports",
    severity="warning",
    reads=("links", "addresses"),
    explains=("neigh-*",),
)


def made_of(address: str) -> str | None:
    """The hardware address that a link-local address was made of (modified EUI-64); None: of none."""
    raw = ipaddress.IPv6Address(address).packed[8:]
    if raw[3:5] != b"\xff\xfe":
        return None
    return bytes([raw[0] ^ 2, *raw[1:3], *raw[5:]]).hex(":")


def check(view: HostView) -> Iterator[Draft]:
    for bridge in view.links:
        if bridge.kind != "bridge" or not bridge.up:
            continue
        mine = [row for row in view.addresses if row.ifindex == bridge.ifindex]
        if not any(row.scope == 0 for row in mine):
            continue
        local = [row.local for row in mine if row.local.startswith("fe80:")]
        before = {made for each in local if (made := made_of(each)) is not None}
        ports = {port.address: port for port in view.stack.ports(bridge.ifindex) if port.address}
        if bridge.address in ports and bridge.address not in before:
            old = sorted(before & set(ports))
            if old:
                yield _finding(bridge, ports[bridge.address], ports[old[0]], old[0])


def _finding(bridge: Link, now: Link, then: Link, old: str) -> Draft:
    name = bridge.ifname
    return RULE.found(
        subject=subject("link", ifname=name),
        message=f"{name} had the hardware address of its port {then.ifname}, {old}, and now has that of {now.ifname}, "
        f"{bridge.address}: it changes with every port that has a lower one",
        evidence=(
            (f"{name} address", bridge.address, f"RTM_GETLINK {name} IFLA_ADDRESS"),
            (f"{now.ifname} address", now.address, f"RTM_GETLINK {now.ifname} IFLA_ADDRESS"),
            (f"link-local address of {name} was made of", old, f"RTM_GETADDR {name} IFA_ADDRESS"),
        ),
        confirm=(
            f"ip -br link show dev {quoted(name)}; ip -br link show master {quoted(name)}",
            f"ip -6 -br address show dev {quoted(name)} scope link",
        ),
        fix=f"ip link set dev {quoted(name)} address {old}",
        touches=(subject("link", ifname=now.ifname),),
        breaks=(subject("link", ifname=name),),
    )


LOW, HIGH, RANDOM = "02:00:00:00:00:01", "52:54:00:00:00:09", "5e:00:00:00:00:77"
OF_HIGH, OF_LOW, OF_RANDOM = "fe80::5054:ff:fe00:9/64", "fe80::ff:fe00:1/64", "fe80::5c00:ff:fe00:77/64"


def _bridge(
    address: str = LOW, local: str = OF_HIGH, *, own: bool = True, ports: tuple[str, ...] = (HIGH, LOW)
) -> HostBuilder:
    host = HostBuilder().link("br0", kind="bridge", address=address).address("br0", local)
    for number, port in enumerate(ports):
        host.link(f"p{number}", master="br0", address=port)
    return host.address("br0", "192.0.2.1/24") if own else host


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    about = subject("link", ifname="br0")
    yield _case("a lower port came", "the plain fault", _bridge(), 1, subject=about, says=(f"address {HIGH}",))
    six = _bridge(own=False).address("br0", "2001:db8::1/64")
    yield _case("IPv6 only", "it is talked to as well", six, 1)
    yield _case("address was set", "it is no port's", _bridge(address=RANDOM, local=OF_RANDOM))
    yield _case("as it came up", "lowest from the beginning", _bridge(local=OF_LOW))
    yield _case("first port after it was up", "it had a random one before", _bridge(local=OF_RANDOM))
    yield _case("no address of its own", "nobody talks to it", _bridge(own=False))
    yield _case("link-local by another way", "stable privacy", _bridge(local="fe80::1234:5678:9abc:def0/64"))
    gone = _bridge(ports=(LOW,))
    yield _case("the old port is gone", "what it was made of cannot be told from a random one", gone)
    yield _case("address set to another since", "it is no port's", _bridge(address=RANDOM))
    bond = _bridge().link("br0", kind="bond", address=LOW, ifindex=2)
    yield _case("a bond", "it takes its address from its active leg", bond)
    down = _bridge().link("br0", kind="bridge", address=LOW, up=False, ifindex=2)
    yield _case("the bridge is down", "nobody talks to it", down)
    other = _bridge(own=False).link("eth9").address("eth9", "192.0.2.1/24")
    yield _case("another interface's address", "nobody talks to the bridge", other)
    slaac = _bridge(local=OF_LOW).address("br0", "2001:db8::5054:ff:fe00:9/64")
    yield _case("a global address made of the old one", "it was so written down", slaac)
    bare = _bridge().link("br0", kind="bridge", address=None, ifindex=2).link("p9", master="br0", address=None)
    yield _case("no hardware address", "nothing to compare", bare)
