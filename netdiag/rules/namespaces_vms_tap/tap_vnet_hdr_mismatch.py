"""What it checks
  A virtual machine monitor that speaks virtio has a tap open without the virtio header (vnet_hdr off), or any monitor
  has one open with the packet information header (pi on).

Why it matters
  The header says where checksums and segments are still to be made. Where one side writes it and the other does not
  expect it, every frame is shifted by ten bytes and dropped as garbage; where both go without, each packet is
  segmented and summed on its own, at a fraction of the speed. With pi on, four bytes stand before every frame.

Confirm
  ip -details link show dev TAP                (vnet_hdr off, pi on)

Fix
  Stop the machine, ip tuntap del dev TAP mode tap, ip tuntap add dev TAP mode tap vnet_hdr, set up its address and
  routes again, start the machine. It cuts that guest off for the time; others are not touched. Where the monitor opens
  the tap without the flag, mend its configuration instead.

Not flagged
  Where no other tap of the same kind of monitor is made differently, it is an info: they may all be meant so.
  QEMU with vnet_hdr off: an emulated card (e1000, rtl8139) has no use for it. Taps that no known monitor holds.

References
  drivers/net/tun.c tun_get_user(), TUNSETIFF (IFF_VNET_HDR, IFF_NO_PI); virtio specification 5.1.6
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft
from netdiag.rules.build import HostBuilder
from netdiag.rules.guesttaps import READS, guest_taps, pid_words
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="tap-vnet-hdr-mismatch",
    title="a tap and its machine disagree about the header before each frame",
    severity="warning",
    confidence="likely",
    reads=READS,
)
VIRTIO = ("firecracker", "cloud-hypervisor", "crosvm")


def check(view: HostView) -> Iterator[Draft]:
    taps = guest_taps(view)
    for tap in taps:
        monitors = {holder.vmm for holder in tap.holders if holder.vmm}
        name, info = tap.link.ifname, tap.link.info
        bare = bool(monitors & set(VIRTIO)) and info.get("vnet_hdr") is False
        if not monitors or not (bare or info.get("pi") is True):
            continue
        key = "vnet_hdr" if bare else "pi"
        odd = any(
            other.link.info.get(key) != info.get(key) and monitors & {holder.vmm for holder in other.holders}
            for other in taps
        )
        what = "has no virtio header" if bare else "puts four bytes of packet information before every frame"
        yield RULE.found(
            subject=tap.about,
            severity="warning" if odd else "info",
            confidence="likely" if odd else "possible",
            message=f"the tap {name} {what}, but {tap.holder} speaks virtio: frames are garbled, or slow at best",
            evidence=(
                (f"{name} vnet_hdr", "on" if info.get("vnet_hdr") else "off", f"RTM_GETLINK {name} IFLA_TUN_VNET_HDR"),
                (f"{name} pi", "on" if info.get("pi") else "off", f"RTM_GETLINK {name} IFLA_TUN_PI"),
                *pid_words(tap),
            ),
            confirm=(f"ip -details link show dev {quoted(name)}",),
            fix=f"ip tuntap del dev {quoted(name)} mode tap; ip tuntap add dev {quoted(name)} mode tap vnet_hdr"
            "  # while its machine is stopped",
            touches=tap.objects,
            breaks=tap.objects,
        )


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    bare = HostBuilder().tap("tap0", info={"vnet_hdr": False})
    yield _case("all without the header", "they may be meant so", bare, 1, severity="info")
    odd = HostBuilder().tap("tap0", info={"vnet_hdr": False}).tap("tap1")
    yield _case("one without the header", "its sibling has it", odd, 1, severity="warning", confidence="likely",
                subject={"ifname": "tap0"})  # fmt: skip
    pi = HostBuilder().tap("tap0", info={"pi": True}).tap("tap1")
    yield _case("packet information", "four bytes too many", pi, 1, severity="warning")
    other = HostBuilder().tap("tap0", info={"vnet_hdr": False}).tap("tap1", holder="qemu")
    yield _case("another kind of monitor has it", "that is no sibling", other, 1, severity="info")
    emulated = HostBuilder().tap("tap0", holder="qemu", info={"vnet_hdr": False}).tap("tap1", holder="qemu")
    yield _case("an emulated card", "QEMU's e1000 has no use for it", emulated)
    yield _case("with the header", "healthy", HostBuilder().tap("tap0"))
    yield _case("a VPN's tap", "no machine", HostBuilder().tap("tap0", holder="openvpn", info={"vnet_hdr": False}))
    yield _case("not held", "the monitor sets it when it opens", HostBuilder().tap("tap0", holder=None))
    vpn = HostBuilder().tap("tap0", holder="openvpn", info={"pi": True})
    yield _case("a VPN's tap with packet information", "it knows what it asked for", vpn)
