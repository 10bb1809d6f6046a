"""What it checks
  A tap that takes packets for segmentation (TSO) while its process reads them without the header that says so
  (vnet_hdr off).

Why it matters
  The kernel then hands the virtual machine frames of up to 64 KiB, with unfinished check sums, and nothing tells how to
  cut them: the guest drops them as damaged. Small packets work, so ping is fine and every transfer hangs.

Confirm
  ip -d tuntap show                                    (vnet_hdr missing)
  ethtool -k IFNAME | grep tcp-segmentation-offload    (on)

Fix
  Start the virtual machine so that it opens its tap with IFF_VNET_HDR (qemu: vnet_hdr=on). At once, without a restart:
  ethtool -K IFNAME tso off tx off, which cuts and sums in the kernel instead.

Not flagged
  A tap without vnet_hdr and without TSO, as VPNs and other tools open it. A tap with vnet_hdr. One that nobody
  has open.

References
  drivers/net/tun.c tun_put_user(), set_offload() (TUNSETOFFLOAD), IFLA_TUN_VNET_HDR
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.ethtool import Ethtool, EthtoolDevice
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="gso-max-too-large-tap",
    title="a tap hands out big packets that its reader cannot understand",
    severity="warning",
    reads=("links", "ethtool"),
)
TSO = ("tx-tcp-segmentation", "tx-tcp6-segmentation")


def check(view: HostView) -> Iterator[Draft]:
    table = view.ethtool
    for row in table.devices:
        link = view.link(row.ifindex)
        if link is None or link.info.get("vnet_hdr") is not False or not link.lower_up:
            continue
        on = [name for name in TSO if table.has(row.features, name)]
        if on:
            name = quoted(link.ifname)
            yield RULE.found(
                subject=subject("link", ifname=link.ifname),
                message=f"{link.ifname} is handed packets of up to {link.gso_max_size or 65536} bytes for its reader "
                "to cut, but the header that says so is off (vnet_hdr)",
                evidence=[
                    ("vnet_hdr", "off", f"RTM_GETLINK {link.ifname} IFLA_TUN_VNET_HDR"),
                    (on[0], "on", f"ETHTOOL_MSG_FEATURES_GET {link.ifname}"),
                ],
                confirm=[f"ip -d link show dev {name}", f"ethtool -k {name}"],
                fix=f"ethtool -K {name} tso off tx off  # then start the machine with vnet_hdr=on",
            )


def _case(
    name: str, why: str, fires: int = 0, *, bits: int = 1, vnet_hdr: Any = False, carrier: bool = True
) -> Example:
    host = HostBuilder().link("tap0", kind="tun", carrier=carrier, info={"type": "tap", "vnet_hdr": vnet_hdr})
    row = EthtoolDevice(ifindex=host.ifindex("tap0"), ifname="tap0", features=(bits,))
    return Example(
        name=name,
        why=why,
        tables=replace(host.build(), ethtool=Ethtool(devices=(row,), feature_names=TSO)),
        fires=fires,
    )


def examples() -> Iterator[Example]:
    yield _case("TSO without the header", "the plain fault", 1)
    yield _case("IPv6 alone", "the same", 1, bits=2)
    yield _case("no TSO", "a plain tap", bits=0)
    yield _case("with the header", "as virtual machines do", vnet_hdr=True)
    yield _case("not told", "an old kernel", vnet_hdr=None)
    yield _case("nobody has it open", "nothing is handed out", carrier=False)
    made = _case("gone", "nothing to name")
    yield Example(name=made.name, why=made.why, tables=replace(made.tables, links=made.tables.links[:1]))
