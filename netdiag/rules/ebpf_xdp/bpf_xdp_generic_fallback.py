"""What it checks
  An XDP program runs in generic mode on an interface whose driver can run it natively: a veth, or a card whose driver
  says so.

Why it matters
  Generic XDP runs after the kernel has made a full packet buffer: the work that XDP is there to save is done already,
  and more, because packets are copied to have the head room that the program expects. Throughput falls to a fraction
  and the processor's load rises. Loaders fall back to it without a word where native mode was refused once.

Confirm
  ip link show dev IFNAME
  bpftool net show dev IFNAME

Fix
  Find what native mode was refused for (ip link set dev IFNAME xdpdrv ... prints the kernel's reason), take the
  generic program off and attach it natively. Between the two, packets pass without the program; some cards restart
  their queues and lose the link for a second.

Not flagged
  Interfaces that have no native mode worth the name: tap and tun, WireGuard, bridges, VLANs, tunnels. Drivers that do
  not say that they can. An interface that also runs a native program: both modes were asked for. A veth whose peer's
  MTU is over what native XDP takes (3506 bytes with pages of 4 KiB), where generic mode may be the only one: told as
  info, with what it takes to change that.

References
  net/core/dev.c do_xdp_generic(), drivers/net/veth.c veth_xdp_set(), include/uapi/linux/netdev.h,
  https://github.com/bpfman/bpfman/issues/1675. On some kernels veth denies NETDEV_XDP_ACT_BASIC and yet runs native
  programs: for veth the kind decides.
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfAttachment
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-xdp-generic-fallback",
    title="XDP runs in the slow generic mode although the driver can do better",
    severity="warning",
    confidence="likely",
    reads=("links", "peer_links", "bpf"),
)
NATIVE_MTU = 3506
"""Largest peer MTU of native XDP on veth: a page of 4096 bytes less head room (256), struct skb_shared_info (320) and
the Ethernet header (14)."""


def can_native(link: Link, row: BpfAttachment, peer: Link | None) -> bool:
    """Whether the driver would run the program itself."""
    if link.kind == "veth":
        return (peer or link).mtu <= NATIVE_MTU
    return link.kind in (None, "bond") and not link.loopback and row.driver_can is True


def check(view: HostView) -> Iterator[Draft]:
    rows = [row for row in view.bpf.attachments if row.hook == "xdp"]
    native = {row.ifindex for row in rows if row.mode != "generic"}
    names = {program.id: program.function or program.name for program in view.bpf.programs}
    for row in rows:
        link = view.link(row.ifindex)
        if link is None or row.ifindex in native:
            continue
        peer, name = view.stack.veth_peer(link.ifindex), names.get(row.prog_id, "")
        if not can_native(link, row, peer):
            if link.kind == "veth":
                yield _too_large(link, row, peer, name)
            continue
        driver = "veth" if link.kind == "veth" else "its driver"
        yield RULE.found(
            subject=subject("bpf-attachment", ifname=link.ifname, hook="xdp"),
            message=f"{link.ifname} runs XDP program {row.prog_id}{' ' + name if name else ''} in generic mode; "
            f"{driver} can run it natively",
            evidence=[
                (f"{link.ifname} XDP mode", "generic", f"RTM_GETLINK {link.ifname} IFLA_XDP_ATTACHED"),
                (
                    f"{link.ifname} driver",
                    link.kind or "runs XDP",
                    "IFLA_INFO_KIND" if link.kind else "netdev xdp-features",
                ),
            ],
            confirm=[f"ip link show dev {quoted(link.ifname)}", f"bpftool net show dev {quoted(link.ifname)}"],
            fix=f"ip link set dev {quoted(link.ifname)} xdpgeneric off  # then attach it natively, with xdpdrv",
            touches=[subject("link", ifname=link.ifname), subject("bpf-program", name=name)],
        )


def _too_large(link: Link, row: BpfAttachment, peer: Link | None, name: str) -> Draft:
    """The driver runs XDP natively, but not with packets as large as these."""
    far = f"its peer {peer.ifname}" if peer is not None else "it"
    mtu = (peer or link).mtu
    return RULE.found(
        subject=subject("bpf-attachment", ifname=link.ifname, hook="xdp"),
        severity="info",
        message=f"{link.ifname} runs XDP program {row.prog_id}{' ' + name if name else ''} in generic mode: {far} has "
        f"mtu {mtu}, and veth takes native programs up to {NATIVE_MTU}",
        evidence=[
            (f"{link.ifname} XDP mode", "generic", f"RTM_GETLINK {link.ifname} IFLA_XDP_ATTACHED"),
            (f"mtu of {far}", mtu, "RTM_GETLINK IFLA_MTU"),
        ],
        confirm=[f"ip -d link show dev {quoted(link.ifname)}"],
        fix=f"make it a program of fragments (SEC xdp.frags), or give {far} an mtu of at most {NATIVE_MTU}; then "
        "attach it natively, with xdpdrv",
        touches=[subject("link", ifname=link.ifname), subject("bpf-program", name=name)],
    )


def _host(mode: str = "generic", kind: str | None = "veth", *, can: bool | None = None, **fields: Any) -> HostBuilder:
    host = HostBuilder().link("eth0", kind=kind, **fields)
    row = BpfAttachment(hook="xdp", prog_id=7, mode=mode, ifindex=host.ifindex("eth0"), driver_can=can)
    return host.bpf(attachments=[row])


def examples() -> Iterator[Example]:
    about = subject("bpf-attachment", ifname="eth0", hook="xdp")
    yield Example(
        name="generic on a veth",
        why="the plain fault",
        tables=_host().build(),
        fires=1,
        subject=about,
        severity="warning",
    )
    yield Example(
        name="generic on a veth that denies native mode",
        why="veth says no on some kernels and runs it",
        tables=_host(can=False).build(),
        fires=1,
    )
    yield Example(
        name="generic on a card that can",
        why="the driver says so itself",
        tables=_host(kind=None, can=True).build(),
        fires=1,
        subject=about,
    )
    yield Example(
        name="generic on a bond that can", why="all its legs can", tables=_host(kind="bond", can=True).build(), fires=1
    )
    yield Example(
        name="peer's MTU just fits",
        why="native mode takes up to 3506",
        tables=_host(mtu=9000).peer("eth0", mtu=NATIVE_MTU).build(),
        fires=1,
    )
    yield Example(
        name="peer's MTU is one byte too large",
        why="native mode would be refused: no choice while that is so",
        tables=_host().peer("eth0", mtu=NATIVE_MTU + 1).build(),
        fires=1,
        severity="info",
        says=("its peer", "3507", "xdp.frags"),
    )
    yield Example(
        name="jumbo veth with an unknown peer",
        why="the peer is most likely jumbo too",
        tables=_host(mtu=9000).build(),
        fires=1,
        severity="info",
        says=("it has mtu 9000",),
    )
    yield Example(name="native on a veth", why="as it should be", tables=_host("native").build())
    yield Example(name="on the card", why="better still", tables=_host("offload", None, can=True).build())
    for kind in ("tun", "wireguard", "bridge", "vlan", "vxlan"):
        yield Example(
            name=f"generic on {kind}",
            why="there it is the right mode, whatever the driver says",
            tables=_host(kind=kind, can=True).build(),
        )
    yield Example(name="generic on a card that cannot", why="no choice", tables=_host(kind=None, can=False).build())
    yield Example(name="generic on a card that was not asked", why="unknown", tables=_host(kind=None).build())
    both = _host()
    row = BpfAttachment(hook="xdp", prog_id=8, mode="native", ifindex=both.ifindex("eth0"))
    yield Example(name="both modes", why="both were asked for", tables=both.bpf(attachments=[row]).build())
    host = HostBuilder()
    row = BpfAttachment(hook="xdp", prog_id=8, mode="generic", ifindex=host.ifindex("lo"), driver_can=True)
    yield Example(name="generic on lo", why="loopback has no driver", tables=host.bpf(attachments=[row]).build())
    row = BpfAttachment(hook="tc", prog_id=8, ifindex=2, direction="ingress")
    host = HostBuilder().link("eth0", kind="veth").bpf(attachments=[row])
    yield Example(name="tc on a veth", why="no XDP", tables=host.build())
    row = BpfAttachment(hook="xdp", prog_id=8, mode="generic", ifindex=99, driver_can=True)
    yield Example(name="an interface that has gone", why="gone", tables=HostBuilder().bpf(attachments=[row]).build())
    beside = _host().bpf(attachments=[BpfAttachment(hook="tc", prog_id=8, ifindex=2, direction="ingress")])
    yield Example(name="tc beside it", why="another hook", tables=beside.build(), fires=1)
