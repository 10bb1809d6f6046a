"""Waiting for a condition with a deadline: the only place in the tests where time passes idly.

A test never sleeps for a guessed time; it says what it waits for and how long it may take at worst.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE = 0.01  # seconds between two looks: short against every daemon here, long against one look


def wait_until(condition: Callable[[], T], timeout: float = 5.0, what: str = "", pause: float = _PAUSE) -> T:
    """Call `condition` until it returns something true, and return that.

    `timeout` is in seconds, and so is `pause`, between two looks: longer where a look is dear. Raises TimeoutError
    that names `what` and the last value seen. The condition is looked at once more after the deadline, so that a
    machine that stood still does not fail a good test.
    """
    deadline = time.monotonic() + timeout
    while True:
        late = time.monotonic() >= deadline
        value = condition()
        if value:
            return value
        if late:
            raise TimeoutError(f"after {timeout:g} s still not: {what or repr(condition)} (last answer: {value!r})")
        time.sleep(pause)
