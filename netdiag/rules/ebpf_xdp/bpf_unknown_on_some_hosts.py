"""What it checks
  A program at a network hook (XDP, tc, tcx, netkit) of some hosts of a role and of none of their siblings, at least
  three hosts in all, whose name neither the intent of one of them nor more than two thirds of the role know.

Why it matters
  An agent came to some hosts and looks at, slows or changes every packet there. Host by host nobody notices: each
  looks like its neighbour, until somebody asks which hosts are the slow ones.

Confirm
  bpftool net show                          (on a host that has it, and on one that has not)
  bpftool prog show name NAME               (who loaded it, when, its maps; /proc/PID/fdinfo names the holder)

Fix
  Find its owner (the process that holds it, its pins), then detach it or bring it to all: name it in [[bpf]] of the
  intent. Detaching changes what happens to packets at once.

Not flagged
  Another build of a name that all have: a roll-out. Names that are usual in another role. Hosts that were booted after
  the program came, or have no program of the role yet: they are being provisioned. Hosts without an interface of that
  kind. Programs that trace; systemd's own.

References
  bpftool-net(8); include/uapi/linux/bpf.h BPF_PROG_QUERY
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from netdiag.index.fleet import FleetHost, FleetView, across, on
from netdiag.model.bpf import BpfAttachment
from netdiag.model.finding import Draft, subject
from netdiag.model.intent import IntendedProgram
from netdiag.model.link import Link
from netdiag.model.snapshot import Tables
from netdiag.rules.bpfplaces import SYSTEMD, Placed, placed_among, where
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc
from netdiag.rules.shape import FleetExample, Rule, quoted

RULE = Rule(
    id="bpf-unknown-on-some-hosts",
    title="a program sits in the way of packets on some hosts of a role only",
    severity="warning",
    confidence="likely",
    reads=("bpf", "links"),
    explains=(
        "bpf-unexpected-program",
        "bpf-xdp-generic-fallback",
        "bpf-tc-duplicate-version",
        "bpf-tc-terminal-shadow",
    ),
    scope="fleet",
)
LEAST, MOST_SHARE = 3, 2 / 3


def kind_of(link: Link) -> str:
    """What interfaces are compared with each other: taps, tunnels, cards; and veths by the letters that their names
    begin with, because one host has them for containers and another for itself."""
    if link.loopback:
        return "loopback"
    if link.kind in ("veth", "netkit"):
        return f"{link.kind} {re.split('[^a-z_-]', link.ifname)[0]}"
    return link.kind or "card"


def check(view: FleetView) -> Iterator[Draft]:
    roles: dict[str, list[tuple[FleetHost, dict[str, Placed]]]] = defaultdict(list)
    for host in view.reading("bpf", "links"):
        if "attachments" not in host.tables.bpf.unread:
            found = placed_among(host.tables.links, host.tables.bpf)
            mine = {row.name: row for row in found if not row.name.startswith(SYSTEMD)}
            roles[host.labels.get("role", "")].append((host, mine))
    usual = {
        role: {name for _, names in rows for name in names if _share(name, rows) > MOST_SHARE}
        for role, rows in roles.items()
    }
    for role, rows in sorted(roles.items()):
        known = _intended(rows) | set().union(*usual.values())
        for name in sorted({name for _, names in rows for name in names} - known):
            having = [(host, names[name]) for host, names in rows if name in names]
            kinds = {kind_of(row.link) for _, row in having}
            lacking = [h for h, names in rows if name not in names and _could(h, names, kinds, usual[role], having)]
            if lacking and len(having) + len(lacking) >= LEAST:
                yield _finding(role, name, having, lacking)


def _share(name: str, rows: list[tuple[FleetHost, dict[str, Placed]]]) -> float:
    return sum(name in names for _, names in rows) / len(rows)


def _intended(rows: list[tuple[FleetHost, dict[str, Placed]]]) -> set[str]:
    return {want.name for host, _ in rows for want in host.tables.intent.bpf or ()}


def _could(
    host: FleetHost,
    names: dict[str, Placed],
    kinds: set[str],
    usual: set[str],
    having: list[tuple[FleetHost, Placed]],
) -> bool:
    """Whether a host that lacks a program could have it: it has such an interface and is not just being made."""
    if not any(link.up and kind_of(link) in kinds for link in host.tables.links):
        return False
    if usual and not usual & set(names):
        return False
    uptime = host.snapshot.meta.uptime
    ages = [
        other.snapshot.meta.uptime - row.loaded_at
        for other, row in having
        if other.snapshot.meta.uptime is not None and row.loaded_at is not None
    ]
    return uptime is None or not ages or uptime >= min(ages)


def _finding(role: str, name: str, having: list[tuple[FleetHost, Placed]], lacking: list[FleetHost]) -> Draft:
    first, row = having[0]
    names = sorted(host.name for host, _ in having)
    ids = {at.at.prog_id for host, at in having if host is first}
    holders = sorted({f"{h.comm}[{h.pid}]" for h in first.tables.bpf.holders if h.kind == "prog" and h.id in ids})
    pins = sorted({pin.path for pin in first.tables.bpf.pins if pin.kind == "prog" and pin.id in ids})
    ifname = row.link.ifname
    return RULE.found(
        subject=across(names, subject("bpf-program", name=name)),
        message=f"the program {name} sits at {where(row.at)} of {ifname} on {_listed(names)}, and on none of "
        f"{len(lacking)} other host{'' if len(lacking) == 1 else 's'} of role {role or 'unknown'} that could have it",
        evidence=[
            ("hosts that have it", _listed(names), "BPF_PROG_QUERY, RTM_GETTFILTER, IFLA_XDP"),
            ("hosts that have not", _listed(sorted(host.name for host in lacking)), "the same"),
            (f"held on {first.name} by", ", ".join([*holders[:3], *pins[:3]]) or "its hook only", "fdinfo, bpffs"),
        ],
        confirm=[f"bpftool net show dev {quoted(ifname)}", f"bpftool prog show tag {row.tag}"],
        fix=f"find its owner on {first.name} ({', '.join([*holders[:1], *pins[:1]]) or 'unknown'}); detach it, or name "
        "it in [[bpf]] of the intent",
        breaks=[
            thing
            for host, at in having
            for thing in (
                on(host.name, subject("bpf-program", name=name)),
                on(host.name, subject("link", ifname=at.link.ifname)),
            )
        ],
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def examples() -> Iterator[FleetExample]:
    def worker(
        *attached: str, tap: bool = True, tag: str = "aa" * 8, late: float | None = 600.0, wants: str = ""
    ) -> Any:
        names = ("worker_in", "spy")
        programs = [
            program(n, name, tag=tag, loaded_at=None if late is None else 1e5 - late) for n, name in enumerate(names, 1)
        ]
        host = HostBuilder().link("eth0").bpf(programs=programs)
        if tap:
            host.link("tap0", kind="tun")
        for name in attached:
            ifname = "eth0" if name == "spy" else "tap0"
            tc(host, ifname, names.index(name) + 1, priority=names.index(name) + 1)
        if wants:
            host.intend(bpf=(IntendedProgram(hook="tc-ingress", ifname="eth*", name=wants),))
        return host.build()

    def case(name: str, why: str, *hosts: Any, fires: int = 0, **more: Any) -> FleetExample:
        named = {f"fra-worker{number}": one for number, one in enumerate(hosts, 1)}
        return FleetExample(name=name, why=why, hosts=named, fires=fires, **more)

    plain, spied = worker("worker_in"), worker("worker_in", "spy")
    yield case("on two of three", "an agent came", spied, spied, plain, fires=1)
    yield case("alone, on two of three", "nothing else is attached", worker("spy"), worker("spy"), worker(), fires=1)
    yield case("on one of four", "the same", spied, plain, plain, plain, fires=1)
    yield case("on all", "it is known here", spied, spied, spied)
    yield case("two hosts", "who of them is right?", spied, plain)
    yield case("a new build", "a roll-out of a known name", worker("worker_in", tag="bb" * 8), plain, plain)
    yield case("meant", "the intent names it", worker("worker_in", "spy", wants="spy"), plain, plain)
    yield case("provisioning", "the fourth has nothing yet", plain, plain, plain, worker())
    yield case("no guests there", "no interface to have it on", plain, plain, worker(tap=False), worker(tap=False))
    young = worker("worker_in", "spy", late=2e5)
    yield case("older than a host", "it came before the third was booted", young, young, plain)
    yield case(
        "there last night too", "nobody has looked yet", spied, plain, plain, earlier={"fra-worker1": spied}, fires=1
    )
    edges = {f"fra-edge{n}": spied for n in (1, 2)} | {"fra-worker1": plain, "fra-worker2": spied, "fra-worker3": plain}
    yield FleetExample(name="usual elsewhere", why="all edges have it", hosts=edges)
    yield case("all that could have it", "two have no guests", *_with_guests())
    down = HostBuilder().link("eth0", up=False).link("tap0", kind="tun")
    down.bpf(programs=[program(1, "worker_in")])
    drained = tc(down, "tap0", 1).build()
    yield case("an interface that is down", "nothing goes by it", spied, spied, drained, drained)
    ageless = worker("worker_in", "spy", late=None)
    yield case("its age is not told", "it may be new", ageless, ageless, plain, fires=1)
    boot = worker("worker_in", "spy", late=1e5)
    yield case("as old as the youngest host", "that one could have it", boot, boot, plain, fires=1)
    yield case("being made", "the sixth has nothing of what all have", *_being_made())
    yield case("veths of other kinds", "one host's are for containers, another's for itself", *_veths("cni1"))
    yield case("veths of one kind", "alike but for the number", *_veths("vm3"), fires=1)
    gone = worker("worker_in").bpf  # a link in another namespace has an index of its own
    far = replace(plain, bpf=msgspec.structs.replace(gone, attachments=(*gone.attachments, FAR)))
    yield case("attached elsewhere", "in another namespace", far, plain, plain)
    systemd = _of_systemd()
    yield case("systemd's", "it comes and goes with units", systemd, systemd, plain)


FAR = BpfAttachment(hook="tcx", prog_id=2, ifindex=99, direction="ingress", attach_type="tcx_ingress")


def _of_systemd() -> Tables:
    host = HostBuilder().link("eth0").link("tap0", kind="tun")
    host.bpf(programs=[program(1, "worker_in"), program(2, "sd_fw", "bb" * 8)])
    return tc(tc(host, "tap0", 1), "eth0", 2).build()


def _on(name: str, *ifnames: str, idle: tuple[str, ...] = (), second: str | None = None) -> Tables:
    """A host with these interfaces; a program on each but the idle ones, a second one on the last."""
    host = HostBuilder().bpf(programs=[program(1, name), program(2, second or "other", "bb" * 8)])
    for ifname in (*ifnames, *idle):
        host.link(ifname, kind="veth" if ifname[0] in "cv" else "tun" if ifname[0] == "t" else None)
    for ifname in ifnames:
        tc(host, ifname, 1)
    return (tc(host, ifnames[-1], 2, priority=2) if second else host).build()


def _with_guests() -> tuple[Tables, ...]:
    """Three with a program on a tap, two without any tap."""
    return (*[_on("spy", "tap0")] * 3, _on("worker_in", "eth0"), _on("worker_in", "eth0"))


def _being_made() -> tuple[Tables, ...]:
    """Three with the usual program on the card and another on a tap, two without taps, and one with nothing yet."""
    full = _on("worker_in", "eth0", "tap0", second="spy")
    return (full, full, full, _on("worker_in", "eth0"), _on("worker_in", "eth0"), _on("x", idle=("eth0", "tap0")))


def _veths(last: str) -> tuple[Tables, ...]:
    return (_on("spy", "vm1"), _on("spy", "vm2"), _on("spy", idle=(last,)))
