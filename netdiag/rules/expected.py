"""What rules share that judge what should be here: by the intent, or by what was here at the time of a baseline.

Pure; nothing can fail.
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Unjudged
from netdiag.model.link import Link

FRESH = 10.0
"""Seconds that whoever looks after a new interface may take."""
WRAPS = 2**32 / 100
"""Seconds after which the kernel's stamps of addresses begin anew."""
EPHEMERAL = ("tun", "veth", "ifb", "netkit")
"""Kinds of interfaces that come and go with guests and containers; one of the same name may be another one's."""


def untold(view: HostView, section: str) -> Iterator[Unjudged]:
    """That the rule had nothing to go by: neither its section of the intent nor a baseline."""
    if getattr(view.intent, section) is None and view.baseline is None:
        bracket = "[sysctl]" if section == "sysctl" else f"[[{section}]]"
        yield Unjudged(reason=f"intent: no {bracket} section; baseline: none given")


def same_link(old: HostView, new: HostView, ifname: str) -> Link | None:
    """The interface of that name now, where it is the one of the baseline or does the same work.

    Interfaces of guests that were made anew belong to somebody else; a tun without Ethernet is a tunnel's, not a
    guest's. None too where either has none of that name.
    """
    before, after = old.stack.by_name.get(ifname), new.stack.by_name.get(ifname)
    if before is None or after is None or before.kind != after.kind:
        return None
    if (
        after.kind in EPHEMERAL
        and after.info.get("type") != "tun"
        and before.ifindex != after.ifindex
        and old.meta.boot_id == new.meta.boot_id
    ):
        return None
    return after


def just_made(view: HostView, link: Link) -> bool:
    """Whether the interface may have been made within the last seconds: all its addresses are that young. IPv6 gives it
    one as soon as it is up."""
    if view.meta.uptime is None or not view.read_whole("addresses"):
        return False
    given = [row.created for row in view.addresses if row.ifindex == link.ifindex]
    ages = [(view.meta.uptime - at) % WRAPS for at in given if at is not None]
    return bool(ages) and max(ages) < FRESH


def since(old: HostView) -> str:
    """``since the baseline of 2026-11-23T17:32:00Z``."""
    return f"since the baseline of {old.meta.taken_at}"
