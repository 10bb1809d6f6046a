"""DuckDB's SQL as Spark's, by sqlglot, and the guard before it: a query that leaves the documented views is refused.

Spark has no switch that shuts the world out, so three things are asked of a query. DuckDB itself takes it, over empty
views of the same columns and with its own doors shut. Every node of its tree is of a kind in ``NODES``: what is not
listed (a function that reads, calls Java or tells of the session) does not pass. Every table is one of the views, or
named by a WITH around it. Text that Spark could read otherwise than DuckDB is handed over as an argument, never inside
the SQL. Pure; raises QueryRefused.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netdiag.fleet.duck import Duck
from netdiag.fleet.engines import QueryRefused, one_line

if TYPE_CHECKING:
    import pyarrow as pa

PLAIN = re.compile(r"[^'\"\\`{}\x00-\x1f\x7f]*")
"""Text that is the same inside the quotes of either. Braces: Spark puts variables of its own in place of ``${...}``."""
QUERY = """
Select Union Intersect Except Subquery With CTE TableAlias Table Identifier From Join Where Group Having Order Ordered
Limit Offset Distinct Qualify Window WindowSpec Values Cube Rollup GroupingSets Lateral Unnest
"""
VALUES = """
Column Star Literal Null Boolean Alias Paren Tuple Bracket In Between Is Like ILike Escape EQ NEQ GT GTE LT LTE
NullSafeEQ NullSafeNEQ Not And Or Neg Add Sub Mul Div IntDiv Mod DPipe BitwiseAnd BitwiseOr BitwiseXor BitwiseLeftShift
BitwiseRightShift BitwiseNot Exists Case If Cast TryCast DataType DataTypeParam Interval Var Filter Lambda IgnoreNulls
RespectNulls JSONExtractScalar JSONPath JSONPathRoot JSONPathKey JSONPathSubscript
"""
OVER_MANY = """
Count CountIf Sum Avg Min Max Median AnyValue First ArgMax ArgMin ArrayAgg GroupConcat StddevSamp Stddev LogicalAnd
LogicalOr RowNumber Rank DenseRank Ntile Lag Lead FirstValue LastValue
"""
OVER_ONE = """
Abs Ceil Floor Round Sign Greatest Least Coalesce Nullif Upper Lower Trim Length Replace Reverse Concat ConcatWs
Contains StartsWith EndsWith StrPosition SplitPart Split MD5 RegexpLike RegexpExtract ArraySize ArrayContains
ArrayDistinct ArrayFilter ArrayToString Explode
"""
NODES = frozenset(f"{QUERY} {VALUES} {OVER_MANY} {OVER_ONE}".split())
"""Kinds of sqlglot's tree that may stand in a query: what is the same, once translated, in both."""
TYPES = ("BOOLEAN", "INT", "BIGINT", "DOUBLE", "VARCHAR", "TEXT", "DATE", "TIMESTAMPNTZ")
"""Types to which a value can be cast."""


@dataclass(frozen=True)
class Translated:
    """A query for Spark."""

    sql: str
    arguments: dict[str, str]
    """Texts that the query names as ``:name``."""
    views: frozenset[str]
    """Documented views that it names."""
    columns: tuple[str, ...]
    """Names of what comes out, as DuckDB gives them."""


def select(sql: str) -> str:
    """SQL of ours as Spark spells it: it is not looked at."""
    import sqlglot

    return str(sqlglot.transpile(sql, read="duckdb", write="spark")[0])


def translated(sql: str, schemas: "dict[str, pa.Schema]") -> Translated:
    """A stranger's query over these views."""
    import sqlglot
    from sqlglot.errors import ErrorLevel, SqlglotError

    columns = _as_duckdb_sees_it(sql, schemas)
    try:
        trees = [tree for tree in sqlglot.parse(sql, read="duckdb") if tree is not None]
        if len(trees) != 1:
            raise QueryRefused("one SELECT is asked for, and nothing else")
        tree: Any = trees[0]
        reals, lists = _named(schemas, "double"), _named(schemas, "list")
        _guard(tree)
        _columns(tree, {name for schema in schemas.values() for name in schema.names})
        _same(tree, sql, reals)
        views = frozenset(_views(tree, schemas))
        arguments = _adapted(tree, lists)
        spelled = tree.sql(dialect="spark", comments=False, unsupported_level=ErrorLevel.RAISE)
    except SqlglotError as error:
        raise QueryRefused(f"not translated for Spark: {one_line(error)}") from error
    return Translated(spelled, arguments, views, columns)


def _named(schemas: "dict[str, pa.Schema]", kind: str) -> set[str]:
    """Names of the columns of one type."""
    return {field.name for schema in schemas.values() for field in schema if str(field.type).startswith(kind)}


def _as_duckdb_sees_it(sql: str, schemas: "dict[str, pa.Schema]") -> tuple[str, ...]:
    """The names of the columns. Raises QueryRefused for all that DuckDB refuses."""
    duck = Duck()
    named = duck.read(sql, schemas)
    if not str(duck.statement.type).endswith("SELECT"):
        raise QueryRefused("EXPLAIN is DuckDB's alone")
    for name in named:
        duck.table(name, schemas[name].empty_table())
    return duck.answer().columns


