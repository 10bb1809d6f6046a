"""The rules of proved.txt have no mutant that lives on without a reason; and the mutants are what they are meant to be.

That is the part that takes seconds; ``make mutants`` is the whole.
"""

import ast
import tomllib
from pathlib import Path

from tests.mutants.operators import Replaced, changes
from tests.mutants.places import ROOM, all_places
from tests.mutants.survivors import reason
from tests.mutants.trial import killed, mutants, trials

HERE = Path(__file__).parent
PROVED = HERE.joinpath("proved.txt").read_text(encoding="utf-8").split()
CODE = """
def check(view):
    for link in view.links:
        words = "a" if link.mtu > 5 else "b"
        if not link.up or link.mtu >= 1500:
            yield RULE.found(subject=about(link), severity="critical", message=f"{words} {link.mtu == 7}")
"""


def made(code: str) -> set[str]:
    """Every mutant of some code, as text."""
    tree = ast.parse(code)
    return {
        ast.unparse(ast.fix_missing_locations(Replaced(old, new).visit(tree))) for old, new in changes(tree.body[0])
    }


def test_what_decides_is_mutated_and_what_makes_words_is_not() -> None:
    tests = {mutant.split("        if ")[1].split(":\n")[0] for mutant in made(CODE)}
    right = "not link.up or link.mtu >= 1500"
    assert tests == {
        right,
        "not (not link.up or link.mtu >= 1500)",
        "link.mtu >= 1500",
        "not link.up",
        "link.up or link.mtu >= 1500",
        "not link.up or link.mtu > 1500",
        "not link.up or link.mtu >= 1501",
        "not link.up or link.mtu >= 1499",
    }
    assert [mutant for mutant in made(CODE) if right in mutant and "severity='warning'" in mutant]
    assert all("link.mtu == 7" in mutant and "link.mtu > 5" in mutant for mutant in made(CODE))


def test_rules_without_survivors_stay_so() -> None:
    names, judges = all_places()
    alive = []
    for short in PROVED:
        module = f"{ROOM}.{short}"
        found = mutants(module, names[module], sorted(names))
        rules, hot = sorted(judges[module]), dict[str, int]()
        alive += [f"{short}: {m.name}" for m in found if not killed(m, rules, hot) and not reason(module, m.name)]
    assert not alive


def test_survivors_are_of_modules_that_exist() -> None:
    names, _ = all_places()
    listed = tomllib.loads((HERE / "survivors.toml").read_text(encoding="utf-8"))
    assert {f"{ROOM}.{short}" for short in listed if short != "*"} <= set(names)
    assert {f"{ROOM}.{short}" for short in PROVED} <= set(names)


def test_examples_of_a_host_and_of_a_fleet_hold_without_a_mutant() -> None:
    for rule in ("wg-key-mismatch", "loopback-down"):
        assert trials(rule)
        for trial in trials(rule):
            trial()
