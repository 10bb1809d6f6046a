"""What it checks
  A program on an interface or cgroup of this host is attached by a bpf_link that only one process keeps: the link is
  pinned nowhere. It names the process. And, with a baseline: such an attachment is gone, and so is the process that
  held it then, or so are all that did.

Why it matters
  The attachment ends in the moment in which that process ends, is restarted or killed for memory; packets then pass
  without the program until the new process has attached again. As long as it runs nothing is wrong: that is worth
  knowing before a restart. Once it has gone, what the program did (policy, accounting, steering) is not done any more.

Confirm
  bpftool link show id LINK
  ls -l /proc/PID/fd

Fix
  Let the agent pin its links (bpf_link__pin(), bpftool link pin id LINK PATH): the attachment then stays until the
  pin is removed, also when the agent is meant to take it away.

Not flagged
  While the process lives this is never more than information: that an attachment ends with its agent is what many want.
  Pinned links, links held by several processes, programs attached without a link. Where links, pins or processes could
  not be read, this is not evaluated. Attachments that are gone while the process still holds others: it took them away
  itself; those whose place a program has that was not there or has its name, and those of interfaces that are gone or
  were made anew for another guest.

References
  kernel/bpf/syscall.c bpf_link_put(); libbpf bpf_link__pin(); bpftool-link(8)
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.bpf import Bpf, BpfAttachment, BpfHolder, BpfPin
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.model.snapshot import Tables
from netdiag.rules.bpfplaces import hook_of, placed, where
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc, tcx
from netdiag.rules.expected import same_link, since
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-link-owner-dead",
    title="an eBPF attachment ends with the one process that holds it",
    severity="warning",
    confidence="likely",
    reads=("links", "bpf"),
    consults=("baseline",),
    explains=("bpf-tc-clsact-removed", "bpf-expected-missing-on-iface"),
)
UNREAD = {"pins", "holders", "links"}
ROOT = "/sys/fs/cgroup"
"""The cgroup of all processes, which never goes."""
Owner = tuple[int, str]
"""A process: pid and comm."""


def owners(table: Bpf) -> dict[int, Owner]:
    """By link, the one process that keeps it; links that are pinned or held by several are left out."""
    return {number: next(iter(who)) for number, who in keepers(table).items() if len(who) == 1}


def keepers(table: Bpf) -> dict[int, set[Owner]]:
    """By link that is pinned nowhere, the processes that keep it."""
    pinned = {pin.id for pin in table.pins if pin.kind == "link"}
    holders: dict[int, set[Owner]] = {}
    for holder in table.holders:
        if holder.kind == "link":
            holders.setdefault(holder.id, set()).add((holder.pid, holder.comm))
    return {number: who for number, who in holders.items() if number not in pinned}


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    table = view.bpf
    if UNREAD & set(table.unread):
        if any(row.link_id is not None for row in table.attachments):
            yield Unjudged(
                reason="links, pins or the files of processes were not read whole: a keeper may be among them"
            )
        return
    yield from _died(view)
    owner, programs = owners(table), {one.id: one for one in table.programs}
    for row in table.attachments:
        link = view.link(row.ifindex)
        if row.link_id not in owner or (link is None and row.hook != "cgroup"):
            continue
        pid, comm = owner[row.link_id]
        one = programs.get(row.prog_id)
        name = (one.function or one.name) if one else str(row.prog_id)
        place = f"{where(row)} of {link.ifname}" if link else f"{row.attach_type} of {row.cgroup}"
        yield RULE.found(
            subject=subject(
                "bpf-attachment", ifname=link.ifname if link else None, hook=row.attach_type or row.hook, name=name
            ),
            severity="info",
            confidence="certain",
            message=f"{name} ({place}) is attached by a link that only {comm} (process {pid}) holds: it goes with it",
            evidence=[
                (f"link {row.link_id} held by", f"{comm} ({pid})", f"/proc/{pid}/fdinfo link_id"),
                (f"link {row.link_id} pinned", "nowhere", "bpffs"),
            ],
            confirm=[f"bpftool link show id {row.link_id}", f"ls -l /proc/{pid}/fd"],
            fix=f"bpftool link pin id {row.link_id} /sys/fs/bpf/NAME  # if it is to outlive {comm}",
            touches=[subject("link", ifname=link.ifname)] if link else [],
        )


def _died(view: HostView) -> Iterator[Draft]:
    """Attachments of the baseline that went with the process that held them."""
    old = view.baseline
    if old is None or not old.read_whole("bpf") or UNREAD & set(old.bpf.unread):
        return
    kept, then = keepers(old.bpf), {(row.link.ifname, hook_of(row.at), row.at.prog_id) for row in placed(old)}
    alive = {(holder.pid, holder.comm) for holder in view.bpf.holders}
    yield from _died_of_cgroups(view, old, kept, alive)
    here = [(row.link.ifname, hook_of(row.at), row) for row in placed(view)]
    for row in placed(old):
        ifname, hook, who = row.link.ifname, hook_of(row.at), kept.get(row.at.link_id or 0, set())
        at = [one for name, place, one in here if (name, place) == (ifname, hook)]
        # a program of that name, or one that was not there, has taken its place; one that was there beside it has not
        taken = any(one.name == row.name or (ifname, hook, one.at.prog_id) not in then for one in at)
        if not who or who & alive or taken or same_link(old, view, ifname) is None:
            continue
        pid, comm = min(who)
        yield RULE.found(
            subject=subject("bpf-attachment", ifname=ifname, hook=row.at.attach_type or row.at.hook, name=row.name),
            message=f"{row.name} ({where(row.at)} of {ifname}) is gone {since(old)}: only {comm} (process {pid}"
            f"{', and others) held its link, and all are' if len(who) > 1 else ') held its link, and it is'} gone",
            evidence=[
                (f"link of {row.name} held by, then", f"{comm} ({pid})", f"/proc/{pid}/fdinfo link_id, {since(old)}"),
                (f"programs {row.name} at {hook} of {ifname}", 0, "BPF_PROG_QUERY"),
                (f"{comm} ({pid}) among the holders of eBPF objects", 0, "/proc/PID/fdinfo"),
            ],
            confirm=[f"bpftool net show dev {quoted(ifname)}"],
            fix=f"start {comm} again; and let it pin its links: bpftool link pin id LINK /sys/fs/bpf/NAME",
            touches=[subject("link", ifname=ifname)],
            breaks=[
                subject("link", ifname=ifname),
                subject("bpf-attachment", ifname=ifname, hook=hook, name=row.name),
            ],
        )


def _died_of_cgroups(view: HostView, old: HostView, kept: dict[int, set[Owner]], alive: set[Owner]) -> Iterator[Draft]:
    """The same of cgroups that are still there: the root, and those at which something else is attached."""
    here = [row for row in view.bpf.attachments if row.hook == "cgroup" and row.cgroup]
    there = {(row.cgroup, row.attach_type, row.prog_id) for row in old.bpf.attachments}
    for row in old.bpf.attachments:
        who, one = kept.get(row.link_id or 0, set()), old.bpf.program(row.prog_id)
        if row.hook != "cgroup" or not row.cgroup or one is None or not who or who & alive:
            continue
        name, at = one.function or one.name, [each for each in here if each.cgroup == row.cgroup]
        same = [each for each in at if each.attach_type == row.attach_type]
        names = {view.bpf.program(each.prog_id) for each in same}
        taken = any(each is not None and (each.function or each.name) == name for each in names)
        taken |= any((each.cgroup, each.attach_type, each.prog_id) not in there for each in same)
        if taken or not (at or row.cgroup == ROOT):
            continue
        pid, comm = min(who)
        yield RULE.found(
            subject=subject("bpf-attachment", hook=row.attach_type or row.hook, name=name),
            message=f"{name} ({row.attach_type} of {row.cgroup}) is gone {since(old)}: {comm} (process {pid}) held its"
            " link, and it is gone",
            evidence=[
                (f"link of {name} held by, then", f"{comm} ({pid})", f"/proc/{pid}/fdinfo link_id, {since(old)}"),
                (f"programs {name} at {row.cgroup}", 0, "BPF_PROG_QUERY"),
                (f"{comm} ({pid}) among the holders of eBPF objects", 0, "/proc/PID/fdinfo"),
            ],
            confirm=["bpftool cgroup tree"],
            fix=f"start {comm} again; and let it pin its links: bpftool link pin id LINK /sys/fs/bpf/NAME",
        )


def _host(*pids: int) -> HostBuilder:
    host = HostBuilder().link("eth0").bpf(programs=[program(1)])
    tcx(host, "eth0", 1, link_id=3)
    return host.bpf(holders=[BpfHolder(pid=pid, comm="agent", kind="link", id=3) for pid in pids])


def examples() -> Iterator[Example]:
    yield Example(
        name="one holder",
        why="it goes with it",
        tables=_host(77).build(),
        fires=1,
        subject=subject("bpf-attachment", ifname="eth0", name="policy"),
        severity="info",
        says=("only agent (process 77) holds",),
    )
    yield Example(name="two holders", why="one may go", tables=_host(77, 78).build())
    yield Example(name="no holder in sight", why="another namespace's process, or the kernel", tables=_host().build())
    pin = _host(77).bpf(pins=[BpfPin(path="/sys/fs/bpf/l", kind="link", id=3)])
    yield Example(name="pinned", why="it stays", tables=pin.build())
    blind = _host(77).bpf(unread=["pins"])
    yield Example(name="pins not read", why="nobody knows", tables=blind.build(), unjudged=True)
    bare = tc(HostBuilder().link("eth0").bpf(programs=[program(1)], unread=["pins"]), "eth0", 1)
    yield Example(name="pins not read, and no link", why="nothing to keep", tables=bare.build())
    other = _host(77).bpf(pins=[BpfPin(path="/sys/fs/bpf/p", kind="prog", id=3)])
    yield Example(name="a program pinned under its number", why="ids are numbered apart", tables=other.build(), fires=1)
    held = [BpfHolder(pid=77, comm="agent", kind="link", id=3)]
    far = BpfAttachment(hook="tcx", ifindex=99, direction="ingress", prog_id=1, link_id=3)
    away = HostBuilder().bpf(programs=[program(1)], holders=held, attachments=[far]).build()
    yield Example(name="in another namespace", why="that one's matter", tables=away)
    group = BpfAttachment(hook="cgroup", attach_type="cgroup_sock_ops", cgroup="/sys/fs/cgroup", prog_id=1, link_id=3)
    made = HostBuilder().bpf(programs=[program(1)], holders=held, attachments=[group]).build()
    yield Example(name="of a cgroup", why="the same", tables=made, fires=1)
    plain = HostBuilder().link("eth0").bpf(programs=[program(1)], holders=held)
    yield Example(name="without a link", why="its filter keeps it", tables=tc(plain, "eth0", 1).build())
    yield from _died_examples()


def _died_examples() -> Iterator[Example]:
    """Since a baseline in which agent, process 77, held the link alone."""
    before, bare = _host(77).build(), HostBuilder().link("eth0")
    here = [BpfHolder(pid=77, comm="agent", kind="map", id=9)]
    again = tcx(HostBuilder().link("eth0").bpf(programs=[program(2, "other")]), "eth0", 2, link_id=4)
    pin = _host(77).bpf(pins=[BpfPin(path="/sys/fs/bpf/l", kind="link", id=3)])
    yield Example(
        name="gone with its agent",
        why="nobody attached it again",
        tables=bare.build(),
        baseline=before,
        fires=1,
        severity="warning",
        subject=subject("bpf-attachment", ifname="eth0", name="policy"),
        says=("only agent (process 77) held its link, and it is gone",),
    )
    beside = HostBuilder().link("eth0").bpf(programs=[program(1), program(5, "other")])
    tcx(tcx(beside, "eth0", 1, link_id=3), "eth0", 5, link_id=6)
    both = beside.bpf(holders=[BpfHolder(pid=77, comm="agent", kind="link", id=3)]).build()
    left = tcx(HostBuilder().link("eth0").bpf(programs=[program(5, "other")]), "eth0", 5, link_id=6).build()
    yield Example(name="gone from beside another", why="that was there before", tables=left, baseline=both, fires=1)
    two, says = _host(77, 78).build(), ("(process 77, and others) held its link, and all are gone",)
    yield Example(name="two held it", why="both ended", tables=bare.build(), baseline=two, fires=1, says=says)
    tail = HostBuilder().link("eth0").bpf(holders=[BpfHolder(pid=78, comm="agent", kind="map", id=9)])

    def grouped(*places: tuple[str, int], pids: tuple[int, ...] = ()) -> Tables:
        made = HostBuilder().bpf(programs=[program(1), program(5, "other")])
        for at, (cgroup, number) in enumerate(places):
            row = BpfAttachment(hook="cgroup", attach_type="cgroup_inet_ingress", cgroup=cgroup, prog_id=number,
                                link_id=3 + at)  # fmt: skip
            made.bpf(attachments=[row])
        return made.bpf(holders=[BpfHolder(pid=pid, comm="agent", kind="link", id=3) for pid in pids]).build()

    inner, held = f"{ROOT}/a.slice", {"pids": (77,)}
    for name, now, then, fires in (
        ("of the root", grouped(), grouped((ROOT, 1), **held), 1),
        ("of the root, and another took its place", grouped((ROOT, 5)), grouped((ROOT, 1), **held), 0),
        ("of the root, from beside another", grouped((ROOT, 5)), grouped((ROOT, 1), (ROOT, 5), **held), 1),
        ("of the root, attached anew", grouped((ROOT, 1)), grouped((ROOT, 1), **held), 0),
        ("of a cgroup that is gone", grouped(), grouped((inner, 1), **held), 0),
        ("of a cgroup that has others", grouped((inner, 5)), grouped((inner, 1), (inner, 5), **held), 1),
        ("of the root, and its agent lives", grouped(pids=(77,)), grouped((ROOT, 1), **held), 0),
        ("of the root, and nobody held it", grouped(), grouped((ROOT, 1)), 0),
    ):
        why = "a program for all processes, or for some"
        yield Example(name=f"gone {name}", why=why, tables=now, baseline=then, fires=fires)
    for name, tables, then in (
        ("the agent lives", HostBuilder().link("eth0").bpf(holders=here).build(), before),
        ("another is in its place", again.build(), before),
        ("the interface is gone", HostBuilder().link("eth1").build(), before),
        ("it was pinned", bare.build(), pin.build()),
        ("one of two held it lives", tail.build(), _host(77, 78).build()),
        ("holders were not read then", bare.build(), _host(77).bpf(unread=["holders"]).build()),
    ):
        yield Example(name=f"gone, and {name}", why="not for its agent's death", tables=tables, baseline=then)
