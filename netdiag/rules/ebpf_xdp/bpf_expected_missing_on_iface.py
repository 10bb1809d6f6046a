"""What it checks
  An interface lacks an eBPF program that it is meant to have: [[bpf]] of the intent names it, the baseline had it, or
  more than nine out of ten of its siblings (of its kind and, but for a number, its name) have it at that hook and this
  one does not: of guests' interfaces four siblings are enough, of others it takes ten. Where they are fewer: a sibling
  has it, and this one shows a trace of it: a clsact qdisc without any filter, or that very program (same name and tag)
  pinned and attached nowhere, once for each interface that lacks it. Such a trace is a warning at guests' interfaces,
  which one agent treats alike, and information elsewhere.

Why it matters
  Programs are attached by agents, interface by interface. One that missed a new tap, or lost its programs when an
  interface was made anew, leaves that interface's packets unfiltered, unrewritten or uncounted; nothing else changes,
  so nobody notices.

Confirm
  bpftool net show dev IFNAME
  tc filter show dev IFNAME ingress

Fix
  Let the agent that owns the program attach it again; netdiag does not know what it would pass to the loader. By hand:
  tc qdisc add dev IFNAME clsact; tc filter add dev IFNAME ingress bpf da pinned PATH.

Not flagged
  tc-ingress and tc-egress are met by clsact and tcx alike. A name that the kernel cut at 15 bytes. Interfaces made
  between the two samples of the counters, and interfaces that are down, when only their siblings tell. The newest
  of its kind is information where all its addresses are less than ten seconds old, or the counters were not read: its
  agent may be on the way. An older one, whose younger sibling has the program, is judged. Fewer siblings
  without a trace: only the intent or a baseline tells. A glob that matches nothing. Another build of the same name
  where the intent gives no tag. Against a baseline: interfaces of guests that were made anew; a hook at which there is
  a program that was not there then; all tc programs of an interface gone at once, which is
  bpf-tc-clsact-removed. Without a [[bpf]] section, a baseline or siblings the rule is not evaluated.

References
  net/sched/cls_bpf.c; net/core/dev.c dev_xdp_attach(); Documentation/bpf/
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from netdiag.index.guests import faces_guest
from netdiag.index.view import HostView
from netdiag.model.bpf import BpfAttachment, BpfPin
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.model.intent import IntendedProgram
from netdiag.model.link import Link
from netdiag.model.snapshot import Tables
from netdiag.model.tc import INGRESS, Qdisc, Tc, TcFilter
from netdiag.rules.bpfplaces import Placed, family_of, hook_of, named, placed, referred
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc, tcx, xdp
from netdiag.rules.build_traces import age_examples, baseline_examples, taps, trace_examples
from netdiag.rules.expected import just_made, same_link, since, untold
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-expected-missing-on-iface",
    title="an interface lacks an eBPF program that it is meant to have",
    severity="warning",
    reads=("bpf", "links"),
    consults=("intent.bpf", "baseline", "counters", "qdiscs", "addresses"),
    explains=("bpf-prog-pinned-unattached", "bpf-version-skew-across-ifaces"),
)
SIBLINGS, GUESTS = 10, 4
"""So many others of a kind are enough to go by; of interfaces of guests."""
SHARE = 0.9
NUMBERED = re.compile("[A-Za-z_.-]+[0-9a-f]+|(?=.*[0-9])[A-Za-z0-9_-]+")  # VLANs (eth0.100) have purposes of their own


class Place(NamedTuple):
    """Where a program is meant to be."""

    hook: str
    ifname: str
    name: str


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    rows = list(placed(view))
    told, traced = view.intent.bpf, list(_traced(view, rows))
    if not traced and not _crowd(view):
        yield from untold(view, "bpf")
    said: set[tuple[str, str]] = set()
    for want in told or ():
        for draft, place in _meant(view, want, rows):
            said.add((place.ifname, place.hook))
            yield draft
    if view.baseline is not None and view.baseline.read_whole("bpf"):
        for place in _gone(view.baseline, view, rows):
            if (place.ifname, place.hook) not in said:
                said.add((place.ifname, place.hook))
                yield _draft(place, f"it is gone {since(view.baseline)}", f"BPF_PROG_QUERY, {since(view.baseline)}")
    for place, share, settled in _alone(view, rows):
        if (place.ifname, place.hook) not in said:
            said.add((place.ifname, place.hook))
            why, source = f"{share} of its kind have it", "BPF_PROG_QUERY of its siblings"
            yield _draft(place, why if settled else f"{why}; it may be new", source, likely=True, sure=settled)
    for place, trace, source in traced:
        if (place.ifname, place.hook) not in said:
            yield _draft(place, trace, source, likely=True, sure=_for_guests(view, view.stack.by_name[place.ifname]))


def _meant(view: HostView, want: IntendedProgram, rows: list[Placed]) -> Iterator[tuple[Draft, Place]]:
    source = "intent [[bpf]]"
    if want.ifname is None:
        programs = [view.bpf.program(row.prog_id) for row in view.bpf.attachments if hook_of(row) == want.hook]
        have = [p for p in programs if p is not None and (named(p.name, want.name) or p.function == want.name)]
        if not any(want.tag in (None, p.tag) for p in have):
            place = Place(want.hook, "", want.name)
            yield _draft(place, "no cgroup has it", source), place
        return
    names = [link.ifname for link in view.links if fnmatchcase(link.ifname, want.ifname)]
    if not names and not set("*?[") & set(want.ifname):
        place = Place(want.hook, want.ifname, want.name)
        yield _draft(place, f"there is no interface {want.ifname}", source), place
    for ifname in names:
        at = [row for row in rows if row.link.ifname == ifname and hook_of(row.at) == want.hook]
        alike = [row for row in at if named(row.name, want.name)]
        if any(want.tag in (None, row.tag) for row in alike):
            continue
        other = f"the one of that name has the tag {alike[0].tag}, not {want.tag}" if alike else ""
        other = other or (f"{', '.join(sorted({row.name for row in at}))} is there" if at else "nothing is there")
        place = Place(want.hook, ifname, want.name)
        yield _draft(place, other, source), place


def _gone(old: HostView, new: HostView, rows: list[Placed]) -> Iterator[Place]:
    """Programs of the baseline whose interface is still here and that have no successor at their hook: another that
    was not there may be an upgrade."""
    now, then = _names(rows), _names(placed(old))
    tc = {ifname for ifname, hook in now if hook.startswith("tc-")}
    for (ifname, hook), names in then.items():
        here = now.get((ifname, hook), [])
        if same_link(old, new, ifname) is None or set(here) - set(names):
            continue
        if hook.startswith("tc-") and ifname not in tc:
            continue  # bpf-tc-clsact-removed speaks about interfaces that lost everything
        yield from (Place(hook, ifname, name) for name in dict.fromkeys(names) if name not in here)


def _names(rows: Iterable[Placed]) -> dict[tuple[str, str], list[str]]:
    """Names of the programs at each interface and hook."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        found.setdefault((row.link.ifname, hook_of(row.at)), []).append(row.name)
    return found


