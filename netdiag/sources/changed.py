"""When a folder was last changed: a file came into it or went (st_mtime, stat(2)).

The answer is text, seconds of the wall clock; ``key`` is the path. Raises OSError where there is no such folder, or it
may not be looked at.
"""

import os


def fetch(key: str, deadline: float | None) -> bytes:
    """Seconds of CLOCK_REALTIME."""
    return f"{os.stat(key).st_mtime:.3f}".encode()
