"""What it checks
  Both ends of a cable (a veth pair) are in this network namespace, each with an address of one subnet, and neither
  accepts packets whose source is an address of this host (accept_local).

Why it matters
  A packet that leaves by one end comes in by the other with a source that is the host's own. The kernel takes it for
  spoofed and drops it ("martian source"), so nothing ever passes such a loop: neither ARP nor a packet.

Confirm
  sysctl net.ipv4.conf.all.accept_local net.ipv4.conf.IFNAME.accept_local
  nstat -az IpInAddrErrors, and dmesg with log_martians=1

Fix
  Put one end into a namespace of its own, which is what such a pair is for. If the loop is meant: sysctl -w
  net.ipv4.conf.IFNAME.accept_local=1 for both ends, and rp_filter=0.

Not flagged
  Pairs of which one end is a port of a bridge, lies in a VRF or another namespace, or has no address: the usual ways
  to use them. Ends in different subnets. Packets of others with this host's source: they are dropped for a reason.

References
  net/ipv4/fib_frontend.c __fib_validate_source() (accept_local); Documentation/networking/ip-sysctl.rst accept_local
"""

import ipaddress
from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="accept-local-missing",
    title="a cable leads from this host to itself, and the kernel refuses its own packets",
    severity="info",
    confidence="likely",
    reads=("links", "peer_links", "addresses", "sysctls"),
)


def check(view: HostView) -> Iterator[Draft]:
    if view.sysctl_int("net.ipv4.conf.all.accept_local"):
        return
    for link in view.links:
        far = view.stack.veth_peer(link.ifindex) if link.link_netnsid is None else None
        if far is None or not all(_plain(end) for end in (link, far)):
            continue
        shared = _networks(view, link).keys() & _networks(view, far).keys()
        if shared:
            network = min(shared, key=str)
            one, other = sorted((link, far), key=lambda end: _networks(view, end)[network])
            yield _draft(one, other, str(network))


def _plain(end: Link) -> bool:
    return end.up and end.master is None and not end.inet_conf.get("accept_local")


def _networks(view: HostView, link: Link) -> dict[Any, Any]:
    """The subnets of an interface, with its address in each: which end is named does not depend on their numbers."""
    faces = [
        ipaddress.ip_interface(f"{row.local}/{row.prefixlen}")
        for row in view.addresses
        if row.ifindex == link.ifindex and row.prefixlen < 32
    ]
    return {face.network: face.ip for face in faces}


def _draft(link: Link, far: Link, shared: str) -> Draft:
    names = [f"net.ipv4.conf.{end.ifname.replace('.', '/')}.accept_local" for end in (link, far)]
    return RULE.found(
        subject=subject("link", ifname=link.ifname),
        message=f"{link.ifname} and {far.ifname} are two ends of one cable, both on this host and in {shared}:"
        " the kernel drops what comes through it from its own addresses",
        evidence=[
            (f"other end of {link.ifname}", far.ifname, f"RTM_GETLINK {link.ifname} IFLA_LINK"),
            (f"{link.ifname} accept_local", 0, f"RTM_GETLINK {link.ifname} IFLA_INET_CONF"),
        ],
        confirm=[f"sysctl net.ipv4.conf.all.accept_local {' '.join(map(quoted, names))}"],
        fix="; ".join(f"sysctl -w {quoted(name)}=1" for name in names),
        touches=[subject("link", ifname=far.ifname)],
    )


def _loop(one: str = "10.0.0.1/24", other: str | None = "10.0.0.2/24", **far: Any) -> HostBuilder:
    host = HostBuilder().link("br0", kind="bridge").link("v0", kind="veth", link=4, ifindex=3)
    host.link("v1", kind="veth", link="v0", ifindex=4, **far).address("v0", one)
    return host.address("v1", other) if other else host


def examples() -> Iterator[Example]:
    def case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=fires)

    yield case("both ends here", "the plain state", _loop(), 1)
    yield case("no address on the other", "nobody sends to it", _loop(other=None))
    yield case("other subnet", "two routed ends", _loop(other="10.0.1.2/24"))
    yield case("a pair", "the shortest subnet", _loop("10.0.0.0/31", "10.0.0.1/31"), 1)
    yield case("host addresses", "no subnet is shared", _loop("10.0.0.1/32", "10.0.0.1/32"))
    yield case("port of a bridge", "a cable into the host's own bridge", _loop(master="br0"))
    yield case("other end down", "nothing passes anyway", _loop(up=False))
    yield case("accepted", "somebody meant it", _loop(inet_conf={"accept_local": 1}))
    yield case("accepted everywhere", "the same", _loop().sysctl("net.ipv4.conf.all.accept_local", 1))
    guest = HostBuilder().link("v0", kind="veth", link=4, link_netnsid=0).address("v0", "10.0.0.1/24")
    yield case("other end elsewhere", "a container's", guest)
