"""What it checks
  rx_dropped of an interface grows between two looks while nothing that means loss of wanted packets does.

Why it matters
  It does not: that is why it is said. The kernel counts there what it has no use for: LLDP, STP, IPX, VLANs that nobody
  has configured, and on inactive legs of a bond everything. People look for a fault here that does not exist.

Confirm
  ip -s -s link show dev IFNAME
  tcpdump -c 5 -e -n -i IFNAME not ip and not ip6 and not arp

Fix
  None is needed. To quiet the counter: switch off LLDP or STP on the switch's port, or run a daemon that listens.

Not flagged
  Never more than an info. Not said at all where missed, fifo or overrun errors grow (nic-ring-drops), or where a CPU's
  input queue overflows (softnet-backlog-drop), which is counted in rx_dropped too, nor of an interface with an XDP
  program, which may have dropped them, nor of a veth whose other end has a larger MTU: then they may have been too
  large (link-mtu-peer-mismatch). With --interval 0 not evaluated.

References
  net/core/dev.c __netif_receive_skb_core(): unhandled protocols; include/uapi/linux/if_link.h rx_dropped, rx_nohandler
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Stats64, Xdp
from netdiag.rules import cards
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.softnet import moves

RULE = Rule(
    id="rx-dropped-unknown-proto",
    title="rx_dropped grows, and nothing is broken",
    severity="info",
    confidence="likely",
    reads=("links", "deltas"),
    consults=("peer_links",),
)
REAL = ("rx_missed_errors", "rx_over_errors", "rx_fifo_errors", "rx_errors")


def check(view: HostView) -> Iterator[Draft]:
    if any(move.dropped for move in moves(view.deltas).values()):
        return
    for row in cards.moved(view.deltas, view.links, real=False):
        dropped, link = row.by("rx_dropped"), row.link
        if not dropped or row.by(*REAL) or link.kind == "tun" or link.xdp is not None:
            continue
        far = view.stack.veth_peer(link.ifindex)
        if far is not None and far.mtu > link.mtu:
            continue
        yield RULE.found(
            subject=subject("link", ifname=link.ifname),
            message=f"{link.ifname} counts {dropped} packets as rx_dropped in {view.deltas.seconds:.1f} s, of "
            "protocols that nobody here takes (LLDP, STP, unknown VLANs): not a fault",
            evidence=[
                ("rx_dropped between two looks", dropped, f"RTM_GETLINK {link.ifname} IFLA_STATS64 rx_dropped"),
                ("missed, fifo, overrun", 0, f"RTM_GETLINK {link.ifname} IFLA_STATS64"),
            ],
            confirm=[f"ip -s -s link show dev {quoted(link.ifname)}"],
            fix="none is needed",
        )


def _case(name: str, why: str, after: Stats64, fires: int = 0, **more: Any) -> Example:
    host = HostBuilder().link("eth0", kind=more.pop("kind", None), **more.pop("link", {}))
    if "far" in more:
        host.link("eth1", kind="veth", ifindex=9, mtu=more.pop("far"))
    samples = [{"links": (host.link_counters("eth0", stats=stats),)} for stats in (Stats64(rx_dropped=7), after)]
    return Example(
        name=name, why=why, tables=host.counters(before=samples[0], after=samples[1]).build(), fires=fires, **more
    )


def examples() -> Iterator[Example]:
    yield _case("LLDP", "the usual reason", Stats64(rx_dropped=8), 1, severity="info")
    yield _case("a bridge", "it counts what it takes to nobody", Stats64(rx_dropped=8), 1, kind="bridge")
    yield _case("the past", "nothing has moved", Stats64(rx_dropped=7))
    yield _case("missed as well", "another rule speaks", Stats64(rx_dropped=9, rx_missed_errors=1))
    yield _case("XDP", "the program may have dropped them", Stats64(rx_dropped=9), link={"xdp": Xdp(mode="native")})
    yield _case("tap", "there it is a machine that does not read", Stats64(rx_dropped=9), kind="tun")
    for mtu, fires in ((1501, 0), (1500, 1)):
        veth = {"link": 9}
        yield _case(
            f"veth, {mtu} beyond", "were they too large?", Stats64(rx_dropped=9), fires, kind="veth", link=veth, far=mtu
        )
