"""Whether somebody chose what a Kernel protocol of BIRD gives to the kernel. Pure; nothing can fail."""

from netdiag.index.view import HostView
from netdiag.model.bird import BirdDaemon, BirdProtocol
from netdiag.rules.bgpsessions import begun, moment
from netdiag.rules.bgpsiblings import NOTHING


def chosen(kernel: BirdProtocol | None, daemon: BirdDaemon) -> bool:
    """Whether its channel has a filter, which a collector's has not; of one that is switched off, whether that was done
    to a daemon that ran."""
    if kernel is None or not kernel.channels or kernel.channels[0].output_filter in (NOTHING, None):
        return False
    since = moment(kernel.since, moment(daemon.server_time, None))
    return kernel.state == "up" or (since is not None and not begun(daemon, since))


def earlier(kernel: BirdProtocol | None, *, then: bool) -> str:
    """Words for when the kernel was given routes before; empty where it was not, as far as is known. ``then``: at the
    time of the baseline. BIRD's counts outlive a change of its configuration: a Kernel protocol that gives nothing by
    now, and once gave some, had another one."""
    if then:
        return ", and it was given some at the time of the baseline"
    counts = kernel.channels[0] if kernel is not None and kernel.state == "up" and kernel.channels else None
    if counts is None or counts.output_filter != NOTHING or counts.export_updates is None:
        return ""
    return ", and it was given some since BIRD runs" if counts.export_updates.accepted else ""


def beyond_default(view: HostView, daemon: BirdDaemon, table: str, sources: list[tuple[BirdProtocol, int]]) -> bool:
    """Whether sessions brought more than a default route each, by their number or as other sessions are told them."""
    names = {row.name for row, _ in sources}
    lists = (one.routes or () for each in view.bird_routes if each.socket == daemon.socket for one in each.exports)
    known = (route for routes in lists for route in routes if route.protocol in names and route.table in (table, None))
    return sum(count for _, count in sources) > len(sources) or any(not route.net.endswith("/0") for route in known)
