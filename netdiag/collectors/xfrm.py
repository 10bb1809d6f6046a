"""IPsec states and policies, without keys.

Source: XFRM_MSG_GETSA and XFRM_MSG_GETPOLICY dumps (net/xfrm/xfrm_user.c); needs CAP_NET_ADMIN in the namespace. Absent
where the kernel's end of NETLINK_XFRM is not there (/proc/net/netlink): asking would load the module. Partial where a
message could not be decoded.
"""

from netdiag.collectors import Collected, Options, verdict_of
from netdiag.model.text import kernel_text
from netdiag.model.xfrm import Xfrm
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.xfrm import XfrmSink, policies, states
from netdiag.sources.protocol import Source, Unreadable


def collect(source: Source, options: Options) -> Collected:
    """Everything of the namespace."""
    sockets = kernel_text(source.read("/proc/self/net/netlink")).splitlines()
    if not any(line.split()[1:2] == [str(nl.NETLINK_XFRM)] for line in sockets):
        raise Unreadable("absent", "IPsec's netlink interface is not loaded")
    found, rules = XfrmSink(), XfrmSink()
    results = [source.dump(states(), found), source.dump(policies(), rules)]
    table = Xfrm(states=tuple(found.states), policies=tuple(rules.policies))
    status, detail = verdict_of(results, found.malformed + rules.malformed)
    rows = len(table.states) + len(table.policies)
    return Collected(tables={"xfrm": table}, rows=rows, status=status, detail=detail)
