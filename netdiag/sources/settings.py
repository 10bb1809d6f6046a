"""What the files of some daemons say, and nothing else of them: those of BIND, of CoreDNS and of CNI's networks may
hold keys and tokens, so that what is wanted is taken out here, before a collector or a recording sees it.

``key`` holds what to read, ``named``, ``corefile`` or ``host-local``, and the path, a line each; the answer is JSON,
see ``told``. Raises OSError where there is no such file, it may not be read, or it is too large.
"""

import errno
import json
import os
from typing import Any

from netdiag.model.text import kernel_text
from netdiag.sources.resolverfiles import named_includes, parse_corefile, parse_named

LIMIT = 1 << 20
"""Bytes of a file."""


def told(what: str, text: str) -> dict[str, Any]:
    """``named``: servers (address, port, domain) and the files that it includes; ``corefile``: servers, and files that
    name them with a domain (path, domain); ``host-local``: the folders that it keeps addresses in."""
    if what == "named":
        return {"servers": [list(one) for one in parse_named(text)], "includes": list(named_includes(text))}
    if what == "corefile":
        rows = list(parse_corefile(text))
        return {name: [list(one) for one in rows if len(one) == size] for name, size in (("servers", 3), ("files", 2))}
    return {"folders": data_dirs(text)}


def data_dirs(text: str) -> list[str]:
    """The dataDir of each host-local of a network's configuration (JSON); none where it cannot be read."""

    def held(value: Any) -> list[dict[str, Any]]:
        return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]

    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return []
    found = [ipam.get("dataDir") for top in held(read) for one in (top, *held(top.get("plugins")))
             for ipam in held(one.get("ipam")) if ipam.get("type") == "host-local"]  # fmt: skip
    return [folder.rstrip("/") for folder in found if isinstance(folder, str) and folder.startswith("/")]


def fetch(key: str, deadline: float | None) -> bytes:
    """The answer for one file."""
    what, _, path = key.partition("\n")
    with open(path, "rb") as file:
        content = file.read(LIMIT + 1)
    if len(content) > LIMIT:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return json.dumps(told(what, kernel_text(content))).encode()
