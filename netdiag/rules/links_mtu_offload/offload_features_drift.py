"""What it checks
  Offloads of a network device (TSO, GRO, checksums ...) are on or off otherwise than at the time of the baseline, with
  the same driver and the same firmware.

Why it matters
  Hosts of one model then behave differently: one burns CPU where others do not, or forwards merged packets, or has the
  offload on again that corrupted packets and was switched off for that. A driver that was loaded anew, or a reset of
  the card, takes settings back to the defaults.

Confirm
  ethtool -k IFNAME
  ethtool -i IFNAME

Fix
  Apply the profile again: ethtool -K IFNAME FEATURE on|off, and keep it where the interface is configured (.link file
  of systemd, post-up of ifupdown). Some drivers take the link down for a moment.

Not flagged
  Another driver or firmware than then: its defaults are its own. Interfaces that were made anew, and those that are not
  there any more. Features that cannot be changed. Ports that joined or left a bridge or bond since, which switches LRO
  and others by itself; and a bridge, a bond or what lies upon one whose ports are not those of the baseline: it has the
  offloads that all of them have. Taps and tuns: the guest's driver, or the program that holds them, chooses, at every
  start. Without a baseline: not evaluated.

References
  Documentation/networking/netdev-features.rst; ethtool(8) -k -K; net/core/dev.c netdev_update_features(),
  netdev_increment_features(); drivers/net/tun.c set_offload() (TUNSETOFFLOAD)
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.ethtool import Ethtool, EthtoolDevice
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.cards import device
from netdiag.rules.expected import same_link, since
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="offload-features-drift",
    title="offloads of a device are not what they were",
    severity="warning",
    confidence="likely",
    reads=("links", "ethtool", "baseline"),
)


def names(table: Ethtool, words: tuple[int, ...]) -> set[str]:
    """The names of the bits that are set."""
    return {
        name
        for bit, name in enumerate(table.feature_names)
        if bit // 32 < len(words) and words[bit // 32] >> bit % 32 & 1
    }


def check(view: HostView) -> Iterator[Draft]:
    old = view.baseline
    if old is None:
        return
    for before in old.ethtool.devices:
        link = same_link(old, view, before.ifname)
        if link is None:
            continue
        now = device(view.ethtool, link.ifindex)
        if now is None or not before.features or not now.features:
            continue
        joined = (old.stack.by_name[before.ifname].master is None) != (link.master is None)
        if joined or link.kind == "tun" or _below(old, before.ifname) != _below(view, before.ifname):
            continue
        if (before.driver, before.firmware) != (now.driver, now.firmware):
            continue
        common = set(view.ethtool.feature_names) & set(old.ethtool.feature_names)
        free = names(view.ethtool, now.features_hw) & common
        was, has = names(old.ethtool, before.features) & free, names(view.ethtool, now.features) & free
        if was != has:
            yield _draft(link.ifname, was, has, since(old))


def _below(view: HostView, ifname: str) -> set[str]:
    """The names of the interfaces whose offloads decide those of one that lies upon them."""
    return {layer.link.ifname for layer in view.stack.egress_stack(view.stack.by_name[ifname].ifindex)[1:]}


def _draft(ifname: str, was: set[str], has: set[str], ago: str) -> Draft:
    lost, new = sorted(was - has), sorted(has - was)
    words = [
        f"{', '.join(some[:3])}{' ...' if len(some) > 3 else ''} {state}"
        for some, state in ((lost, "off"), (new, "on"))
        if some
    ]
    commands = " ".join([*(f"{quoted(name)} on" for name in lost), *(f"{quoted(name)} off" for name in new)])
    return RULE.found(
        subject=subject("link", ifname=ifname),
        message=f"{ifname} has {' and '.join(words)} {ago}",
        evidence=[
            ("switched off", ", ".join(lost) or "none", f"ETHTOOL_MSG_FEATURES_GET {ifname}"),
            ("switched on", ", ".join(new) or "none", f"ETHTOOL_MSG_FEATURES_GET {ifname}"),
        ],
        confirm=[f"ethtool -k {quoted(ifname)}"],
        fix=f"ethtool -K {quoted(ifname)} {commands}",
    )


def examples() -> Iterator[Example]:
    def host(*features: int, bits: int = 3, hw: int = 7, driver: str = "ice", master: bool = False, **f: Any) -> Any:
        made = HostBuilder().link("br0", kind="bridge")
        made = made.link("eth0", master="br0") if master else made.link("eth0")
        row = EthtoolDevice(ifindex=3, ifname="eth0", driver=driver, features=features, features_hw=(hw, hw), **f)
        all_names = ("tx-tcp-segmentation", "rx-gro", "rx-lro", *(f"bit{n}" for n in range(3, 64)))[:bits]
        return replace(made.build(), ethtool=Ethtool(devices=(row,), feature_names=all_names))

    def case(name: str, why: str, tables: Any, fires: int = 0, **more: Any) -> Example:
        return Example(name=name, why=why, tables=tables, fires=fires, **({"baseline": host(3)} | more))

    yield case("TSO off", "the plain fault", host(2), 1, says=("tx-tcp-segmentation off",))
    yield case("LRO on", "a reset of the card", host(7), 1, says=("rx-lro on",))
    yield case("the same", "as it was", host(3))
    yield case("cannot be changed", "nobody could have switched it", host(2, hw=6))
    yield case("another driver", "its defaults are its own", host(2, driver="i40e"))
    yield case("another firmware", "the same", host(2, firmware="2.0"))
    yield case("port of a bridge since", "the bridge switches LRO off", host(2, master=True))
    yield from _of_others()
    yield case("a feature that was not known", "an older kernel had no name for it", host(3), baseline=host(3, bits=2))
    yield case("not told", "the driver was not asked", host(0, hw=7), baseline=host(3, bits=0))
    yield case("no baseline", "nothing to compare with", host(2), baseline=None, unjudged=True)
    none = replace(host(2), ethtool=Ethtool(feature_names=("tx-tcp-segmentation",)))
    yield case("not asked now", "the driver does not answer any more", none)
    yield case("interface gone", "so are its offloads", HostBuilder().link("eth9").build())
    yield case("told now only", "nothing to compare with", host(7), baseline=host())
    yield case("told then only", "nothing to compare", host())
    wide: dict[str, Any] = {"bits": 64, "hw": 0xFFFFFFFF}
    for bit in (31, 32, 33, 63):
        words = [0, 0]
        words[bit // 32] = 1 << bit % 32
        before = host(*words, **wide)
        more = {"baseline": before, "says": (f"bit{bit} off",)}
        yield case(f"bit {bit} of two words", "words are of 32", host(0, 0, **wide), 1, **more)
    yield case("fewer words than names", "the rest is off", host(2, bits=40), 1, baseline=host(3, bits=40))


def _of_others() -> Iterator[Example]:
    """br0 has a port, and a VLAN lies upon it; tap1 is another port, or a guest's interface alone."""

    def host(ifname: str, *features: int, ports: tuple[str, ...] = ("tap0",)) -> Any:
        made = HostBuilder().link("br0", kind="bridge").link("br0.7", kind="vlan", link="br0")
        for port in ("tap0", "tap1"):
            made.tap(port, **({"master": "br0"} if port in ports else {}))
        ifindex = ("lo", "br0", "br0.7", "tap0", "tap1").index(ifname) + 1
        row = EthtoolDevice(ifindex=ifindex, ifname=ifname, driver="any", features=features, features_hw=(7,))
        return replace(made.build(), ethtool=Ethtool(devices=(row,), feature_names=("a", "b", "c")))

    for name, why, ifname, ports, fires in (
        ("a bridge", "somebody switched it", "br0", ("tap0",), 1),
        ("a bridge with its first port", "it has what its ports have", "br0", (), 0),
        ("a bridge whose other port went", "likewise", "br0", ("tap0", "tap1"), 0),
        ("a VLAN of a bridge", "somebody switched it", "br0.7", ("tap0",), 1),
        ("a VLAN of a bridge with another port", "it has what is below it", "br0.7", ("tap0", "tap1"), 0),
        ("a tap", "another guest, or the same one as it boots", "tap1", ("tap0",), 0),
    ):
        before = host(ifname, 3, ports=ports)
        yield Example(name=name, why=why, tables=host(ifname, 2), baseline=before, fires=fires)
