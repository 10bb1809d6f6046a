"""What it checks
  A second bpffs was mounted right upon another one, so that the names in the lower one cannot be reached, and there are
  programs or maps that nothing visible keeps: no name, no process, no hook, no program that uses the map.

Why it matters
  The daemon looks for its pins at its next start, finds an empty folder and loads everything anew: state in the maps
  is lost, and the old objects stay in memory, attached or not, and cannot be taken away by their names.

Confirm
  findmnt -t bpf
  bpftool map show; bpftool prog show     (those without "pids")

Fix
  umount PATH takes the upper one away as soon as nobody uses it, and the names are back. Then mount bpffs in one place
  only (the unit sys-fs-bpf.mount, not a script as well). Pins in the upper one go with it unless something else holds
  those objects.

Not flagged
  The same bpffs mounted twice. A bpffs under a later mount of /sys, as containers and "ip netns exec" make it. Mounts
  of other mount namespaces. A hidden bpffs where every object is accounted for: an info.

References
  kernel/bpf/inode.c; mount(2); proc_pid_mountinfo(5)
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfAttachment, BpfHolder, BpfMap, BpfMapEntry, BpfMount, BpfPin
from netdiag.model.finding import Draft, subject
from netdiag.rules.bpfplaces import referred
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-orphan-by-mount",
    title="a second bpffs hides the names in the first",
    severity="warning",
    confidence="likely",
    reads=("bpf",),
    explains=("bpf-prog-pinned-unattached", "bpf-tc-duplicate-version"),
    machine_wide=True,
)


def check(view: HostView) -> Iterator[Draft]:
    hidden = [row for row in view.bpf.mounts if row.under is not None and row.hidden]
    if not hidden:
        return
    known = not {"holders", "pins", "programs", "maps"} & set(view.bpf.unread)
    lost = _unaccounted(view) if known else []
    for row in {row.path: row for row in hidden}.values():
        yield _draft(row, lost)


def _unaccounted(view: HostView) -> list[str]:
    """Programs and maps that nothing visible keeps, by kind and name."""
    table = view.bpf
    kept = {(pin.kind, pin.id) for pin in table.pins} | {(holder.kind, holder.id) for holder in table.holders}
    inner = {row.inner_map_id for row in table.entries}
    used = {number for row in table.programs for number in row.map_ids}
    attached = referred(table)
    lost = [
        f"program {row.function or row.name or row.id}"
        for row in table.programs
        if ("prog", row.id) not in kept and row.id not in attached and row.ifindex is None
    ]
    lost += [
        f"map {row.name or row.id}"
        for row in table.maps
        if ("map", row.id) not in kept and row.id not in used and row.id not in inner and row.ifindex is None
    ]
    return lost


def _draft(row: BpfMount, lost: list[str]) -> Draft:
    some = ", ".join(lost[:3]) + (f" and {len(lost) - 3} more" if len(lost) > 3 else "")
    return RULE.found(
        subject=subject("host", path=row.path),
        message=f"a second bpffs lies upon the one at {row.path}: names in that one cannot be reached"
        + (f", and nothing visible keeps {some}" if lost else ""),
        severity="warning" if lost else "info",
        evidence=[
            (f"bpffs at {row.path}", f"{row.device}, hidden", "/proc/self/mountinfo"),
            ("mounted upon it", str(row.under), "/proc/self/mountinfo"),
            ("objects that nothing visible keeps", some or "none", "BPF_PROG_GET_NEXT_ID, BPF_MAP_GET_NEXT_ID"),
        ],
        confirm=["findmnt -t bpf", f"bpftool {'map' if lost and lost[0].startswith('map') else 'prog'} show"],
        fix=f"umount {quoted(row.path)}",
    )


def examples() -> Iterator[Example]:
    below = BpfMount(path="/sys/fs/bpf", device="0:40", hidden=True, under="0:41")
    upper = BpfMount(path="/sys/fs/bpf", device="0:41")

    def case(name: str, why: str, *mounts: BpfMount, fires: int = 0, severity: Any = None, **bpf: Any) -> Example:
        host = HostBuilder().link("eth0").bpf(mounts=mounts, **bpf)
        return Example(name=name, why=why, tables=host.build(), fires=fires, severity=severity)

    one = [BpfMap(id=5, type="hash", name="flows")]
    yield case("a map is lost", "the plain fault", below, upper, maps=one, fires=1, severity="warning")
    yield case("a program is lost", "the same", below, upper, programs=[program(1)], fires=1, severity="warning")
    yield case("nothing is lost", "somebody mounted it twice", below, upper, fires=1, severity="info")
    held = [BpfHolder(pid=7, comm="agent", kind="map", id=5)]
    yield case("held by a process", "it is in use", below, upper, maps=one, holders=held, fires=1, severity="info")
    pin = [BpfPin(path="/sys/fs/bpf/flows", kind="map", id=5)]
    yield case("pinned above", "its name can be reached", below, upper, maps=one, pins=pin, fires=1, severity="info")
    uses = [program(1, map_ids=(5,))]
    hook = [BpfAttachment(hook="xdp", prog_id=1, ifindex=2)]
    yield case("used by an attached program", "it is alive", below, upper, maps=one, programs=uses, attachments=hook,
               fires=1, severity="info")  # fmt: skip
    unread = {"maps": one, "unread": ("holders",)}
    yield case("processes not read", "one of them may hold it", below, upper, **unread, fires=1, severity="info")
    yield case("once", "as it should be", upper, maps=one)
    sysfs = BpfMount(path="/sys/fs/bpf", device="0:40", hidden=True)
    yield case("under a later /sys", "containers are made so", sysfs, upper, maps=one)
    both: dict[str, Any] = {"fires": 1, "severity": "info"}
    keeps = [BpfHolder(pid=7, comm="agent", kind="prog", id=1)]
    yield case("a program held", "in use", below, upper, programs=[program(1)], holders=keeps, **both)
    card = [program(1, ifindex=2)]
    yield case("a program on a card", "the card keeps it", below, upper, programs=card, **both)
    inner = [BpfMapEntry(map_id=9, key=0, inner_map_id=5)]
    yield case("a map in a map", "the outer one keeps it", below, upper, maps=one, entries=inner, **both)
    offloaded = [BpfMap(id=5, type="hash", name="flows", ifindex=2)]
    yield case("a map on a card", "the card keeps it", below, upper, maps=offloaded, **both)
    beside = BpfMount(path="/sys/fs/bpf", device="0:40", under="0:41")
    yield case("not hidden", "both can be reached", beside, upper, maps=one)
