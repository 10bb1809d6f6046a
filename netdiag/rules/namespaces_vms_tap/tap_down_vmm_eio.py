"""What it checks
  A process has a tap open, but the tap is administratively down.

Why it matters
  Every frame that the guest sends is refused with EIO ("Failed to write to tap: Input/output error"), and nothing
  reaches it: routes through the tap vanished when it went down. The machine runs and looks healthy from inside.

Confirm
  ip -details link show dev TAP                (no UP flag)
  grep -lsxF "iff:<TAB>TAP" /proc/[0-9]*/fdinfo/*

Fix
  ip link set dev TAP up, and put back the routes through it, which went with it. It touches only that guest.

Not flagged
  Machines whose process is stopped (state T), as while they are paused for a snapshot: they send nothing. A tap that
  no route, address or bridge ever prepared and whose process is no virtual machine monitor is an info: a program may
  still be setting it up. Tun devices of VPNs.

References
  drivers/net/tun.c tun_get_user(): "if (unlikely(!(tun->dev->flags & IFF_UP))) err = -EIO";
  https://github.com/firecracker-microvm/firecracker/issues/4650
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.guesttaps import READS, guest_taps, holders_command, pid_words
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="tap-down-vmm-eio",
    title="a tap is down while a virtual machine uses it",
    severity="critical",
    reads=READS,
    explains=(
        "tap-route-missing",
        "vm-*",
        "neigh-*",
        "proxy-ndp-missing",
        "tap-route-to-wrong-tap",
        "route-expected-missing",
        "nf-orphan-dnat-to-dead",
        "cni-portmap-stale",
    ),
)


def check(view: HostView) -> Iterator[Draft]:
    for tap in guest_taps(view):
        awake = [holder for holder in tap.holders if holder.state not in ("T", "t", "Z", "X")]
        if tap.link.up or not awake:
            continue
        name = tap.link.ifname
        machine = any(holder.vmm for holder in awake)
        prepared = bool(tap.link.master) or any(row.ifindex == tap.link.ifindex for row in view.addresses)
        alarm = machine or prepared
        yield RULE.found(
            subject=tap.about,
            severity="critical" if machine else "warning" if prepared else "info",
            confidence="certain" if alarm else "possible",
            message=f"the tap {name} is down, but {tap.holder} uses it: every frame of the guest is refused with EIO",
            evidence=(
                (f"{name} flags", f"{tap.link.flags:#x}, without IFF_UP", f"RTM_GETLINK {name}"),
                *pid_words(tap),
            ),
            confirm=(f"ip -details link show dev {quoted(name)}", holders_command(name)),
            fix=f"ip link set dev {quoted(name)} up",
            touches=tap.objects,
            breaks=tap.objects,
        )


def _down(**fields: object) -> HostBuilder:
    return HostBuilder().link("br0", kind="bridge").tap("tap0", **{"up": False} | fields)  # type: ignore[arg-type]


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    about = subject("tap", ifname="tap0")
    critical: dict[str, object] = {"severity": "critical", "confidence": "certain", "subject": about}
    yield _case("firecracker on a tap that is down", "the plain fault", _down(), 1, **critical)
    bridged = _down(master="br0", holder="vmm")
    yield _case(
        "port of a bridge", "an unknown monitor, but the tap was prepared for it", bridged, 1, severity="warning"
    )
    addressed = _down(holder="vmm").address("tap0", "10.0.0.1/30")
    yield _case("with an address", "likewise", addressed, 1, severity="warning")
    yield _case("a program that starts", "it may bring it up next", _down(holder="openvpn"), 1, severity="info")
    yield _case("up", "the healthy machine", HostBuilder().tap("tap0"))
    yield _case("down and not held", "a tap of no machine", _down(holder=None))
    stopped = _down(holder=None).tap_holder("tap0", comm="firecracker", state="T")
    yield _case("stopped machine", "paused for a snapshot: it sends nothing", stopped)
    tun = HostBuilder().link("tun0", kind="tun", info={"type": "tun"}, up=False).tap_holder("tun0", comm="openvpn")
    yield _case("a VPN's tun", "no machine's", tun)
