"""What it checks
  Ends of veth pairs that are up here while their other end, in another namespace, is set down: what containers leave
  behind that were stopped badly, or never started fully.

Why it matters
  Each is an interface, often a bridge port with an address, that leads nowhere. By the hundred they slow down every
  dump and every tool that walks over interfaces, and they keep the names and addresses that the next container wants.

Confirm
  ip -br link show type veth
  ip netns list-id

Fix
  ip link del dev IFNAME: deletes both ends. Look first whether the namespace is still somebody's (lsns -t net): a
  container that is just starting brings its end up within a second.

Not flagged
  Never more than an info: from one look nobody can tell a container that is being started from one that is gone. Pairs
  within this namespace. Far ends that could not be read.

References
  drivers/net/veth.c veth_open(), veth_close(); if_link.h IFLA_LINK_NETNSID
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="veth-leg-orphan-peer-gone",
    title="ends of veth pairs lead nowhere",
    severity="info",
    confidence="likely",
    reads=("links", "peer_links"),
)


def check(view: HostView) -> Iterator[Draft]:
    far = {row.ifindex: row.peer for row in view.peer_links}
    lost = sorted(
        link.ifname
        for link in view.links
        if link.kind == "veth" and link.up
        if link.ifindex in far and not far[link.ifindex].up
    )
    if lost:
        name = quoted(lost[0])
        yield RULE.found(
            subject=subject("link", ifname=lost[0]),
            message=f"{len(lost)} end{'s' if len(lost) > 1 else ''} of veth pairs lead{'' if len(lost) > 1 else 's'} "
            f"nowhere, {lost[0]} first: the other end is set down in its namespace",
            evidence=[
                (
                    ifname,
                    "up, without a carrier; its peer is down",
                    f"RTM_GETLINK {ifname} operstate, IFLA_LINK_NETNSID",
                )
                for ifname in lost[:3]
            ],
            confirm=[f"ip -d link show dev {name}", "ip netns list-id || lsns -t net"],
            fix=f"ip link del dev {name}  # deletes both ends; first look whether the namespace is still somebody's",
        )


def _host(*, far_up: bool, carrier: bool = False, up: bool = True) -> HostBuilder:
    host = HostBuilder().link("veth1", kind="veth", up=up, carrier=carrier)
    return host.peer("veth1", flags=1 if far_up else 0)


def examples() -> Iterator[Example]:
    about = subject("link", ifname="veth1")
    down = _host(far_up=False).build()
    yield Example(name="peer set down", why="what a dead container leaves", tables=down, fires=1, subject=about)
    both = _host(far_up=False).link("veth0", kind="veth", carrier=False).peer("veth0", flags=0).build()
    yield Example(name="two", why="told once, by the first name", tables=both, fires=1, says=("2 ends", "veth0 first"))
    yield Example(name="running", why="both ends are up", tables=_host(far_up=True, carrier=True).build())
    yield Example(name="set down here", why="on purpose", tables=_host(far_up=False, up=False).build())
    pair = HostBuilder().link("a", kind="veth", link=3, carrier=False).link("b", kind="veth", link=2, up=False)
    yield Example(name="both here", why="no container's", tables=pair.build())
    alone = HostBuilder().link("veth1", kind="veth", carrier=False, link=2, link_netnsid=0)
    yield Example(name="far end unread", why="nobody knows", tables=alone.build())
    waits = _host(far_up=True).build()
    yield Example(name="no carrier yet", why="the other end is up", tables=waits)
    can = HostBuilder().link("vxcan0", kind="vxcan", carrier=False).peer("vxcan0", flags=0).build()
    yield Example(name="of another kind", why="no container's", tables=can)
