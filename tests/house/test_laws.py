"""The house laws that reading the source is enough to check."""

import ast
from pathlib import Path

import pytest

from netdiag.rules import discover

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "netdiag").rglob("*.py"))
MAX_LINES = 450  # about 400 is the law; the rest is for a file that would split badly
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "manager", "data", "info"}

every_file = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def inside(path: Path, *rooms: str) -> bool:
    """Whether a file belongs to one of the rooms, be the room a directory or a single file."""
    return path.relative_to(ROOT / "netdiag").parts[0].removesuffix(".py") in rooms


def test_there_is_something_to_check() -> None:
    assert SOURCES


@every_file
def test_a_file_starts_by_saying_what_it_is(path: Path) -> None:
    assert ast.get_docstring(parse(path)), "no module docstring"


@every_file
def test_a_file_is_short_enough_to_follow(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@every_file
def test_a_name_says_what_is_inside(path: Path) -> None:
    if inside(path, "rules") and path.stem.replace("_", "-") in discover(None):
        return  # the catalogue's ids are for ever, wg-oneway-data too
    words = {word for part in path.relative_to(ROOT).with_suffix("").parts for word in part.split("_")}
    assert not words & VAGUE_NAMES


@every_file
def test_only_cli_prints(path: Path) -> None:
    if inside(path, "cli"):
        return
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in {"print", "click.echo", "sys.stdout.write"}, f"line {node.lineno}"


@every_file
def test_only_the_outer_edges_catch_everything(path: Path) -> None:
    """``except Exception`` hides bugs anywhere but where a broken rule or verb must not take the rest with it. To tidy
    up and raise again hides nothing."""
    if inside(path, "cli", "engine", "children") or path.relative_to(ROOT / "netdiag") == Path("fleet/judge.py"):
        return  # fleet/judge.py is the engine of the fleet's rules
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ExceptHandler) and ast.unparse(node.body[-1]) != "raise":
            caught = {"BaseException"} if node.type is None else set(ast.unparse(node.type).strip("()").split(", "))
            assert not caught & {"Exception", "BaseException"}, f"line {node.lineno}"


@every_file
def test_nobody_branches_on_a_kernel_version(path: Path) -> None:
    """Distributions backport: try the newest shape and fall back. Only the report's own header names the release."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Compare):
            assert not {"release", "uname"} & set(ast.unparse(node).replace("(", ".").split(".")), f"line {node.lineno}"


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_test_sleeps(path: Path) -> None:
    """A sleep is too short on a busy machine and too long on all others. Poll: a wait in a loop with a deadline."""
    tree = parse(path)
    polling = {id(call) for loop in ast.walk(tree) if isinstance(loop, ast.While) for call in ast.walk(loop)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "sleep"}:
            assert id(node) in polling, f"line {node.lineno}"
