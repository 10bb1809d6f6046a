"""IPv4 addresses that hang on the first one of their subnet (net/ipv4/devinet.c). Pure; nothing can fail."""

import ipaddress
from collections.abc import Iterator
from typing import NamedTuple

from netdiag.index.view import HostView
from netdiag.model.address import IFA_F_SECONDARY
from netdiag.rules.expected import same_link
from netdiag.rules.routing.route_onlink_missing_gateway import attached, by_gateway, holds
from netdiag.rules.sockets_tcp.ip_nonlocal_bind import fails_over, unowned


class Subnet(NamedTuple):
    """A primary address with those that hang on it, as ``192.0.2.2/24``."""

    ifname: str
    primary: str
    secondaries: tuple[str, ...]

    @property
    def every(self) -> tuple[str, ...]:
        """All of them, the primary one first."""
        return self.primary, *self.secondaries


def subnets(view: HostView) -> Iterator[Subnet]:
    """Every subnet of an interface that has more than one address."""
    primaries: dict[tuple[int, str], str] = {}
    others: dict[tuple[int, str], list[str]] = {}
    for row in view.addresses:
        if row.family != "inet":
            continue
        text = f"{row.local}/{row.prefixlen}"
        key = row.ifindex, str(ipaddress.ip_network(f"{row.peer or row.local}/{row.prefixlen}", strict=False))
        if row.flags & IFA_F_SECONDARY:
            others.setdefault(key, []).append(text)
        else:
            primaries[key] = text
    for key, found in others.items():
        if key in primaries:
            yield Subnet(view.ifname(key[0]), primaries[key], tuple(found))


class Missed(NamedTuple):
    """Addresses that programs still listen on, beside a gateway whose subnet no interface has any more."""

    ifname: str
    gateway: str
    addresses: tuple[str, ...]


def missed(view: HostView) -> Iterator[Missed]:
    """What is left of a subnet that went with its first address: a gateway in no subnet of its interface, and two or
    more addresses around it (/24) that programs are bound to and this host has not; nor any other of that net. Without
    promotion only; not beside keepalived, whose standby looks so."""
    asked = ("sockets", "routes", "rules", "nexthops", "identity")
    if not all(view.read_whole(table) for table in asked) or fails_over(view):
        return
    if view.sysctl_int("net.ipv4.ip_nonlocal_bind") != 0:
        return
    bound = unowned(view)
    for ifindex, gateway in by_gateway(view, "inet") if len(bound) > 1 else ():
        around = ipaddress.ip_network(f"{gateway}/24", strict=False)
        lost = sorted(address for address in bound if ipaddress.ip_address(address) in around)
        own = any(row.family == "inet" and ipaddress.ip_address(row.local) in around for row in view.addresses)
        held = holds(attached(view, "inet", [ifindex]).get(ifindex, ()), gateway)
        if len(lost) > 1 and not own and not held and not promotes(view, view.ifname(ifindex)):
            yield Missed(view.ifname(ifindex), gateway, tuple(lost))


def promotes(view: HostView, ifname: str) -> bool:
    """Whether the next address takes the place of a primary one that is deleted; True where that is not known."""
    link = view.stack.by_name.get(ifname)
    own = link.inet_conf.get("promote_secondaries") if link else None
    return bool(view.sysctl_int("net.ipv4.conf.all.promote_secondaries")) or own is None or bool(own)


def flushed(old: HostView, new: HostView) -> list[Subnet]:
    """Subnets of the baseline that are gone as a whole, where the kernel would do that by itself; or of which only the
    first address is there and two or more that hung on it are not: it was deleted and made again."""
    here = {row.local for row in new.addresses}
    found = []
    for group in subnets(old):
        if same_link(old, new, group.ifname) is None or promotes(new, group.ifname):
            continue
        left = [each for each in group.every if each.partition("/")[0] in here]
        if not left or (left == [group.primary] and len(group.secondaries) > 1):
            found.append(group)
    return found
