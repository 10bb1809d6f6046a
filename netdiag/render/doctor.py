"""What ``netdiag doctor`` found, as text or JSON. Foreign strings pass ``escape.visible``; nothing can fail."""

from collections.abc import Iterator

import msgspec

from netdiag.doctor import CAPABILITIES, Health
from netdiag.render.escape import visible
from netdiag.render.json import pretty
from netdiag.render.tables import Column, columns_text

COLUMNS = (
    Column("collector"),
    Column("status"),
    Column("rows", right=True),
    Column("duration_ms", right=True),
    Column("detail"),
)


def doctor_json(health: Health) -> str:
    """``netdiag.doctor/1``."""
    return pretty(health)


def doctor_text(health: Health) -> str:
    """For a person: collectors, then what this process may do, what the kernel offers, and what would help."""
    return "".join(_pieces(health))


def _pieces(health: Health) -> Iterator[str]:
    rows = (msgspec.structs.asdict(row) for row in health.collectors)
    yield from columns_text(COLUMNS, rows, None)
    yield f"\nverdict possible: {'yes' if health.verdict_possible else 'no: a required collector was not read'}\n"
    user = "unknown" if health.uid is None else str(health.uid)
    yield f"netdiag {visible(health.netdiag)} on kernel {visible(health.kernel)}, as uid {user}\n"
    yield f"capabilities: {_capabilities(health)}\n"
    told = ", ".join(f"{name} {_word(value)}" for name, value in health.features.items())
    yield f"kernel features: {told}\n"
    for package in health.packages:
        state = {True: "installed", False: "not installed", None: "unknown"}[package.installed]
        yield f"package {package.name}: {state} ({package.purpose})\n"
    for advice in health.advice:
        yield f"to see {visible(advice.collector)}: {visible(advice.remedy)} ({visible(advice.why)})\n"


def _capabilities(health: Health) -> str:
    if health.capabilities is None:
        return "unknown"
    lacking = [name for name in CAPABILITIES if name not in health.capabilities]
    if len(lacking) < len(CAPABILITIES) // 2:
        return "all" + (f" but {' '.join(lacking)}" if lacking else "")
    return " ".join(visible(name) for name in health.capabilities) or "none"


def _word(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "unknown"}[value]