def _crowd(view: HostView) -> list[tuple[str, list[Link]]]:
    """Classes of interfaces with enough members to go by."""
    found = []
    for name, links in _classes(view):
        guests = all(_for_guests(view, link) for link in links)
        if len(links) > (GUESTS if guests else SIBLINGS):
            found.append((name, links))
    return found


def _classes(view: HostView) -> list[tuple[str, list[Link]]]:
    """Interfaces of one name but for the number, and of one kind, that are up."""
    classes: dict[tuple[str, str | None], list[Link]] = {}
    for link in view.links:
        if NUMBERED.fullmatch(link.ifname) and link.lower_up:
            classes.setdefault((family_of(link.ifname), link.kind), []).append(link)
    return [(name, links) for (name, _), links in classes.items()]


def _traced(view: HostView, rows: list[Placed]) -> Iterator[tuple[Place, str, str]]:
    """Interfaces without a program that a sibling of theirs has, and that was here or was meant for them."""
    empty, before = _empty_clsacts(view), _seen_before(view)
    for _, links in _classes(view):
        members = {link.ifname for link in links}
        here = [row for row in rows if row.link.ifname in members]
        for hook, name, tag in dict.fromkeys((hook_of(row.at), row.name, row.tag) for row in here):
            taken = {row.link.ifname for row in here if hook_of(row.at) == hook}
            lacking = [link for link in links if link.ifname not in taken]
            sibling = next(row for row in here if (hook_of(row.at), row.name) == (hook, name))
            spare = _spares(view, name, tag) == len(lacking)
            for link in lacking:
                if before is not None and link.ifindex not in before:
                    continue
                place, has = Place(hook, link.ifname, name), f"{sibling.link.ifname} has it"
                if link.ifindex in empty and sibling.at.hook == "tc":
                    empty.discard(link.ifindex)  # one cause, however many programs were lost with it
                    source = f"RTM_GETQDISC, RTM_GETTFILTER {link.ifname}"
                    yield place, f"{has}, and the clsact of {link.ifname} has no filter left", source
                elif spare:
                    yield place, f"{has}, and the same is pinned once more and attached nowhere", "BPF_OBJ_GET of pins"