def _guard(tree: Any) -> None:
    """Every node is of a kind that is listed, and says nothing that Spark reads otherwise."""
    from sqlglot import exp

    for node in tree.walk():
        kind = type(node).__name__
        if kind not in NODES:
            raise QueryRefused(f"{_called(node)} is not for Spark: ask without it, or with --engine duckdb")
        if isinstance(node, (exp.Identifier, exp.JSONPathKey, exp.Var)) and not PLAIN.fullmatch(str(node.this)):
            raise QueryRefused(f"a name that is not for Spark: {str(node.this)[:60]!r}")
        if isinstance(node, exp.Join) and node.args.get("method") not in (None, "NATURAL"):
            raise QueryRefused(f"{node.args['method']} JOIN is not for Spark")
        if isinstance(node, exp.DataType) and getattr(node.this, "name", "") not in TYPES:
            raise QueryRefused(f"type {node.sql()[:60]} is not for Spark")


def _columns(tree: Any, known: Collection[str]) -> None:
    """A bare name is a column: Spark would take ``user`` for a function. Raises QueryRefused."""
    from sqlglot import exp

    own = {alias.alias for alias in tree.find_all(exp.Alias, exp.CTE, exp.Subquery)}
    own |= {name.name for names in tree.find_all(exp.TableAlias, exp.Lambda) for name in names.find_all(exp.Identifier)}
    for column in tree.find_all(exp.Column):
        if not isinstance(column.this, exp.Star) and column.name not in known and column.name not in own | {"ALL"}:
            raise QueryRefused(f"there is no column {column.name[:60]}")


def _same(tree: Any, sql: str, reals: Collection[str]) -> None:
    """What both take, and understand differently. Raises QueryRefused."""
    from sqlglot import exp

    exact = (exp.Predicate, exp.Literal, exp.JSONExtractScalar, exp.RegexpExtract, exp.SplitPart, exp.Count, exp.Sum)
    for node in tree.walk():
        if isinstance(node, (exp.Cast, exp.TryCast)) and not node.is_type("double"):
            of = node.this.unnest()
            if isinstance(of, (exp.Round, exp.Ceil, exp.Floor)) and node.is_type("int", "bigint"):
                continue
            if not isinstance(of, (*exact, exp.Column)) or of.name in reals or (of.is_number and not of.is_int):
                raise QueryRefused(f"{node.sql()[:60]}: Spark rounds and spells real numbers otherwise; use round()")
        joined = node.find_all(exp.Column) if isinstance(node, (exp.DPipe, exp.Concat, exp.ConcatWs)) else ()
        if any(column.name in reals for column in joined):
            raise QueryRefused(f"{node.sql()[:60]}: Spark spells real numbers otherwise")
        if isinstance(node, exp.JSONExtractScalar):
            path = node.expression
            keys = path.expressions if isinstance(path, exp.JSONPath) else ()
            if not keys or (len(keys) > 2 and path.sql(dialect="duckdb") not in sql):
                raise QueryRefused(f"{node.sql()[:60]}: for Spark a path begins with $")


def _called(node: Any) -> str:
    """What a person wrote for it."""
    name = getattr(node, "name", "") if type(node).__name__ == "Anonymous" else type(node).__name__
    return f"{name.lower()[:60]}()" if hasattr(node, "sql_names") else name.upper()[:60]


def _views(tree: Any, schemas: Collection[str]) -> Iterator[str]:
    """The views that it names. Raises QueryRefused for a table that is neither one nor named by a WITH around it."""
    from sqlglot import exp
    from sqlglot.optimizer.scope import Scope, traverse_scope

    own = {
        id(node)
        for scope in traverse_scope(tree)
        for node, source in scope.selected_sources.values()
        if isinstance(source, Scope)
    }
    for table in tree.find_all(exp.Table):
        if id(table) in own:
            continue
        name = table.name.lower()
        if not isinstance(table.this, exp.Identifier) or table.args.get("db") or name not in schemas:
            raise QueryRefused(f"there is no view {table.sql()[:60]}")
        yield name


def _adapted(tree: Any, lists: Collection[str]) -> dict[str, str]:
    """Put right in place what sqlglot cannot know, and take texts out of it that are not plain."""
    from sqlglot import exp

    arguments: dict[str, str] = {}
    for node in list(tree.walk()):
        if isinstance(node, exp.Length) and isinstance(node.this, exp.Column) and node.this.name in lists:
            node.replace(exp.ArraySize(this=node.this))
        if not isinstance(node, exp.Literal) or not node.is_string or PLAIN.fullmatch(node.this):
            continue
        text = node.this
        if isinstance(node.parent, (exp.Like, exp.ILike)):
            text = text.replace("\\", "\\\\")  # Spark's LIKE has an escape character, DuckDB's has none
        name = f"p{len(arguments)}"
        arguments[name] = text
        node.replace(exp.Placeholder(this=name))
    return arguments
