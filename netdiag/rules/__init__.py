"""The rules: one file each, in a folder a domain. The growing wing of the house.

``discover`` finds them by walking the packages; nothing has to be registered. Rules see a host only through
netdiag.index.view.HostView, and return what they found; they never read, print or sleep.
"""

import importlib
import pkgutil
from functools import cache

from netdiag.rules.shape import RuleModule


def discover(scope: str | None = "host") -> dict[str, RuleModule]:
    """The rules of a scope by id, in alphabetical order: ``host``, ``fleet``, or None for all. A rule of one host that
    knows something of several as well is among both."""
    found: dict[str, RuleModule] = {}
    for module, across in _files():
        if scope in (None, module.rule.scope):
            found[module.id] = module
        elif across is not None and scope == across.rule.scope:
            found[across.id] = across
    return dict(sorted(found.items()))


@cache
def _files() -> tuple[tuple[RuleModule, RuleModule | None], ...]:
    """Every rule, and what it is between hosts. Walked once: folders do not change under a running program."""
    found: list[tuple[RuleModule, RuleModule | None]] = []
    for domain in pkgutil.iter_modules(__path__):
        if not domain.ispkg:
            continue
        package = importlib.import_module(f"{__name__}.{domain.name}")
        for entry in pkgutil.iter_modules(package.__path__):
            file = importlib.import_module(f"{package.__name__}.{entry.name}")
            found.append((RuleModule.of(file), RuleModule.across(file)))
    return tuple(found)