def _for_guests(view: HostView, link: Link) -> bool:
    """A tap, or a cable to one guest, which has single addresses at most: one agent treats all of them alike. What is
    done on one uplink may well not be meant for the other."""
    own = [row for row in view.addresses if row.ifindex == link.ifindex and row.scope == 0]
    single = all(row.prefixlen == (32 if row.family == "inet" else 128) for row in own)
    return link.kind == "tun" or (faces_guest(link) and view.read_whole("addresses") and single)


def _empty_clsacts(view: HostView) -> set[int]:
    """Interfaces with a clsact and no filter: it does nothing by itself, so there was one."""
    if not view.read_whole("qdiscs"):
        return set()
    used = {row.ifindex for row in view.bpf.attachments if row.hook == "tc"}
    used |= {row.ifindex for row in view.qdiscs.filters}
    alone = [row for row in view.qdiscs.qdiscs if row.ingress_block is None and row.egress_block is None]
    return {row.ifindex for row in alone if row.kind == "clsact"} - used


def _spares(view: HostView, name: str, tag: str) -> int:
    """How many programs of a name and tag are pinned, and nothing else refers to them."""
    used, pinned = referred(view.bpf), {pin.id for pin in view.bpf.pins if pin.kind == "prog"}
    alike = [one for one in view.bpf.programs if (one.function or one.name, one.tag) == (name, tag)]
    return sum(one.id in pinned and one.id not in used for one in alike)


def _seen_before(view: HostView) -> set[int] | None:
    """Interfaces of the first sample of the counters; None: not known. A newer one may still be waiting."""
    whole = view.read_whole("counters") and view.counters.links
    return {row.ifindex for row in view.counters.links} if whole else None


def _alone(view: HostView, rows: list[Placed]) -> Iterator[tuple[Place, str, bool]]:
    """Places without what nearly all siblings have, how many have it, and whether an agent had time to bring it."""
    old = _seen_before(view)
    for _, links in _crowd(view):
        members = {link.ifname for link in links}
        have: dict[tuple[str, str], set[str]] = {}
        for row in rows:
            if row.link.ifname in members:
                have.setdefault((hook_of(row.at), row.name), set()).add(row.link.ifname)
        for (hook, name), names in have.items():
            lacking = [link for link in links if link.ifname not in names]
            if len(names) <= SHARE * (len(members) - 1):
                continue
            youngest = max(link.ifindex for link in links if link.ifname in names)  # the kernel counts upwards
            for link in lacking:
                if old is None or link.ifindex in old:
                    waited = old is not None and not just_made(view, link)
                    settled = waited or link.ifindex < youngest
                    yield Place(hook, link.ifname, name), f"{len(names)} of {len(members) - 1} others", settled


