"""One mutant at a time is put into the running rules, and the examples of the rules that use it must fail.

A function's code is replaced where it lies (``__code__``), so every module that imported it sees the mutant; a constant
is set in every module that has it by name. Both are put back. An example that does not end within a second counts as
failed.
"""

import ast
import functools
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FrameType, FunctionType
from typing import Any

from netdiag.rules import discover
from netdiag.rules.shape import RuleModule
from tests.mutants.operators import Replaced, changes
from tests.mutants.places import Source, functions, source_of
from tests.rules import test_examples, test_fleet_examples

SECONDS = 1.0


@dataclass(frozen=True)
class Mutant:
    """Something wrong with one function or constant of one module."""

    module: str
    name: str
    """Where and what, without line numbers: ``_first: lengths == 1 -> lengths != 1``."""
    enter: Callable[[], None]
    leave: Callable[[], None]


@contextmanager
def soon(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in what takes too much of the processor (a busy machine kills no mutant)."""

    def over(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGPROF, over)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def short(node: ast.AST) -> str:
    text = ast.unparse(ast.fix_missing_locations(node)).replace("\n", " ")
    return text if len(text) < 150 else f"{text[:100]} ... {text[-45:]}"


def compiled(function: ast.FunctionDef, file: str) -> CodeType:
    """The code of one function or method by itself."""
    bare = ast.FunctionDef(**(dict(ast.iter_fields(function)) | {"decorator_list": [], "returns": None}))
    module = ast.fix_missing_locations(ast.Module(body=[ast.copy_location(bare, function)], type_ignores=[]))
    code = compile(module, file, "exec")
    return next(c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == function.name)


def _in_function(source: Source, name: str, tree: ast.FunctionDef, live: FunctionType) -> Iterator[Mutant]:
    right = live.__code__

    def put(code: CodeType) -> None:
        live.__code__ = code

    for old, new in changes(tree):
        wrong = Replaced(old, new).visit(tree)
        assert isinstance(wrong, ast.FunctionDef)
        try:
            code = compiled(wrong, right.co_filename)
        except SyntaxError:
            continue
        if code.co_freevars != right.co_freevars:
            continue
        text = f"{name}: {short(old)} -> {short(new)}"
        yield Mutant(source.module.__name__, text, functools.partial(put, code), functools.partial(put, right))


def _in_constant(source: Source, name: str, tree: ast.expr, holders: list[dict[str, Any]]) -> Iterator[Mutant]:
    if name in ("RULE", "READS") or name not in vars(source.module):
        return
    right = vars(source.module)[name]

    def put(value: object) -> None:
        for holder in holders:
            holder[name] = value

    for old, new in changes(tree):
        wrong = Replaced(old, new).visit(tree)
        assert isinstance(wrong, ast.expr)
        try:
            value = eval(compile(ast.fix_missing_locations(ast.Expression(wrong)), name, "eval"), vars(source.module))
        except (TypeError, ValueError, NameError, SyntaxError):
            continue
        text = f"{name}: {short(old)} -> {short(new)}"
        yield Mutant(source.module.__name__, text, functools.partial(put, value), functools.partial(put, right))


def mutants(module: str, names: set[str], others: list[str]) -> list[Mutant]:
    """All mutants of a module's names; ``others`` are the modules that may have imported them."""
    source = source_of(module)
    found: list[Mutant] = []
    for name, tree, live in functions(source, names):
        found += _in_function(source, name, tree, live)
    for name in sorted(names & set(source.constants)):
        holders = [vars(source.module)]
        holders += [
            vars(source_of(o).module)
            for o in others
            if source_of(o).imported.get(name) == (module, name) and o != module
        ]
        found += _in_constant(source, name, source.constants[name], holders)
    return _numbered(found)


def _numbered(found: list[Mutant]) -> list[Mutant]:
    """Names that occur twice get a number."""
    seen: dict[str, int] = {}
    named = []
    for mutant in found:
        seen[mutant.name] = times = seen.get(mutant.name, 0) + 1
        again = f" #{times}" if times > 1 else ""
        named.append(Mutant(mutant.module, mutant.name + again, mutant.enter, mutant.leave))
    return named


Trial = Callable[[], None]


@functools.cache
def trials(rule: str) -> tuple[Trial, ...]:
    """The examples of a rule, each a function that raises where the example does not hold."""
    module: RuleModule = discover(None)[rule]
    if module.rule.scope == "fleet":
        return tuple(functools.partial(test_fleet_examples.assert_holds, module, e) for e in module.examples())
    return tuple(functools.partial(test_examples.assert_holds, module, e) for e in module.examples())


def killed(mutant: Mutant, rules: list[str], hot: dict[str, int]) -> bool:
    """Whether an example of these rules notices. ``hot`` remembers which did last: the next is often the same."""
    mutant.enter()
    try:
        for rule in rules:
            cases = trials(rule)
            first = hot.get(rule, 0)
            for at in (first, *(n for n in range(len(cases)) if n != first)):
                try:
                    with soon(SECONDS):
                        cases[at]()
                except Exception:  # noqa: BLE001 - whatever it is, the example noticed
                    hot[rule] = at
                    return True
        return False
    finally:
        mutant.leave()
