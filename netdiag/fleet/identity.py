"""Whose snapshot is it? What a file says of itself, against how it was uploaded and what else there is.

A host's identity is its name. The name that a file says stands, unless the file or its folder is named after another
host that is known: then the host is that one, because whoever can write into its place in the folder was let in as it,
and whoever is inside can say anything. What is odd is told as a Notice and stops nothing:

- identity: a file says another host's name than the one under which it was uploaded
- same-name: two machines answer to one name (one was up while the other was, with another boot id)
- duplicate: the same bytes twice; the second is left out
- replay: a file that the store already has, or one that is older than what it has of the host
- clock-skew: taken hours after all others, or in the future of the machine that loads
- stale: the host's newest snapshot is far older than those of the others

Pure; nothing can fail.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median_low

import msgspec

from netdiag.fleet.night import hours, moment
from netdiag.model.fleetreport import Notice, NoticeKind

SUFFIX = ".netdiag"
SEPARATORS = "._-@+~ "
OVERLAP = 300.0
"""Seconds by which two boots must overlap, so that a step of a clock is no second machine."""
APART = 36 * 3600.0
"""Seconds from the middle of the fleet beyond which a host is stale, or its clock is wrong."""
AHEAD = 600.0
"""Seconds in the future of the machine that loads."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One file, as far as it matters here."""

    path: str
    """Below the folder that was given, with ``/``."""
    name: str
    """What it says."""
    taken_at: str
    boot_id: str | None = None
    uptime: float | None = None
    digest: str = ""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What a store already has of a host."""

    taken_at: str
    digest: str


@dataclass(frozen=True)
class Settled:
    """Whose each file is."""

    hosts: dict[str, str] = field(default_factory=dict)
    """Path to host; a file that is left out is not in it."""
    notices: list[Notice] = field(default_factory=list)


def labels_of(path: str) -> tuple[str, ...]:
    """What a file was uploaded as: its own name, then its folder's."""
    folder, _, name = path.rpartition("/")
    return tuple(word for word in (name.removesuffix(SUFFIX), folder.rpartition("/")[2]) if word)


def agrees(label: str, name: str) -> bool:
    """Whether a file or folder of this name may well be that host's: ``fra-a``, ``fra-a.2``, ``fra-a_2026-11-25``."""
    return label == name or (label.startswith(name) and label[len(name)] in SEPARATORS)


def settle(
    seen: Sequence[Seen], known: Mapping[str, Sequence[Known]] | None = None, now: float | None = None
) -> Settled:
    """Decide for each file. ``known``: what the store has, by host; ``now``: Unix time of the machine that loads."""
    known = known or {}
    settled = Settled()
    good = {one.name for one in seen if any(agrees(label, one.name) for label in labels_of(one.path))} | set(known)
    named = {one.name: one for one in seen if labels_of(one.path)[:1] == (one.name,)}
    have = {before.digest: host for host, rows in known.items() for before in rows}
    first: dict[str, str] = {}
    for one in seen:
        host = _host(one, good, named)
        if one.digest and one.digest in first:
            settled.notices.append(_notice("duplicate", host, f"{one.path} is the same file as {first[one.digest]}"))
            continue
        if one.digest and one.digest in have:
            settled.notices.append(_notice("replay", have[one.digest], f"{one.path} was loaded before"))
            continue
        first[one.digest] = one.path
        if host != one.name:
            said = f"{one.path} says that it is {one.name}; it was uploaded as {host}, and that is what it counts as"
            settled.notices.append(_notice("identity", host, said))
        settled.hosts[one.path] = host
    kept = [one for one in seen if one.path in settled.hosts]
    settled.notices.extend(_over_time(kept, settled.hosts, known))
    settled.notices.extend(_clocks(kept, settled.hosts, now))
    return settled


def _host(one: Seen, good: set[str], named: Mapping[str, Seen]) -> str:
    labels = labels_of(one.path)
    if any(agrees(label, one.name) for label in labels):
        return one.name
    rightful = named.get(one.name)
    if rightful is not None and _two_machines(*sorted((rightful, one), key=lambda row: row.taken_at)):
        return labels[0]  # another machine that has the name of the one whose file this name is
    return next((label for label in labels if label in good), one.name)


def _notice(kind: NoticeKind, host: str, detail: str) -> Notice:
    return Notice(kind=kind, host=host, detail=detail)


def _over_time(
    seen: Iterable[Seen], hosts: Mapping[str, str], known: Mapping[str, Sequence[Known]]
) -> Iterator[Notice]:
    series: dict[str, list[Seen]] = defaultdict(list)
    for one in seen:
        series[hosts[one.path]].append(one)
    for host, rows in sorted(series.items()):
        newest = max((before.taken_at for before in known.get(host, ())), default="")
        late = [one for one in rows if one.taken_at < newest]
        if late:
            said = f"{late[0].path} was taken at {late[0].taken_at}; the store already has one of {newest}"
            yield _notice("replay", host, said)
        ordered = sorted(rows, key=lambda one: one.taken_at)
        for before, after in itertools.pairwise(ordered):
            if _two_machines(before, after):
                said = f"{before.path} and {after.path} are of two machines that were up at once: give each its name"
                yield _notice("same-name", host, said)
                break


def _two_machines(before: Seen, after: Seen) -> bool:
    one, two = moment(before.taken_at), moment(after.taken_at)
    if one is None or two is None or after.uptime is None or not before.boot_id or not after.boot_id:
        return False
    return before.boot_id != after.boot_id and (two - one).total_seconds() + OVERLAP < after.uptime


def _clocks(seen: Iterable[Seen], hosts: Mapping[str, str], now: float | None) -> Iterator[Notice]:
    newest: dict[str, float] = {}
    for one in seen:
        at = moment(one.taken_at)
        if at is None:
            yield _notice("clock-skew", hosts[one.path], f"{one.path} does not say when it was taken")
            continue
        host = hosts[one.path]
        newest[host] = max(newest.get(host, at.timestamp()), at.timestamp())
    if not newest:
        return
    middle = median_low(newest.values())
    for host, seconds in sorted(newest.items()):
        if now is not None and seconds > now + AHEAD:
            yield _notice("clock-skew", host, f"its snapshot was taken {hours(seconds - now)} from now")
        elif seconds - middle > APART:
            yield _notice("clock-skew", host, f"its snapshot was taken {hours(seconds - middle)} after the others")
        elif middle - seconds > APART:
            said = f"its newest snapshot is {hours(middle - seconds)} older than the others, or its clock is behind"
            yield _notice("stale", host, said)
