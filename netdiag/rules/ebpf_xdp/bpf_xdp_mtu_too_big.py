"""What it checks
  A veth without XDP while its siblings (interfaces of the same kind and with a name that differs in its number) run an
  XDP program natively or [[bpf]] of the intent names one for it, or the baseline had one on it, and whose MTU or whose
  other end's MTU is over what native XDP takes: 3506 bytes with pages of 4 KiB. As an info, where no interface here
  runs XDP: a pinned XDP program that is attached nowhere may be meant for it.

Why it matters
  The kernel refused the program ("Peer MTU is too large to set XDP", ERANGE or EINVAL), and "auto" mode does not fall
  back. That interface is the one without the filter, counter or redirect that all the others have.

Confirm
  ip -d link show dev IFNAME
  ip link set dev IFNAME xdpdrv obj FILE prints the kernel's reason

Fix
  ip link set dev IFNAME mtu 1500 on the end that is too large (both, as they should agree), then let the agent attach
  again. Longer packets are then fragmented or refused. Or load a program with multi-buffer support (section
  "xdp.frags"), which takes any MTU.

Not flagged
  Jumbo veths of a host on which no sibling has XDP and that no intent names. Interfaces that have XDP natively, by
  xdp.frags for example, or in generic mode, which takes any MTU: the program runs, only slower
  (bpf-xdp-generic-fallback). An interface of another kind or name. One whose other end is unknown and whose own MTU
  fits.

References
  drivers/net/veth.c veth_xdp_set(); net/core/dev.c dev_xdp_attach(); Documentation/bpf/redirect.rst
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfAttachment, BpfHolder, BpfPin, BpfProgram
from netdiag.model.finding import Confidence, Draft, subject
from netdiag.model.intent import IntendedProgram
from netdiag.model.link import Link
from netdiag.rules.bpfplaces import family_of, referred
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, xdp
from netdiag.rules.ebpf_xdp.bpf_xdp_generic_fallback import NATIVE_MTU
from netdiag.rules.expected import same_link, since
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-xdp-mtu-too-big",
    title="an interface has no XDP program because its MTU is too large for it",
    severity="warning",
    confidence="likely",
    reads=("links", "peer_links", "bpf"),
    consults=("intent.bpf", "baseline"),
    explains=("bpf-expected-missing-on-iface", "link-mtu-peer-mismatch", "bridge-mtu-auto-shrunk"),
)


def kin(link: Link) -> tuple[str | None, str]:
    """Kind, and name without numbers: what siblings have in common."""
    return link.kind, family_of(link.ifname)


def check(view: HostView) -> Iterator[Draft]:
    programs = {one.id: one for one in view.bpf.programs}
    native: dict[tuple[str | None, str], tuple[Link, BpfProgram | None]] = {}
    having = set()
    for row in view.bpf.attachments:
        link = view.link(row.ifindex)
        if row.hook != "xdp" or link is None:
            continue
        having.add(link.ifindex)
        if row.mode == "native":
            native[kin(link)] = link, programs.get(row.prog_id)
    spare = None if having else _spare(view)
    for link in view.links:
        if link.kind != "veth" or link.ifindex in having:
            continue
        peer = view.stack.veth_peer(link.ifindex)
        big = [one for one in (peer, link) if one is not None and one.mtu > NATIVE_MTU]
        sign = _sign(view, link, native.get(kin(link))) if big else None
        if sign is not None:
            yield _finding(link, big, *sign, fix=_fix(view, link, big))
        elif big and spare is not None:
            path, name = spare
            words = f"should it be meant to run {name}, which {path} keeps and nothing in sight runs"
            shown = (f"program {name} pinned", path, "BPF_OBJ_GET")
            yield _finding(link, big, words, shown, "", fix=_fix(view, link, big), confidence="possible")
            spare = None  # once will do


def _spare(view: HostView) -> tuple[str, str] | None:
    """A pinned XDP program that is attached nowhere in sight: its path and name."""
    table = view.bpf
    if {"programs", "links", "pins", "holders"} & set(table.unread):
        return None
    used = referred(table) | {row.id for row in table.holders if row.kind == "prog"}
    programs = {one.id: one for one in table.programs if one.type == "xdp" and one.id not in used}
    pins = sorted((pin.path, pin.id) for pin in table.pins if pin.kind == "prog" and pin.id in programs)
    return next(((path, programs[number].function or programs[number].name) for path, number in pins), None)


def _sign(
    view: HostView, link: Link, sibling: tuple[Link, BpfProgram | None] | None
) -> tuple[str, tuple[str, str, str], str] | None:
    """What shows that the interface is meant to run XDP: words, evidence, and the interface to compare it with."""
    for want in view.intent.bpf or ():
        if want.hook == "xdp" and fnmatchcase(link.ifname, want.ifname or ""):
            return f"though it is to run {want.name}", (f"{link.ifname} is to have", want.name, "intent [[bpf]]"), ""
    before = _before(view, link)
    if before is not None:
        name, then = before
        return f"though it ran {name} {then}", (f"{link.ifname} had", name, f"IFLA_XDP, {then}"), ""
    if sibling is None:
        return None
    other, one = sibling
    title = (one.function or one.name) if one else "a program"
    fact = (f"{other.ifname} XDP", f"native, {title}", f"RTM_GETLINK {other.ifname} IFLA_XDP")
    return f"while {other.ifname} runs {title}", fact, other.ifname


def _before(view: HostView, link: Link) -> tuple[str, str] | None:
    """The program that the interface ran natively at the time of the baseline, and when that was."""
    old = view.baseline
    if old is None or same_link(old, view, link.ifname) is None:
        return None
    for row in old.bpf.attachments:
        if row.mode == "native" and row.ifindex is not None and old.ifname(row.ifindex) == link.ifname:
            one = old.bpf.program(row.prog_id)
            return (one.function or one.name) if one else "a program", f"at the time of {since(old)[6:]}"
    return None


def _fix(view: HostView, link: Link, ends: list[Link]) -> str:
    """The command for each end that is too big; for one in another namespace, where to give it."""
    here = {id(one) for one in view.links}
    away = next((one for one in ends if id(one) not in here), None)
    near = [f"ip link set dev {quoted(one.ifname)} mtu 1500" for one in reversed(ends) if id(one) in here]
    if away is None:
        return " && ".join(near) + "  # then attach again"
    far = f"ip link set dev {quoted(away.ifname)} mtu 1500"
    if near:
        return f"{near[0]}  # and in the namespace of its other end: {far}; then attach again"
    return f"ip -n NAMESPACE link set dev {quoted(away.ifname)} mtu 1500  # that of its other end; then attach again"


def _finding(
    link: Link,
    ends: list[Link],
    sign: str,
    shown: tuple[str, str, str],
    other: str,
    *,
    fix: str,
    confidence: Confidence | None = None,
) -> Draft:
    name, big = link.ifname, ends[0]
    end = name if big is link else f"its other end {big.ifname}"
    return RULE.found(
        subject=subject("link", ifname=name),
        message=f"{name} has no native XDP {sign}: {end} has mtu {big.mtu}, and native XDP takes up to {NATIVE_MTU}",
        evidence=[
            (f"{name} XDP", link.xdp.mode if link.xdp else "none", f"RTM_GETLINK {name} IFLA_XDP"),
            shown,
            (f"mtu of {end}", big.mtu, f"RTM_GETLINK {big.ifname} IFLA_MTU"),
        ],
        confirm=[f"ip -d link show dev {quoted(one)}" for one in (name, other) if one],
        fix=fix,
        confidence=confidence,
    )


def _host(
    mtu: int = 9000, peer: int | None = 9000, *, sibling: bool = True, name: str = "v1", **fields: Any
) -> HostBuilder:
    host = HostBuilder().link("v0", kind="veth").link(name, mtu=mtu, **({"kind": "veth"} | fields))
    if peer is not None:
        host.peer(name, mtu=peer)
    host.bpf(programs=[program(1, "shield", type="xdp")])
    return xdp(host, "v0", 1) if sibling else host


def examples() -> Iterator[Example]:
    about = subject("link", ifname="v1")
    yield Example(
        name="jumbo beside one with XDP",
        why="the plain fault",
        tables=_host().build(),
        fires=1,
        subject=about,
        severity="warning",
        says=(
            "its other end eth0 has mtu 9000",
            "ip link set dev v1 mtu 1500  # and in the namespace of its other end: ip link set dev eth0 mtu 1500;",
        ),
    )
    then = xdp(_host(1500, 1500, sibling=False), "v1", 1).build()
    ran = ("though it ran shield at the time of the baseline of",)
    now = _host(sibling=False).build()
    yield Example(name="it ran one then", why="the baseline tells", tables=now, baseline=then, fires=1, says=ran)
    anew = _host(sibling=False, ifindex=77).build()
    yield Example(name="it ran one then, and was made anew", why="another guest's", tables=anew, baseline=then)
    beside = _host(1500, 1500).build()
    yield Example(name="another ran one then", why="nobody means this one to", tables=now, baseline=beside)
    long = _host(1500, 1500, sibling=False)
    long.bpf(programs=[program(2, "shield_for_all_", function="shield_for_all_guests", type="xdp")])
    then, ran = xdp(long, "v1", 2).build(), ("though it ran shield_for_all_guests at the time",)
    yield Example(
        name="it ran one of a long name then", why="types tell it", tables=now, baseline=then, fires=1, says=ran
    )
    generic = xdp(_host(1500, 1500, sibling=False), "v1", 1, "generic").build()
    yield Example(name="it ran one then, generic", why="that takes any MTU", tables=now, baseline=generic)
    none = _host(1500, 1500, sibling=False).build()
    yield Example(name="it ran none then", why="nobody means it to", tables=now, baseline=none)
    for name, why, host, fix in (
        (
            "one byte too large",
            "the limit",
            _host(1500, NATIVE_MTU + 1),
            "ip -n NAMESPACE link set dev eth0 mtu 1500  #",
        ),
        ("own MTU, peer unknown", "they agree mostly", _host(9000, None), "ip link set dev v1 mtu 1500  # then attach"),
    ):
        yield Example(name=name, why=why, tables=host.build(), fires=1, says=(fix,))
    slow = xdp(_host(), "v1", 1, "generic")
    yield Example(name="generic", why="native was refused, and the program runs all the same", tables=slow.build())
    taken = xdp(_host(sibling=False), "v1", 1, "generic")
    taken.intend(bpf=(IntendedProgram(hook="xdp", ifname="v1", name="shield"),))
    yield Example(name="generic, and the intent names it", why="it is at its hook", tables=taken.build())
    yield Example(name="just fits", why="the limit", tables=_host(1500, NATIVE_MTU).build())
    for name, hook, ifname, fires in (
        ("the intent names it", "xdp", "v1", 1),
        ("the intent names its like", "xdp", "v*", 1),
        ("the intent names others", "xdp", "eth*", 0),
        ("the intent names another hook", "tc-ingress", "v1", 0),
    ):
        want = IntendedProgram(hook=hook, ifname=ifname, name="shield")
        host, says = _host(sibling=False).intend(bpf=(want,)), ("though it is to run shield",) if fires else ()
        yield Example(name=name, why="a loader was refused", tables=host.build(), fires=fires, says=says)
    fits = _host(1500, 1500, sibling=False).intend(bpf=(IntendedProgram(hook="xdp", ifname="v1", name="shield"),))
    yield Example(name="the intent names one that fits", why="another fault", tables=fits.build())
    pin = BpfPin(path="/sys/fs/bpf/shield", kind="prog", id=1)
    for name, host, fires in (
        ("one is pinned", _host(sibling=False), 1),
        ("one is pinned, and it fits", _host(1500, 1500, sibling=False), 0),
        ("one is pinned, and runs elsewhere", _host(name="storage1"), 0),
        (
            "one is pinned, and is held",
            _host(sibling=False).bpf(holders=[BpfHolder(kind="prog", id=1, pid=7, comm="agent")]),
            0,
        ),
    ):
        host.bpf(pins=[pin])
        seen = ("should it be meant to run shield, which /sys/fs/bpf/shield keeps",) if fires else ()
        why, sure = "the kernel may have refused it", "info" if fires else None
        yield Example(name=name, why=why, tables=host.build(), fires=fires, severity=sure, says=seen)  # type: ignore[arg-type]
    yield Example(name="nobody has XDP", why="not meant to", tables=_host(sibling=False).build())
    yield Example(name="another name", why="not a sibling", tables=_host(name="storage1").build())
    yield Example(name="another kind", why="not a sibling", tables=_host(peer=None, kind="tun").build())
    yield Example(name="frags", why="it has it all the same", tables=xdp(_host(), "v1", 1).build())
    far = _host().bpf(attachments=[BpfAttachment(hook="xdp", prog_id=1, ifindex=99, mode="native")])
    yield Example(name="one in another namespace", why="no sibling", tables=far.build(), fires=1)
    cards = HostBuilder().link("eth0", mtu=9000).link("eth1", mtu=9000).bpf(programs=[program(1, "shield", type="xdp")])
    yield Example(name="cards", why="their drivers have limits of their own", tables=xdp(cards, "eth0", 1).build())