def _draft(place: Place, why: str, source: str, *, likely: bool = False, sure: bool = True) -> Draft:
    hook, ifname, name = place
    where = f"{hook} of {ifname}" if ifname else hook
    shown = f"bpftool net show dev {quoted(ifname)}" if ifname else "bpftool cgroup tree"
    return RULE.found(
        subject=subject("bpf-attachment", hook=hook, ifname=ifname or None, name=name),
        confidence=("likely" if sure else "possible") if likely else None,
        message=f"the program {name} is not at {where} ({why})",
        evidence=[("meant to be there", f"{name} at {where}", source), (f"{name} at {where}", 0, "BPF_PROG_QUERY")],
        confirm=[shown, *([f"tc -s qdisc show dev {quoted(ifname)}"] if hook.startswith("tc-") else [])],
        fix=f"restart the agent that attaches {name}; it has to be at {where}",
        touches=[subject("link", ifname=ifname)] if ifname else [],
        breaks=[subject("link", ifname=ifname)] if ifname else [],
    )


def _case(name: str, why: str, host: HostBuilder, *, want: dict[str, Any] | None = None, **expected: Any) -> Example:
    told = {"hook": "tc-ingress", "ifname": "tap0", "name": "worker_in"} | (want or {})
    return Example(name=name, why=why, tables=host.intend(bpf=(IntendedProgram(**told),)).build(), **expected)


def examples() -> Iterator[Example]:
    about = subject("bpf-attachment", ifname="tap0", hook="tc-ingress", name="worker_in")
    bad: dict[str, Any] = {"fires": 1, "subject": about, "severity": "warning"}
    yield _case("nothing there", "the plain fault", taps(), **bad)
    yield _case("by clsact", "as it should be", tc(taps(), "tap0", 1))
    yield _case("by tcx", "the same", tcx(taps(), "tap0", 1))
    yield _case("on the way out", "the other side does not help", tc(taps(), "tap0", 1, direction="egress"), **bad)
    yield _case("another program", "it does something else", tc(taps(), "tap0", 2), says=("other is there",), **bad)
    yield _case("by XDP", "another hook", xdp(taps(), "tap0", 1), **bad)
    yield _case("the tag too", "that very build", tc(taps(), "tap0", 1), want={"tag": "aa" * 8})
    yield _case("another tag", "the wrong build", tc(taps(), "tap0", 1), want={"tag": "cc" * 8}, **bad)
    yield _case("a glob", "each interface of the kind", tc(taps(3), "tap1", 1), want={"ifname": "tap*"}, fires=2)
    yield _case("a glob for nothing", "no guest is here", taps(), want={"ifname": "veth*"})
    gone = subject("bpf-attachment", ifname="wg0")
    yield _case("no such interface", "it is meant to be", taps(), want={"ifname": "wg0"}, fires=1, subject=gone)
    cut = HostBuilder().link("tap0").bpf(programs=[program(1, "worker_ingress_")])
    yield _case(
        "a name that was cut", "the kernel keeps 15 bytes", tc(cut, "tap0", 1), want={"name": "worker_ingress_v4"}
    )
    yield _case(
        "in a cgroup", "of the whole machine", taps(), want={"hook": "cgroup-inet-ingress", "ifname": None}, fires=1
    )
    yield Example(name="nothing to go by", why="no intent, no siblings", tables=taps().build(), unjudged=True)
    for other in ("worker_ingress", "worker_ingresX_"):
        short = HostBuilder().link("tap0").bpf(programs=[program(1, other)])
        want = {"name": "worker_ingress_v4"}
        yield _case(f"no cut name: {other}", "it would be longer", tc(short, "tap0", 1), want=want, fires=1)
    wrong = ("the one of that name has the tag aaaa",)
    yield _case(
        "says which build", "not only that one is", tc(taps(), "tap0", 1), want={"tag": "cc" * 8}, fires=1, says=wrong
    )
    bare = taps().bpf(attachments=[BpfAttachment(hook="xdp", prog_id=1, ifindex=2)])
    yield _case("by XDP, as meant", "no attach type is told", bare, want={"hook": "xdp"})
    yield from _cgroups()
    yield from _siblings()


