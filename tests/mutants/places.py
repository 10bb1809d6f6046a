"""What of the rules may be mutated: the functions, methods and constants that ``check()`` needs to decide.

Found by following names through the sources of netdiag/rules, and not through the arguments of ``found()`` that only
make words.
"""

import ast
import functools
import importlib
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType

from netdiag.rules import discover

WORDS = {"message", "evidence", "confirm", "fix", "touches", "breaks", "reason", "subject"}
"""Arguments of found() and Unjudged() in which nothing is decided. (What the subject is, examples say where it
matters.)"""
ROOM = "netdiag.rules"
APART = (".build", ".shape", ".undecidable", ".cards", ".routewords")
"""Modules of the room that build examples, pages or words: nothing is decided there."""

Function = ast.FunctionDef
Place = tuple[str, str]
"""(module, name of a top-level function, class or constant)."""


@dataclass
class Source:
    """A module's source, and what its top level defines and imports."""

    module: ModuleType
    tree: ast.Module
    functions: dict[str, Function] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    constants: dict[str, ast.expr] = field(default_factory=dict)
    imported: dict[str, Place] = field(default_factory=dict)
    """Names of other modules of the room; an empty second half is the module itself."""


@functools.cache
def source_of(name: str) -> Source:
    """Read one module of the room."""
    module = importlib.import_module(name)
    assert module.__file__
    found = Source(module=module, tree=ast.parse(Path(module.__file__).read_text(encoding="utf-8")))
    for node in found.tree.body:
        if isinstance(node, ast.FunctionDef):
            found.functions[node.name] = node
        elif isinstance(node, ast.ClassDef):
            found.classes[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.constants[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            found.constants[node.target.id] = node.value
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(ROOM):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                here = (inner, "") if inner in sys.modules else (str(node.module), alias.name)
                found.imported[alias.asname or alias.name] = here
    return found


def wordless(node: ast.AST) -> Iterator[ast.AST]:
    """The node and all below it, but annotations, sort keys, and what only makes words."""
    yield node
    hidden = set()
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "args") and not isinstance(node, ast.Call):
            hidden.add(id(value))
    for _, value in ast.iter_fields(node):
        if id(value) in hidden and not isinstance(node, ast.Lambda):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr):
                continue
            if isinstance(child, ast.keyword) and child.arg in WORDS | {"key"}:
                continue
            yield from wordless(child)


def _loaded(nodes: Iterable[ast.AST]) -> set[str]:
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _targets(node: ast.AST) -> set[str]:
    if not isinstance(node, ast.Assign):
        return set()
    return {n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)}


def deciding(function: ast.AST) -> list[ast.AST]:
    """The nodes of a function that can decide something: not what sets local names that only words are made of."""
    nodes = list(wordless(function))
    while True:
        read = _loaded(nodes)
        idle = [node for node in nodes if _targets(node) and not _targets(node) & read and _plain(node)]
        hidden = {id(below) for node in idle for below in ast.walk(node)}
        left = [node for node in nodes if id(node) not in hidden]
        if len(left) == len(nodes):
            return nodes
        nodes = left


def _plain(node: ast.AST) -> bool:
    """Whether an assignment sets local names only, no attribute or item of something else."""
    assert isinstance(node, ast.Assign)
    return all(isinstance(t, ast.Name | ast.Tuple) for t in node.targets)


def used(function: ast.AST) -> set[str]:
    """Names and attributes that a function's decisions need."""
    nodes = deciding(function) if isinstance(function, ast.FunctionDef) else list(wordless(function))
    return {n.id for n in nodes if isinstance(n, ast.Name)} | {n.attr for n in nodes if isinstance(n, ast.Attribute)}


def _from(place: Place) -> Iterator[Place]:
    """What one place leads to."""
    module, name = place
    source = source_of(module)
    nodes: list[ast.AST] = [m[name] for m in (source.functions, source.classes, source.constants) if name in m]
    for node in nodes:
        for word in used(node):
            if word in source.functions or word in source.classes or word in source.constants:
                yield module, word
            elif word in source.imported and source.imported[word][1]:
                yield source.imported[word]
        decides = deciding(node) if isinstance(node, ast.FunctionDef) else wordless(node)
        for attribute in (n for n in decides if isinstance(n, ast.Attribute)):
            if isinstance(attribute.value, ast.Name) and attribute.value.id in source.imported:
                inner, whole = source.imported[attribute.value.id]
                if not whole:
                    yield inner, attribute.attr


def reached(module: str) -> set[Place]:
    """Everything in the room that a rule's check() can come to."""
    seen: set[Place] = set()
    waiting: list[Place] = [(module, "check")]
    while waiting:
        place = waiting.pop()
        if place in seen or any(part in place[0] for part in APART):
            continue
        seen.add(place)
        waiting += _from(place)
    return seen


def all_places() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """(names to mutate by module, ids of the rules whose examples judge them by module)."""
    names: dict[str, set[str]] = defaultdict(set)
    judges: dict[str, set[str]] = defaultdict(set)
    for rule, module in discover(None).items():
        for where, name in reached(module.check.__module__):
            names[where].add(name)
            judges[where].add(rule)
    return dict(names), dict(judges)


def unwrapped(value: object) -> FunctionType | None:
    """The plain function below a property or a cache."""
    for attribute in ("fget", "func", "__wrapped__", "__func__"):
        value = getattr(value, attribute, None) or value
    return value if isinstance(value, FunctionType) else None


def functions(source: Source, names: set[str]) -> Iterator[tuple[str, Function, FunctionType]]:
    """(qualified name, syntax, the live function) of the functions and methods among the names."""
    for name in sorted(names):
        if name in source.functions:
            live = unwrapped(vars(source.module)[name])
            if live is not None:
                yield name, source.functions[name], live
        for node in source.classes[name].body if name in source.classes else []:
            if isinstance(node, ast.FunctionDef):
                live = unwrapped(vars(vars(source.module)[name])[node.name])
                if live is not None:
                    yield f"{name}.{node.name}", node, live
