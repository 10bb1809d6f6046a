"""IPv4 addresses that hang on the first one of their subnet (net/ipv4/devinet.c). Pure; nothing can fail."""

import ipaddress
from collections.abc import Iterator
from typing import NamedTuple

from netdiag.index.view import HostView
from netdiag.model.address import IFA_F_SECONDARY
from netdiag.rules.expected import same_link


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
