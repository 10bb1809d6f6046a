"""The tables of docs/severity.md: what each critical loses and what each warning is told by, as the drills saw it.

``make severity`` runs the drills and the fleet of tests/fleet with NETDIAG_LOSSES, which pings between the hosts of
each lab before the fault and under it; this program turns what was lost into ``losses.json`` and the evidence of the
warnings into ``told.json``, and writes the page from both and from ``shown.toml``: faults whose loss no drill measures,
and warnings that no drill brings about, with the reason.
"""

import json
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from netdiag.rules import discover

HERE = Path(__file__).parent
LOSSES, TOLD = HERE / "losses.json", HERE / "told.json"
PAGE = HERE.parents[1] / "docs" / "severity.md"
HEAD = """# Severity is earned

Made by `make severity` from the drills and from the live fleet; `tests/drills/test_severity.py` keeps it true. A
critical loses traffic: the drill saw pings (56 bytes, and 1400 bytes that may not be fragmented) or the traffic that it
sends itself go through before the fault and no more under it; or it is said why packets are lost, and that no drill
measured it. A warning is something wrong that carries traffic still, or perhaps: what it degrades is what its page says
first, and beside it stands what a drill saw of it in a real kernel. Numbers are those of one run.
"""
Rows = Iterable[tuple[str, ...]]
Entry = dict[str, Any]
LONGEST = 100
"""Characters of a fact and its value."""


def parsed(lines: Iterable[str]) -> list[Entry]:
    """The rows that the drills left, in an order of their own."""
    return sorted((json.loads(line) for line in lines), key=lambda row: (row["rule"], row["file"], row["drill"]))


def kept(rows: Iterable[Entry], critical: Iterable[str]) -> dict[str, Entry]:
    """Of the drills of each critical rule the one that lost most, critical ones before those that were told as less."""
    found: dict[str, Entry] = {}
    for row in rows:
        if row["rule"] not in critical or not (row["carries"] or (row["lost"] and row["severity"] != "info")):
            continue
        entry = measured(row)
        if row["rule"] not in found or weight(entry) > weight(found[row["rule"]]):
            found[row["rule"]] = entry
    return found


def measured(row: Entry) -> Entry:
    """What is kept of a row: the drill and its loss."""
    lost = row["lost"]
    entry = {
        "drill": row["drill"],
        "carries": row["carries"],
        "asked": row["asked"],
        "count": len(lost),
        "first": lost[0] if lost else None,
        "large only": bool(lost) and all(size > 1000 for _, _, size in lost),
    }
    return entry | {"told": row["severity"]} if row["severity"] != "critical" else entry


def weight(entry: Entry) -> tuple[bool, bool, bool, int]:
    """How much an entry shows: as a critical, or a warning; traffic of the drill's own, and the number of pings."""
    return "told" not in entry, entry.get("told") != "info", entry["carries"], entry["count"]


def merged(had: dict[str, Entry], new: dict[str, Entry]) -> dict[str, Entry]:
    """What is known now: a run of some drills does not take back what more of them have shown."""
    better = {rule: entry for rule, entry in new.items() if rule not in had or weight(entry) >= weight(had[rule])}
    return dict(sorted((had | better).items()))


def told(rows: Iterable[Entry], warnings: Iterable[str]) -> dict[str, Entry]:
    """Of the drills of each warning the one that shows most."""
    found: dict[str, Entry] = {}
    for row in rows:
        if row["rule"] in warnings:
            entry = {"file": row["file"], "rank": row["rank"], "evidence": row["evidence"][:2]} | measured(row)
            if row["rule"] not in found or strength(entry) > strength(found[row["rule"]]):
                found[row["rule"]] = entry
    return found


def strength(entry: Entry) -> tuple[bool, bool, bool, int, bool]:
    """How much an entry of a warning shows: more than an info, a loss, how it stood in its report."""
    lost = entry["carries"] or entry["count"] > 0
    return entry.get("told") != "info", lost, entry["carries"], -entry["rank"], bool(entry["drill"])


def shape(entry: Entry) -> str:
    """An entry without what is another in every run: numbers, keys, tags."""
    return re.sub(r"[A-Za-z0-9+/]{43}=|\b[0-9a-f]*\d[0-9a-f]*\b|\d+", "N", json.dumps(entry, sort_keys=True))


