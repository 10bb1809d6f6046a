"""A sentence for every field of the model: the string below it in the source, or, where there is none, one from here.

Field docstrings do not exist at run time, so they are read from the source with ``ast`` (PEP 257 calls them attribute
docstrings). ``KeyError`` names a field that nobody has described; a test finds it first.
"""

import ast
import inspect
from typing import Any

from netdiag.schema.words import WORDS


def field_sentences(struct: type[Any]) -> dict[str, str]:
    """Sentence by field name, inherited fields included."""
    found: dict[str, str] = {}
    for cls in reversed(struct.__mro__):
        if cls.__module__.startswith("netdiag."):
            found |= _own(cls)
    return found


def _own(cls: type[Any]) -> dict[str, str]:
    body = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(body, ast.ClassDef)
    sentences: dict[str, str] = {}
    name: str | None = None
    for statement in body.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
            sentences[name] = WORDS.get(f"{cls.__name__}.{name}") or WORDS.get(name) or ""
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and name:
            if isinstance(statement.value.value, str):
                sentences[name] = _one_line(statement.value.value)
        else:
            name = None
    return sentences


def _one_line(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


def type_sentence(struct: type[Any]) -> str:
    """The first paragraph of a class's docstring."""
    return _one_line((struct.__doc__ or "").split("\n\n")[0])
