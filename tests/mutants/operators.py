"""The ways in which a piece of syntax can be made wrong: each is a node to be replaced, and what by."""

import ast
from collections.abc import Iterator

from tests.mutants.places import deciding, wordless

FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
SEVERITIES = {"critical": "warning", "warning": "info", "info": "warning"}
CALMER = {"certain": "likely", "likely": "certain"}
Change = tuple[ast.expr, ast.expr]


def _of_comparison(node: ast.Compare) -> Iterator[ast.expr]:
    for at, operator in enumerate(node.ops):
        flipped = [*node.ops[:at], FLIPPED[type(operator)](), *node.ops[at + 1 :]]
        yield ast.Compare(left=node.left, ops=flipped, comparators=node.comparators)


def _of_bool(node: ast.BoolOp) -> Iterator[ast.expr]:
    """Without one of its operands. ``x or 0`` is a default, no condition."""
    last = node.values[-1]
    if isinstance(node.op, ast.Or) and (isinstance(last, ast.Constant) or not list(ast.iter_child_nodes(last))):
        return
    if isinstance(node.op, ast.Or) and isinstance(last, ast.Tuple | ast.List | ast.Dict):
        return
    for at in range(len(node.values)):
        rest = [*node.values[:at], *node.values[at + 1 :]]
        yield rest[0] if len(rest) == 1 else ast.BoolOp(op=node.op, values=rest)


def _of_constant(node: ast.Constant) -> Iterator[ast.expr]:
    if isinstance(node.value, bool):
        yield ast.Constant(value=not node.value)
    elif isinstance(node.value, int | float):
        yield ast.Constant(value=node.value + 1)
        yield ast.Constant(value=node.value - 1)
    elif isinstance(node.value, str) and node.value in SEVERITIES | CALMER:
        yield ast.Constant(value=(SEVERITIES | CALMER)[node.value])


def changes(root: ast.AST) -> Iterator[Change]:
    """Every change of what decides below ``root``. (Index numbers are left alone: they say which, not whether.)"""
    skipped: set[int] = set()
    for node in deciding(root) if isinstance(root, ast.FunctionDef) else wordless(root):
        if id(node) in skipped:
            skipped |= {id(child) for child in ast.iter_child_nodes(node)}
            continue
        if isinstance(node, ast.Subscript):
            skipped.add(id(node.slice))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        if isinstance(node, ast.If | ast.IfExp | ast.While):
            if not isinstance(node.test, ast.Compare | ast.UnaryOp):  # these are turned round as what they are
                yield node.test, ast.UnaryOp(op=ast.Not(), operand=node.test)
        elif isinstance(node, ast.comprehension):
            yield from ((test, ast.Constant(value=True)) for test in node.ifs)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, node.operand
        elif isinstance(node, ast.Compare):
            yield from ((node, wrong) for wrong in _of_comparison(node))
        elif isinstance(node, ast.BoolOp):
            yield from ((node, wrong) for wrong in _of_bool(node))
        elif isinstance(node, ast.Constant):
            yield from ((node, wrong) for wrong in _of_constant(node))


class Replaced(ast.NodeTransformer):
    """A tree with one node replaced; everything else is shared."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        if node is self._old:
            return ast.copy_location(self._new, node)
        copied = type(node)(**dict(ast.iter_fields(node)))
        ast.copy_location(copied, node)
        for name, value in ast.iter_fields(copied):
            if isinstance(value, list):
                setattr(copied, name, [self.visit(v) if isinstance(v, ast.AST) else v for v in value])
            elif isinstance(value, ast.AST):
                setattr(copied, name, self.visit(value))
        return copied