def _siblings() -> Iterator[Example]:
    def crowd(count: int, lacking: int, **link: Any) -> HostBuilder:
        host = taps(count)
        for number in range(lacking, count):
            tc(host, f"tap{number}", 1)
        return host.link("tap0", kind="tun", ifindex=host.ifindex("tap0"), **link)

    about = subject("bpf-attachment", ifname="tap0")
    told: dict[str, Any] = {"fires": 1, "subject": about, "confidence": "likely"}
    yield from age_examples(crowd)
    yield Example(name="one of eleven", why="its siblings have it", tables=crowd(11, 1).build(), **told)
    yield Example(name="one of five guests", why="four siblings", tables=crowd(5, 1).build(), **told)
    yield Example(name="one of four guests", why="too few to go by", tables=crowd(4, 1).build(), unjudged=True)
    yield Example(name="two of six guests", why="not an exception", tables=crowd(6, 2).build())
    for count, fires in ((11, 1), (10, 0)):
        host = HostBuilder().bpf(programs=[program(1, "worker_in")])
        for number in range(count):
            host.link(f"eth{number}")
            if number:
                tc(host, f"eth{number}", 1)
        name, why = f"one of {count} uplinks", "they need not be alike"
        yield Example(name=name, why=why, tables=host.build(), fires=fires, unjudged=not fires)
    cables = HostBuilder().bpf(programs=[program(1, "worker_in")])
    for number, ifname in enumerate(("cali1a2b3c4", "calibeef012", "califfff0ff", "cali0000000", "calid1d1d1d")):
        cables.link(ifname, kind="veth", link_netnsid=number)
        if number:
            tc(cables, ifname, 1)
    yield Example(name="random names", why="engines give them", tables=cables.build(), fires=1)
    yield Example(name="two of eleven", why="not an exception", tables=crowd(11, 2).build())
    forms = (
        ("tap{}i0", "the machine's number and the card's"),
        ("tap3f9a2c1{}-7b", "of a UUID"),
        ("fc-7a9b{}-1", "both"),
    )
    for form, why in forms:
        many = HostBuilder().bpf(programs=[program(1, "worker_in")])
        for number in range(5):
            many.link(form.format(number), kind="tun")
            if number:
                tc(many, form.format(number), 1)
        yield Example(name=f"names as {form}", why=why, tables=many.build(), fires=1)
    yield Example(name="one that is down", why="it is in the pool", tables=crowd(11, 1, up=False).build())
    before = xdp(taps(), "tap0", 1).build()
    yield Example(name="gone since", why="the baseline had it", tables=taps().build(), baseline=before, fires=1)
    late: dict[str, Any] = {"baseline": before, "late_then": ("bpf",)}
    yield Example(name="then not read", why="nobody knows what was there", tables=taps().build(), **late)
    other = xdp(taps(), "tap0", 2).build()
    yield Example(name="replaced since", why="an upgrade", tables=other, baseline=before)
    yield from baseline_examples()
    anew = HostBuilder().link("tap9").link("tap0", kind="tun").build()
    yield Example(name="made anew since", why="another guest's", tables=anew, baseline=before)
    yield from _traces()


