"""What it checks
  An interface has a global IPv6 address that the kernel made from router advertisements, accepts default routes from
  them, and there is no IPv6 default route at all: the router has withdrawn itself (lifetime 0), or said in a neighbour
  advertisement that it is no router any more.

Why it matters
  The address stays for hours after the default route is gone. Programs see a global address, try IPv6 first, and wait
  for nothing; services on this host get requests by other ways and cannot answer.

Confirm
  ip -6 route show default
  ip -6 neigh show dev IFNAME           (no "router" behind the gateway's entry)
  rdisc6 IFNAME, or tcpdump -ni IFNAME icmp6

Fix
  Mend the router: radvd or the routing daemon that stopped, AdvDefaultLifetime 0, forwarding that was switched off
  (a Linux router then clears its router flag). Until then: ip -6 route add default via GATEWAY dev IFNAME. The next
  advertisement with a lifetime brings the route back by itself.

Not flagged
  A default route by whatever way: by hand, of a daemon, in any table that rules lead to (for some sources or
  interfaces alone does not count), one that refuses. Unique local
  prefixes, which routers without a way out announce on purpose. Interfaces that do not take default routes from
  advertisements (accept_ra, accept_ra_defrtr, forwarding). Addresses by DHCPv6 or by hand.

References
  RFC 4861 sections 6.2.5 and 7.2.5; net/ipv6/ndisc.c ndisc_router_discovery(), ndisc_recv_na() (rt6_clean_tohost())
"""

import ipaddress
from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.address import IFA_F_MANAGETEMPADDR, IFA_F_PERMANENT, Address
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.model.neighbour import NTF_PROXY, NTF_ROUTER, NUD_DELAY, NUD_PROBE, NUD_REACHABLE, NUD_STALE
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.waysout import default_oifs

RULE = Rule(
    id="ndp-router-flag-gone",
    title="the router that gave this host its IPv6 address is no router any more",
    severity="warning",
    confidence="likely",
    reads=("links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls"),
    explains=("route-default-missing", "ip-in-noroutes"),
    family="inet6",
)
GLOBAL = ipaddress.ip_network("2000::/3")
KERNEL_RA = 2
"""IFAPROT_KERNEL_RA, Linux 5.18: the kernel made the address from a router advertisement."""
KNOWN = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE


def check(view: HostView) -> Iterator[Draft]:
    if default_oifs(view, "inet6", of_all=True) is not None:
        return
    for row in view.addresses:
        link = view.link(row.ifindex)
        if link is not None and link.lower_up and _advertised(row) and _listens(view, link):
            yield _draft(view, link, row)
            return


def _advertised(row: Address) -> bool:
    """Whether the kernel made a global address from an advertisement."""
    if ipaddress.ip_address(row.local) not in GLOBAL:
        return False
    made = row.flags & IFA_F_MANAGETEMPADDR and not row.flags & IFA_F_PERMANENT
    return row.proto == KERNEL_RA or (row.proto is None and bool(made))


def _listens(view: HostView, link: Link) -> bool:
    """Whether the kernel takes a default route from advertisements on the interface (ipv6_accept_ra())."""
    conf = link.inet6_conf
    accept = conf.get("accept_ra", 1)
    heard = accept == 2 or (accept == 1 and not conf.get("forwarding", 0))
    return heard and conf.get("accept_ra_defrtr", 1) == 1


def _former(view: HostView, link: Link) -> str | None:
    """A link-local neighbour that is there and says that it is no router; None where there is not just one."""
    table = view.neighbours
    rows = (table.ifindex == link.ifindex) & (table.family == 10) & (table.flags & (NTF_PROXY | NTF_ROUTER) == 0)
    rows &= (table.state & KNOWN != 0) & (table.dst[:, 0] == 0xFE)
    found = np.flatnonzero(rows).tolist()
    return table.row(found[0]).dst if len(found) == 1 else None


