"""Policy routing rules of both families, with every selector.

Source: two RTM_GETRULE dumps (net/core/fib_rules.c fib_nl_dumprule()). Needs no privilege. Inconsistent where rules
changed while they were read; partial where a message could not be decoded. A kernel without IPv6 has no IPv6 rules, one
without policy routing (CONFIG_IP_MULTIPLE_TABLES) none at all: that is absent.
"""

from netdiag.collectors import Collected, Options, verdict_of
from netdiag.sources.netlink import requests
from netdiag.sources.netlink.small import RuleSink
from netdiag.sources.protocol import Source, Unreadable


def collect(source: Source, options: Options) -> Collected:
    """Both families, in the order in which they are tried."""
    sink, sink6 = RuleSink(), RuleSink()
    results = [source.dump(requests.rules("inet"), sink)]
    try:
        results.append(source.dump(requests.rules("inet6"), sink6))
    except Unreadable as error:
        if error.why != "absent":
            raise
    rules = (*sink.rules, *sink6.rules)
    status, detail = verdict_of(results, sink.malformed + sink6.malformed)
    return Collected(tables={"rules": rules}, rows=len(rules), status=status, detail=detail)
