"""With NETDIAG_LOSSES every report of a lab host adds what it told to the file: some tests are no ``Drill``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.drills import losses
from tests.lab import Host


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing, unless somebody asked."""
    if losses.asked():
        report = Host.report

        def noted(host: Host, *args: Any, **how: Any) -> dict[str, Any]:
            found: dict[str, Any] = report(host, *args, **how)
            losses.told(found["findings"])
            return found

        monkeypatch.setattr(Host, "report", noted)
    yield
