"""Rules for an own address that come behind "not fwmark MARK lookup TABLE": what wg-quick does to policy routing.

A rule without a number gets the one below the first that is there (net/core/fib_rules.c, fib_default_rule_pref()). So a
tunnel that is started after rules for the addresses of other uplinks stands in front of them, and takes all that has no
mark. A rule behind it that selects by an own address is meant for this host's own packets, which have none, unless the
firewall gives the mark. One that selects no source is for the tunnel's own packets. Pure.
"""

import ipaddress
from collections.abc import Iterator
from typing import Any

from netdiag.index.nftpacket import Packet
from netdiag.index.shadow import Shadow, Shadows, without_mark
from netdiag.index.view import HostView
from netdiag.model.policyrule import PolicyRule
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example


def unmarked(view: HostView, family: str) -> Iterator[Shadow]:
    """Rules for an own address whose unmarked packets an earlier "not fwmark" takes, that one with it."""
    if view.unknown("nft"):
        return  # something may give the mark
    shadows = Shadows(view.rules, view.fib(family), view.stack)
    for shadow in shadows.find(unmarked=True):
        address = _own(view, shadow.rule) if without_mark(shadow.by) else None
        if address is None:
            continue
        sent = view.netfilter.hook("output", Packet(family=family, iif="", saddr=address, mark=0, daddr_type="unicast"))
        if sent.packet.mark == 0:
            yield shadow


def _own(view: HostView, rule: PolicyRule) -> str | None:
    """The address of this host that the rule selects; None where it selects more, or anything else."""
    if rule.fwmask or rule.iif not in (None, "lo") or not rule.src:
        return None
    network = ipaddress.ip_network(f"{rule.src}/{rule.src_len}", strict=False)
    own = (row for row in view.addresses if row.scope == 0)
    return next((row.local for row in own if ipaddress.ip_address(row.local) in network), None)


def unmarked_examples() -> Iterator[Example]:
    """Of rule-shadowed."""
    tunnel: dict[str, Any] = {"table": 51820, "fwmark": 51820, "invert": True}
    mine: dict[str, Any] = {"table": 60, "src": "10.1.0.1", "src_len": 32}
    for name, why, first, second, fires in (
        ("wg-quick in front of an address's rule", "its packets have no mark", tunnel, mine, 1),
        ("wg-quick in front of a subnet's rule", "this host's address is in it", tunnel,
         mine | {"src": "10.1.0.0", "src_len": 24}, 1),
        ("wg-quick in front of a subnet's rule with an odd name", "the kernel masks what was typed", tunnel,
         mine | {"src": "10.1.0.77", "src_len": 24}, 1),
        ("wg-quick, then a rule for what this host sends", "from lo", tunnel, mine | {"iif": "lo"}, 1),
        ("wg-quick, then a rule for what comes in", "the firewall may mark it", tunnel, mine | {"iif": "eth1"}, 0),
        ("wg-quick, then a rule for a link's address", "its packets stay on the link", tunnel,
         mine | {"src": "169.254.1.1"}, 0),
        ("wg-quick, and no nftables in the kernel", "nothing gives a mark", tunnel, mine, 1),
        ("wg-quick, and the firewall was not read", "something may give the mark", tunnel, mine, 0),
        ("wg-quick behind an address's rule", "in the right order", mine, tunnel, 0),
        ("wg-quick, then a rule for its own packets", "they have the mark", tunnel, {"table": 60}, 0),
        ("wg-quick, then a rule for a guest", "the firewall may mark it", tunnel, mine | {"src": "10.9.0.9"}, 0),
        ("wg-quick, then a rule by address and mark", "for the tunnel's packets", tunnel, mine | {"fwmark": 51820}, 0),
        ("all but a network, then an address's rule", "no mark is asked for",
         {"table": 51820, "src": "10.9.0.0", "src_len": 16, "invert": True}, mine, 0),
        ("all but an address's own packets", "they come to its rule",
         tunnel | {"src": "10.1.0.1", "src_len": 32}, mine, 0),
    ):  # fmt: skip
        host = HostBuilder().link("eth0").link("eth1").link("wg0").address("eth0", "10.0.0.1/24")
        host.address("eth1", "169.254.1.1/16", scope=253).address("eth1", "10.1.0.1/24").route(
            "default", via="10.0.0.2", dev="eth0"
        )
        host.route("default", via="10.1.0.2", dev="eth1", table=60).route("default", dev="wg0", table=51820)
        host.rule(998, table=254, suppress_prefixlength=0).rule(999, **first).rule(1000, **second)
        says = ("gets no packet without the mark",) if fires else ()
        late, absent = ("nft",) * name.endswith("not read"), ("nft",) * ("no nftables" in name)
        given: dict[str, Any] = {"late": late, "absent": absent, "unjudged": bool(late)}
        yield Example(name=name, why=why, tables=host.build(), fires=fires, says=says, **given)
