"""The list of mutants that live on for a reason: survivors.toml, kept by hand."""

import functools
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path


@functools.cache
def _listed() -> dict[str, dict[str, str]]:
    return tomllib.loads(Path(__file__).with_name("survivors.toml").read_text(encoding="utf-8"))


def reason(module: str, name: str) -> str:
    """Why this mutant cannot be killed, or need not be; empty where nobody said."""
    module = module.removeprefix("netdiag.rules.")
    for part in (module, "*"):
        for pattern, why in _listed().get(part, {}).items():
            if pattern == name or fnmatchcase(name, pattern.replace("[", "[[]")):
                return why
    return ""
