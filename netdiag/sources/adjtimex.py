"""The kernel's own opinion of its clock: adjtimex(2) with ``modes`` 0, which changes nothing and needs no privilege.

struct timex from include/uapi/linux/timex.h. The answer is text, one ``name=value`` a line. Raises OSError.
"""

import ctypes
import os

_LONG = ctypes.c_long


class Timex(ctypes.Structure):
    """struct timex."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", _LONG),
        ("freq", _LONG),
        ("maxerror", _LONG),
        ("esterror", _LONG),
        ("status", ctypes.c_int),
        ("constant", _LONG),
        ("precision", _LONG),
        ("tolerance", _LONG),
        ("seconds", _LONG),
        ("fraction", _LONG),
        ("tick", _LONG),
        ("ppsfreq", _LONG),
        ("jitter", _LONG),
        ("shift", ctypes.c_int),
        ("stabil", _LONG),
        ("jitcnt", _LONG),
        ("calcnt", _LONG),
        ("errcnt", _LONG),
        ("stbcnt", _LONG),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


NAMES = ("offset", "freq", "maxerror", "esterror", "status", "constant", "tick", "tai")


def fetch(key: str, deadline: float | None) -> bytes:
    """State and the fields of ``NAMES``; ``key`` is ``read``."""
    if key != "read":
        raise OSError(22, f"no such question: {key}")
    timex = Timex(modes=0)
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    lines = [f"state={state}", *(f"{name}={getattr(timex, name)}" for name in NAMES)]
    return "\n".join([*lines, ""]).encode("ascii")
