"""Whether somebody chose what a Kernel protocol of BIRD gives to the kernel. Pure; nothing can fail."""

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