def steady(had: dict[str, Entry], new: dict[str, Entry]) -> dict[str, Entry]:
    """What is known now: an entry stays where another drill shows no more, and where only its numbers are others."""
    known = dict(had)
    for rule, entry in new.items():
        old = had.get(rule)
        same = old is not None and (old["file"], old["drill"]) == (entry["file"], entry["drill"])
        if old is None or strength(entry) > strength(old) or (same and shape(entry) != shape(old)):
            known[rule] = entry
    return dict(sorted(known.items()))


def words(entry: dict[str, Any]) -> str:
    """What was lost, in a few words."""
    said = []
    if entry["carries"]:
        said.append("the traffic that the drill sends")
    if entry["first"]:
        name, address, _ = entry["first"]
        kind = "full packets" if entry["large only"] else "pings"
        said.append(f"{kind} from {name} to {address}" + (f" and {entry['count'] - 1} more" * (entry["count"] > 1)))
    return "; ".join(said)


def loss(entry: Entry) -> str:
    """What a critical lost, and whether it was one there."""
    return words(entry) + (f" (told as {entry['told']} there)" if "told" in entry else "")


def reason(rule: str) -> str:
    """The first sentence of "Why it matters"."""
    page = discover(None)[rule].page
    text = " ".join(page.split("Why it matters\n")[1].split("\nConfirm\n")[0].split())
    first, dot, _ = text.partition(". ")
    return (first + "." if dot else text).replace("|", "\\|")


def table(head: tuple[str, ...], rows: Rows) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def shown(severity: str) -> dict[str, str]:
    """Rules of a severity of which no drill measured, or saw, anything, and why."""
    reasons: dict[str, str] = tomllib.loads((HERE / "shown.toml").read_text(encoding="utf-8"))[severity]
    return reasons


def of_severity(severity: str) -> list[str]:
    """The rules whose worst is that."""
    return [name for name, module in discover(None).items() if module.rule.severity == severity]


def read(path: Path) -> dict[str, Entry]:
    """What is known of each rule."""
    entries: dict[str, Entry] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return entries


def saw(entry: Entry) -> str:
    """Two facts, and what of the traffic was lost."""
    facts = [f"{fact}: {value}" for fact, value in entry["evidence"]]
    said = "; ".join(fact if len(fact) <= LONGEST else fact[: LONGEST - 3] + "..." for fact in facts)
    lost = words(entry)
    return (said + (f". Lost: {lost}" if lost else "")).replace("|", "\\|")


def where(entry: Entry) -> str:
    """The file of a drill, and its name."""
    return f"{entry['file']}" + (f", {entry['drill']}" if entry["drill"] else "")


def page() -> str:
    """The whole page."""
    lost, seen, critical, warnings = read(LOSSES), read(TOLD), of_severity("critical"), of_severity("warning")
    measured = [name for name in critical if name in lost]
    rest = [name for name in critical if name not in lost]
    drilled = [name for name in warnings if name in seen]
    silent = [name for name in warnings if name not in seen]
    elsewhere, without = shown("critical"), shown("warning")
    return "\n".join(
        [
            HEAD,
            f"## Critical: {len(measured)} whose loss a drill saw\n",
            table(("rule", "drill", "lost"), ((f"`{n}`", lost[n]["drill"] or "-", loss(lost[n])) for n in measured)),
            f"## Critical: {len(rest)} whose loss no drill measures from end to end\n",
            table(("rule", "why packets are lost"), ((f"`{n}`", elsewhere.get(n, "not shown")) for n in rest)),
            f"## Warnings: {len(drilled)} that a drill saw\n",
            table(
                ("rule", "what is degraded", "drill", "what it saw"),
                ((f"`{n}`", reason(n), where(seen[n]), saw(seen[n])) for n in drilled),
            ),
            f"## Warnings: {len(silent)} without a drill\n",
            table(
                ("rule", "what is degraded", "why no drill sees it"),
                ((f"`{n}`", reason(n), without.get(n, "not shown")) for n in silent),
            ),
        ]
    )


def main() -> None:
    """Read the lines that the drills left (a file named as argument), keep them, write the page."""
    if len(sys.argv) > 1:
        rows = parsed(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines())
        for path, known in (
            (LOSSES, merged(read(LOSSES), kept(rows, of_severity("critical")))),
            (TOLD, steady(read(TOLD), told(rows, of_severity("warning")))),
        ):
            path.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
