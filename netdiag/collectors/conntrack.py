"""The tracked connections of this namespace, as columns.

Source: a dump of ctnetlink (net/netfilter/nf_conntrack_netlink.c); needs CAP_NET_ADMIN (else denied). Asking would load
nf_conntrack_netlink, so it is asked only where that is there already: else absent. Partial where there are more entries
than netdiag keeps.
"""

from netdiag.collectors import Collected, Options
from netdiag.collectors.conntrack_state import read_settings
from netdiag.collectors.nft import has_module
from netdiag.model.coverage import Status
from netdiag.sources.netlink import conntrack
from netdiag.sources.protocol import Source, Unreadable


def collect(source: Source, options: Options) -> Collected:
    """Every entry of both families, up to the cap."""
    read_settings(source)
    if not has_module(source, "nf_conntrack_netlink", "CONFIG_NF_CT_NETLINK"):
        raise Unreadable("absent", "nf_conntrack_netlink is not loaded")
    sink = conntrack.ConntrackColumns()
    source.dump(conntrack.request(), sink)
    table = sink.finish()
    status: Status = "ok"
    detail = ""
    if sink.malformed:
        status, detail = "partial", f"{sink.malformed} entries could not be decoded"
    elif sink.more:
        status, detail = "partial", f"more than {conntrack.LIMIT} entries"
    tables = {"conntrack": table, "conntrack_helpers": tuple(sink.helpers)}
    return Collected(tables=tables, rows=len(table), status=status, detail=detail)
