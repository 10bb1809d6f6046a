"""What overlap-subnet-two-ifaces says of two subnets, and which of them it would take away. Pure."""

from netdiag.index.subnets import Subnet
from netdiag.index.view import HostView
from netdiag.rules.apart import inside
from netdiag.rules.shape import quoted
from netdiag.rules.unscoped import default_ways


def words(view: HostView, family: str, inner: Subnet, outer: Subnet) -> str:
    """Who is lost: hosts of the wider subnet behind a card, or what is beyond the card of the narrower one."""
    name, other = inner.link.ifname, outer.link.ifname
    if inner.network == outer.network:
        return f"{other} and {name} are both in {inner.network}: what this host sends there leaves by {other} alone"
    nested = f"{inner.network} on {name} lies inside {outer.network} on {other}: "
    if inner.link.ifindex in default_ways(view, family) and _own_network(view, family, outer):
        return nested + f"whatever else of {outer.network} lies beyond {name} is looked for on {other}"
    return nested + f"hosts of that range behind {other} cannot be reached"


def fix(view: HostView, family: str, inner: Subnet, outer: Subnet) -> str:
    """The address that can be spared: never that of a way out, and rather that of this host's own guests."""
    ways = default_ways(view, family)
    spare = [one for one in (inner, outer) if one.address is not None and one.link.ifindex not in ways]
    own = [one for one in spare if _own_network(view, family, one)]
    for one in (*own, *spare)[:1]:
        assert one.address is not None
        local = f"{one.address.local}/{one.address.prefixlen}"
        return f"ip address del {local} dev {quoted(one.link.ifname)}  # and give that network another range"
    return "give one of the two networks another range"


def _own_network(view: HostView, family: str, subnet: Subnet) -> bool:
    return inside(view, family, subnet.link)
