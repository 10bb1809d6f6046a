"""The rules: one file each, in a folder a domain. The growing wing of the house.

``discover`` finds them by walking the packages; nothing has to be registered. Rules see a host only through
netdiag.index.view.HostView, and return what they found; they never read, print or sleep.
"""

import importlib
import pkgutil

from netdiag.rules.shape import RuleModule


def discover(scope: str | None = "host") -> dict[str, RuleModule]:
    """The rules of a scope by id, in alphabetical order: ``host``, ``fleet``, or None for all. A rule of one host that
    knows something of several as well is among both."""
    found: dict[str, RuleModule] = {}
    for domain in pkgutil.iter_modules(__path__):
        if not domain.ispkg:
            continue
        package = importlib.import_module(f"{__name__}.{domain.name}")
        for entry in pkgutil.iter_modules(package.__path__):
            file = importlib.import_module(f"{package.__name__}.{entry.name}")
            module, across = RuleModule.of(file), RuleModule.across(file)
            if scope in (None, module.rule.scope):
                found[module.id] = module
            elif across is not None and scope == across.rule.scope:
                found[across.id] = across
    return dict(sorted(found.items()))