def _draft(view: HostView, link: Link, row: Address) -> Draft:
    former = _former(view, link)
    who = f"; {former}, the one neighbour there, is no router" if former else ""
    ifname = quoted(link.ifname)
    evidence: list[tuple[str, object, str]] = [
        (f"{row.local} made by", "a router advertisement", f"RTM_GETADDR {link.ifname} IFA_PROTO"),
        ("IPv6 default route", "none", "RTM_GETROUTE ::/0"),
    ]
    if former:
        evidence.append((f"neighbour {former} router", "no", f"RTM_GETNEIGH {former} NDA_FLAGS"))
    return RULE.found(
        subject=subject("link", ifname=link.ifname),
        message=f"{link.ifname} has {row.local} by a router advertisement, and no router any more: there is no IPv6"
        f" default route{who}",
        evidence=evidence,
        confirm=["ip -6 route show default; ip -6 route get 2001:db8:ffff::77", f"ip -6 address show dev {ifname}"],
        fix=f"ip -6 route add default via {former or 'GATEWAY'} dev {ifname}  # until the router is back",
        touches=[subject("address", address=row.local, ifname=link.ifname)],
        breaks=[subject("route", dst="::/0", table=254)],
    )


def examples() -> Iterator[Example]:
    def host(address: str = "2001:db8:1::2/64", *, conf: dict[str, int] | None = None, **fields: Any) -> HostBuilder:
        made = HostBuilder().link("eth0", inet6_conf=conf or {}, up=fields.pop("up", True))
        made.address("eth0", "fe80::2/64")
        known: dict[str, Any] = {"flags": IFA_F_MANAGETEMPADDR, "proto": KERNEL_RA, "valid_lft": 3600}
        return made.address("eth0", address, **(known | fields))

    def case(name: str, why: str, made: HostBuilder, fires: int = 0, **more: Any) -> Example:
        return Example(name=name, why=why, tables=made.build(), fires=fires, **more)

    yield case("no default route", "the plain fault", host(), 1, severity="warning")
    silent = host().neighbour("fe80::1", dev="eth0", state="stale")
    silent.neighbour("fe80::9", dev="eth0", state="failed")
    yield case("the neighbour is no router", "it is named", silent, 1, says=("neighbour fe80::1 router no",))
    router = host().neighbour("fe80::1", dev="eth0", state="stale", flags=NTF_ROUTER)
    yield case("a neighbour is a router", "and still gives no default route", router, 1)
    old = host(proto=None)
    yield case("an old kernel", "its flags tell", old, 1)
    by_hand = host(proto=None, flags=IFA_F_PERMANENT, valid_lft=None)
    yield case("by hand", "no router gave it", by_hand)
    yield case("DHCPv6", "another program made it", host(proto=None, flags=0))
    yield case("default route by hand", "somebody cares for it", host().route("default", via="fe80::1", dev="eth0"))
    yield case("refused", "somebody says that there is no way out", host().route("::/0", type="unreachable"))
    policy = host().route("default", via="fe80::1", dev="eth0", table=100).rule(100, family="inet6", table=100)
    yield case("in another table", "rules lead there", policy)
    aside = host().link("eth1").route("default", via="fe80::9", dev="eth1", table=100)
    aside.rule(100, family="inet6", table=100, src="2001:db8:9::2", src_len=128)
    yield case("for another source alone", "this address has no use of it", aside, 1)
    yield case("unique local", "announced without a way out", host("fd00:1::2/64"))
    yield case("does not listen", "accept_ra 0", host(conf={"accept_ra": 0}))
    yield case("router itself", "forwarding: accept-ra-with-forwarding", host(conf={"forwarding": 1}))
    yield case("router that listens", "accept_ra 2", host(conf={"forwarding": 1, "accept_ra": 2}), 1)
    yield case("no default routes wanted", "accept_ra_defrtr 0", host(conf={"accept_ra_defrtr": 0}))
    yield case("down", "nothing is heard", host(up=False))
    mother = host(proto=None, flags=IFA_F_MANAGETEMPADDR | IFA_F_PERMANENT, valid_lft=None)
    yield case("by hand, with temporary ones below", "no router gave it", mother)
    yield case("by a daemon that says so", "it made the address, and keeps its routes", host(proto=99))
    cut = HostBuilder().link("eth0", carrier=False).address("eth0", "2001:db8:1::2/64", flags=IFA_F_MANAGETEMPADDR)
    yield case("no carrier", "nothing is heard", cut)
