"""The house laws that reading the source is enough to check: one test a law, over all files.

Only a file that holds a law's word at all is parsed for it, and no tree is kept: every fork of the tests pays for what
lies in memory.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from netdiag.rules import discover

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "netdiag").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MAX_LINES = 450  # about 400 is the law; the rest is for a file that would split badly
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "manager", "data", "info"}


def nodes(path: Path, *words: str) -> tuple[ast.AST, ...]:
    """The syntax of a file, if it holds one of the words."""
    text = path.read_text(encoding="utf-8")
    return tuple(ast.walk(ast.parse(text, str(path)))) if any(word in text for word in words) else ()


def inside(path: Path, *rooms: str) -> bool:
    """Whether a file belongs to one of the rooms, be the room a directory or a single file."""
    return path.relative_to(ROOT / "netdiag").parts[0].removesuffix(".py") in rooms


def at(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def test_there_is_something_to_check() -> None:
    assert SOURCES
    assert TESTS


def test_a_file_starts_by_saying_what_it_is() -> None:
    assert not [at(path, 1) for path in SOURCES if not path.read_text(encoding="utf-8").startswith('"""')], (
        "no module docstring"
    )


def test_a_file_is_short_enough_to_follow() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert not [at(path, length) for path, length in lengths.items() if length > MAX_LINES]


def test_a_name_says_what_is_inside() -> None:
    rules = discover(None)
    for path in SOURCES:
        if inside(path, "rules") and path.stem.replace("_", "-") in rules:
            continue  # the catalogue's ids are for ever, wg-oneway-data too
        words = {word for part in path.relative_to(ROOT).with_suffix("").parts for word in part.split("_")}
        assert not words & VAGUE_NAMES, path


def test_only_cli_prints() -> None:
    printers = {"print", "click.echo", "sys.stdout.write"}
    assert not [
        at(path, node.lineno)
        for path in SOURCES
        if not inside(path, "cli")
        for node in nodes(path, "print", "echo", "stdout")
        if isinstance(node, ast.Call) and ast.unparse(node.func) in printers
    ]


def swallowed(path: Path) -> Iterator[str]:
    for node in nodes(path, "except"):
        if isinstance(node, ast.ExceptHandler) and ast.unparse(node.body[-1]) != "raise":
            caught = {"BaseException"} if node.type is None else set(ast.unparse(node.type).strip("()").split(", "))
            if caught & {"Exception", "BaseException"}:
                yield at(path, node.lineno)


def test_only_the_outer_edges_catch_everything() -> None:
    """``except Exception`` hides bugs anywhere but where a broken rule or verb must not take the rest with it. To tidy
    up and raise again hides nothing. fleet/judge.py is the engine of the fleet's rules."""
    judge = ROOT / "netdiag" / "fleet" / "judge.py"
    bound = [path for path in SOURCES if path != judge and not inside(path, "cli", "engine", "children")]
    assert not [place for path in bound for place in swallowed(path)]


def test_nobody_branches_on_a_kernel_version() -> None:
    """Distributions backport: try the newest shape and fall back. Only the report's own header names the release."""
    assert not [
        at(path, node.lineno)
        for path in SOURCES
        for node in nodes(path, "release", "uname")
        if isinstance(node, ast.Compare) and {"release", "uname"} & set(ast.unparse(node).replace("(", ".").split("."))
    ]


def test_no_test_sleeps() -> None:
    """A sleep is too short on a busy machine and too long on all others. Poll: a wait in a loop with a deadline."""
    for path in TESTS:
        tree = nodes(path, "sleep")
        polling = {id(call) for loop in tree if isinstance(loop, ast.While) for call in ast.walk(loop)}
        for node in tree:
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "sleep"}:
                assert id(node) in polling, at(path, node.lineno)
