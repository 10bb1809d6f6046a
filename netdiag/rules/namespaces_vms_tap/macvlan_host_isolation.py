"""What it checks
  A macvlan or macvtap and the interface below it, both with addresses in this namespace.

Why it matters
  They cannot talk to each other, and what is behind the macvlan cannot talk to the host: a macvlan sends its frames out
  by the card, and the switch does not send them back. People take that for a firewall or routing fault.

Confirm
  ip -d link show type macvlan
  ping -I PARENT ADDRESS-OF-THE-MACVLAN

Fix
  None is needed where the two never talk. Else put the host's address on a macvlan (mode bridge) of its own on the same
  parent, or use a bridge with veth pairs instead.

Not flagged
  Never more than an info: it is how every mode of macvlan works. macvlans whose parent has no address here; those in
  another namespace than their parent, which cannot be seen from here.

References
  drivers/net/macvlan.c macvlan_queue_xmit(); Documentation of ip-link(8), macvlan
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="macvlan-host-isolation",
    title="a macvlan and the host below it cannot talk to each other",
    severity="info",
    reads=("links", "addresses"),
)
SCOPE_LINK = 253


def check(view: HostView) -> Iterator[Draft]:
    addressed = {row.ifindex for row in view.addresses if row.scope < SCOPE_LINK}
    for link in view.links:
        parent = view.stack.lower(link.ifindex) if link.kind in ("macvlan", "macvtap") and link.up else None
        if parent is None or not parent.up or parent.ifindex not in addressed or link.ifindex not in addressed:
            continue
        yield RULE.found(
            subject=subject("link", ifname=link.ifname),
            message=f"{link.ifname} and {parent.ifname} below it cannot reach each other: that is how macvlan works",
            evidence=[
                ("mode", link.info.get("mode"), f"RTM_GETLINK {link.ifname} IFLA_MACVLAN_MODE"),
                ("below it", parent.ifname, f"RTM_GETLINK {link.ifname} IFLA_LINK"),
            ],
            confirm=[f"ip -d link show dev {quoted(link.ifname)}"],
            fix="none is needed unless they must talk: then give the host a macvlan of its own on the same parent",
        )


def _case(
    name: str,
    why: str,
    fires: int = 0,
    *,
    above: bool = True,
    below: bool = True,
    up_below: bool = True,
    local: bool = False,
    **link: Any,
) -> Example:
    host = (
        HostBuilder()
        .link("eth0", up=up_below)
        .link("mv0", **({"kind": "macvlan", "link": "eth0", "info": {"mode": "bridge"}} | link))
    )
    if local:
        host.address("mv0", "fe80::2/64").address("eth0", "fe80::1/64")
    if above:
        host.address("mv0", "192.0.2.2/24")
    if below:
        host.address("eth0", "192.0.2.1/24")
    return Example(name=name, why=why, tables=host.build(), fires=fires)


def examples() -> Iterator[Example]:
    yield _case("both have addresses", "the two cannot talk", 1)
    yield _case("macvtap", "the same", 1, kind="macvtap")
    yield _case("parent without an address", "nobody would want to", below=False)
    yield _case("child without an address", "nobody would want to", above=False)
    yield _case("VLAN", "it talks by another network", kind="vlan")
    yield _case("parent elsewhere", "not to be seen from here", link_netnsid=0)
    yield _case("down", "not in use", up=False)
    yield _case("link-local addresses", "every interface has one", above=False, below=False, local=True)
    yield _case("parent down", "nobody talks", up_below=False)
