"""``python -m tests.mutants [WORD]``: mutate every module of the rules (or those whose name holds WORD), and report.

Prints the survivors that nobody has explained, then modules by score, then the sum. Exits with 1 where the sum is
below 95%. What was found for a module is kept in .cache/mutants/ as long as no source that matters to it changed.
"""

import hashlib
import json
import multiprocessing
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.places import all_places, source_of
from tests.mutants.survivors import reason
from tests.mutants.trial import killed, mutants

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "mutants"
GOAL = 0.95


@dataclass(frozen=True)
class Task:
    module: str
    names: tuple[str, ...]
    rules: tuple[str, ...]
    everything: tuple[str, ...]
    stamp: str


@dataclass(frozen=True)
class Outcome:
    module: str
    count: int
    alive: tuple[str, ...]


def stamp(module: str, modules: set[str]) -> str:
    """A hash of every source that the outcome for a module depends on."""
    shared = [p for p in (ROOT / "netdiag").rglob("*.py") if p.parent.parent.name != "rules"]
    mine = [Path(str(source_of(name).module.__file__)) for name in modules | {module}]
    digest = hashlib.sha256(module.encode())
    for path in sorted({*shared, *mine, *Path(__file__).parent.glob("*.py"), *(ROOT / "tests/rules").glob("*.py")}):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def run(task: Task) -> Outcome:
    kept = CACHE / f"{task.stamp}.json"
    if kept.exists():
        count, alive = json.loads(kept.read_text())
        return Outcome(task.module, count, tuple(alive))
    found = mutants(task.module, set(task.names), list(task.everything))
    hot: dict[str, int] = {}
    alive = [mutant.name for mutant in found if not killed(mutant, list(task.rules), hot)]
    CACHE.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps([len(found), alive]))
    return Outcome(task.module, len(found), tuple(alive))


def tasks(word: str) -> list[Task]:
    names, judges = all_places()
    homes: dict[str, set[str]] = {}
    for module, rules in judges.items():
        homes[module] = {f for f in names if not rules.isdisjoint(judges[f])}
    everything = tuple(sorted(names))
    return [
        Task(
            module,
            tuple(sorted(names[module])),
            tuple(sorted(judges[module])),
            everything,
            stamp(module, homes[module]),
        )
        for module in sorted(names)
        if word in module
    ]


def told(outcomes: list[Outcome]) -> float:
    """Print what was found; gives the share of mutants that were killed, those explained not counted."""
    rows, dead, sum_ = [], 0, 0
    for outcome in outcomes:
        odd = [name for name in outcome.alive if not reason(outcome.module, name)]
        same = len(outcome.alive) - len(odd)
        count = outcome.count - same
        if count:
            rows.append(((count - len(odd)) / count, outcome.module.removeprefix("netdiag.rules."), count, same))
        dead, sum_ = dead + count - len(odd), sum_ + count
        for name in odd:
            print(f"alive: {outcome.module.removeprefix('netdiag.rules.')}: {name}")
    for share, module, count, same in sorted(rows, reverse=True):
        print(
            f"{share:7.1%}  {count - round((1 - share) * count):4} of {count:4}  {module}"
            + f"  ({same} explained)" * bool(same)
        )
    explained = sum(len(outcome.alive) for outcome in outcomes) - (sum_ - dead)
    share = dead / sum_ if sum_ else 1.0
    print(f"{share:7.1%}  {dead} of {sum_} mutants killed; {explained} more are listed with a reason")
    return share


def main() -> int:
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    with multiprocessing.get_context("fork").Pool(2) as pool:
        outcomes = pool.map(run, tasks(word), chunksize=1)
    return 0 if told(outcomes) >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