def _traces() -> Iterator[Example]:
    """Two of a kind, one with its program, one without."""

    def two(host: HostBuilder | None = None, *, clsact: bool = True, filtered: bool = False, **blocks: Any) -> Tables:
        host = tc(host or taps(2), "tap1", 1)
        own, ingress = host.ifindex("tap0"), 0xFFFFFFF2
        rows = (Qdisc(ifindex=own, kind="clsact", handle=0xFFFF0000, parent=INGRESS, **blocks),) if clsact else ()
        others = (
            (TcFilter(ifindex=own, parent=ingress, kind="flower", handle=1, priority=1, protocol=3),)
            if filtered
            else ()
        )
        return replace(host.build(), qdiscs=Tc(qdiscs=rows, filters=others))

    def pinned(*numbers: int, tag: str = "aa" * 8) -> dict[str, Any]:
        pins = [BpfPin(path=f"/sys/fs/bpf/p{number}", kind="prog", id=number) for number in numbers]
        return {"programs": [program(number, "worker_in", tag=tag) for number in numbers if number > 2], "pins": pins}

    told: dict[str, Any] = {"fires": 1, "subject": subject("bpf-attachment", ifname="tap0"), "confidence": "likely"}
    yield Example(name="an empty clsact beside one in use", why="its filter was deleted", tables=two(), **told)
    for numbers in ((1, 3), (3,)):
        name = f"pinned for it, attached nowhere, {len(numbers)}"
        spare = two(taps(2).bpf(**pinned(*numbers)), clsact=False)
        yield Example(name=name, why="its clsact was deleted", tables=spare, **told)
    yield from trace_examples(two)
    uplinks = HostBuilder().link("eth0").link("eth1").bpf(programs=[program(1, "worker_in")])
    uplinks.address("eth0", "192.0.2.1/30").address("eth1", "192.0.2.5/30")
    rows = (Qdisc(ifindex=uplinks.ifindex("eth0"), kind="clsact", handle=0xFFFF0000, parent=INGRESS),)
    left = replace(tc(uplinks, "eth1", 1).build(), qdiscs=Tc(qdiscs=rows))
    yield Example(name="uplinks", why="the second may have another task", tables=left, fires=1, severity="info")
    for name, prefix, severity in (("guest", "10.0.0.1/32", "warning"), ("network", "10.0.0.1/30", "info")):
        cables = HostBuilder().bpf(programs=[program(1, "worker_in")])
        for ifname in ("veth0", "veth1"):
            cables.link(ifname, kind="veth", link_netnsid=0).address(ifname, prefix).address(ifname, "fe80::1/64")
            cables.address(ifname, "2001:db8::1/128")
        cables.link("eth0").address("eth0", "192.0.2.2/24")
        rows = (Qdisc(ifindex=cables.ifindex("veth0"), kind="clsact", handle=0xFFFF0000, parent=INGRESS),)
        left = replace(tc(cables, "veth1", 1).build(), qdiscs=Tc(qdiscs=rows))
        yield Example(name=f"cables to a {name}", why="by address", tables=left, fires=1, severity=severity)  # type: ignore[arg-type]
        late: dict[str, Any] = {"late": ("addresses",), "severity": "info", "unjudged": True}
        yield Example(name=f"{name}, not read", why="who knows", tables=left, fires=1, **late)
    yield Example(name="no trace", why="two roles", tables=two(clsact=False), unjudged=True)
    other = two(filtered=True)
    yield Example(name="another filter there", why="it is for something else", tables=other, unjudged=True)
    old = two(taps(2).bpf(**pinned(3, tag="cc" * 8)), clsact=False)
    yield Example(name="another build is pinned", why="kept to go back to", tables=old, unjudged=True)
    more = two(taps(2).bpf(**pinned(3, 4)), clsact=False)
    yield Example(name="two are pinned for one", why="not one for each", tables=more, unjudged=True)


def _cgroups() -> Iterator[Example]:
    hook: dict[str, Any] = {"hook": "cgroup", "attach_type": "cgroup_inet_ingress", "cgroup": "/sys/fs/cgroup"}
    for name, fires, number, one, more in (
        ("by its name", 0, 1, program(1, "worker_in"), {}),
        ("by its whole name", 0, 1, program(1, "worker", function="worker_in"), {}),
        ("by a cut name", 0, 1, program(1, "worker_ingress_"), {"name": "worker_ingress_v4"}),
        ("another one", 1, 1, program(1, "other"), {}),
        ("one that is not read", 1, 9, program(1, "worker_in"), {}),
        ("of the right tag", 0, 1, program(1, "worker_in"), {"tag": "aa" * 8}),
        ("of the wrong tag", 1, 1, program(1, "worker_in"), {"tag": "cc" * 8}),
        ("at another hook", 1, 1, program(1, "worker_in"), {"hook": "cgroup-inet-egress"}),
    ):
        host = HostBuilder().bpf(programs=[one], attachments=[BpfAttachment(prog_id=number, **hook)])
        want = {"hook": "cgroup-inet-ingress", "ifname": None, **more}
        yield _case(f"in a cgroup, {name}", "the hook, the name and the tag count", host, want=want, fires=fires)
