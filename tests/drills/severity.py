"""The table of docs/severity.md: what each critical loses and what each warning degrades, as the drills saw it.

``make severity`` runs the drills and the fleet of tests/fleet with NETDIAG_LOSSES, which pings between the hosts of
each lab before the fault and under it; this program turns what was lost into ``losses.json`` and writes the page from
that, from the drills that assert a loss themselves (``Drill.carries``), and from ``shown.toml``: faults whose loss no
drill measures, with the reason why packets are lost.
"""

import json
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from netdiag.rules import discover

HERE = Path(__file__).parent
LOSSES = HERE / "losses.json"
PAGE = HERE.parents[1] / "docs" / "severity.md"
HEAD = """# Severity is earned

Made by `make severity` from the drills and from the live fleet; `tests/drills/test_severity.py` keeps it true. A
critical loses traffic: the drill saw pings (56 bytes, and 1400 bytes that may not be fragmented) or the traffic that it
sends itself go through before the fault and no more under it; or it is said why packets are lost, and that no drill
measured it. A warning is something wrong that carries traffic still, or perhaps: what it degrades is what its page says
first.
"""
Rows = Iterable[tuple[str, ...]]


def kept(lines: Iterable[str]) -> dict[str, dict[str, Any]]:
    """One entry a rule: of its drills under which it was critical, the one that lost most."""
    found: dict[str, dict[str, Any]] = {}
    for row in sorted((json.loads(line) for line in lines), key=lambda row: (row["rule"], row["drill"])):
        if row["severity"] != "critical" or not (row["lost"] or row["carries"]):
            continue
        had = found.get(row["rule"])
        if had is None or (row["carries"], len(row["lost"])) > weight(had):
            first = row["lost"][0] if row["lost"] else None
            found[row["rule"]] = {
                "drill": row["drill"],
                "carries": row["carries"],
                "asked": row["asked"],
                "count": len(row["lost"]),
                "first": first,
                "large only": bool(row["lost"]) and all(size > 1000 for _, _, size in row["lost"]),
            }
    return found


def weight(entry: dict[str, Any]) -> tuple[bool, int]:
    """How much an entry shows: traffic of the drill's own first, then the number of pings."""
    return entry["carries"], entry["count"]


def merged(had: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """What is known now: a run of some drills does not take back what more of them have shown."""
    better = {rule: entry for rule, entry in new.items() if rule not in had or weight(entry) >= weight(had[rule])}
    return dict(sorted((had | better).items()))


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


def reason(rule: str) -> str:
    """The first sentence of "Why it matters"."""
    page = discover(None)[rule].page
    text = " ".join(page.split("Why it matters\n")[1].split("\nConfirm\n")[0].split())
    first, dot, _ = text.partition(". ")
    return (first + "." if dot else text).replace("|", "\\|")


def table(head: tuple[str, ...], rows: Rows) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def shown() -> dict[str, str]:
    """Rules whose loss no drill measured, and why there is one."""
    return tomllib.loads((HERE / "shown.toml").read_text(encoding="utf-8"))


def page() -> str:
    """The whole page."""
    lost, elsewhere, rules = json.loads(LOSSES.read_text(encoding="utf-8")), shown(), discover(None)
    critical = [name for name, module in rules.items() if module.rule.severity == "critical"]
    seen = [name for name in critical if name in lost]
    rest = [name for name in critical if name not in lost]
    warnings = [name for name, module in rules.items() if module.rule.severity == "warning"]
    return "\n".join(
        [
            HEAD,
            f"## Critical: {len(seen)} whose loss a drill saw\n",
            table(("rule", "drill", "lost"), ((f"`{n}`", lost[n]["drill"] or "-", words(lost[n])) for n in seen)),
            f"## Critical: {len(rest)} whose loss no drill measures from end to end\n",
            table(("rule", "why packets are lost"), ((f"`{n}`", elsewhere.get(n, "not shown")) for n in rest)),
            f"## Warnings: {len(warnings)}\n",
            table(("rule", "what is degraded"), ((f"`{n}`", reason(n)) for n in warnings)),
        ]
    )


def main() -> None:
    """Read the lines that the drills left (a file named as argument), keep them, write the page."""
    if len(sys.argv) > 1:
        had = json.loads(LOSSES.read_text(encoding="utf-8")) if LOSSES.exists() else {}
        new = kept(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines())
        LOSSES.write_text(json.dumps(merged(had, new), indent=1) + "\n", encoding="utf-8")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
