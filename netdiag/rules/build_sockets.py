"""A socket for the examples of rules, with what the kernel would say of it by itself. Nothing can fail."""

from collections.abc import Callable
from typing import Any

from netdiag.model.sockets import SocketOwner


def socket_row(
    number: int, fields: dict[str, Any], ifindex_of: Callable[[str | None], int]
) -> tuple[dict[str, Any], list[SocketOwner]]:
    """A row for sockets_from_rows(), and who holds it, where ``comm`` (and ``process``, its state) is given."""
    comm, dev, process = (fields.pop(name, None) for name in ("comm", "dev", "process"))
    src, protocol = str(fields.get("src", "0.0.0.0")), fields.get("protocol", 6)
    defaults: dict[str, Any] = {
        "family": 10 if ":" in src else 2,
        "protocol": protocol,
        "state": 10 if protocol == 6 else 7,
        "told": 7,
        "inode": 1000 + number,
        "cookie": number,
        "ifindex": ifindex_of(dev),
    }
    row = defaults | fields
    if row.get("later") and "later_state" not in row:
        row["later_state"] = row["state"]
    owner = SocketOwner(inode=row["inode"], pid=100 + number, comm=comm, state=process or "S") if comm else None
    return row, [owner] if owner else []
