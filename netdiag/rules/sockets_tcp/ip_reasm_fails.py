"""What it checks
  Fragments that could not be put together while netdiag looked (Ip.ReasmFails, Ip6ReasmFails), many of those that came.

Why it matters
  One lost fragment loses the whole datagram: large answers of DNS, tunnels over a smaller MTU, NFS over UDP. A firewall
  on the way that lets only first fragments through does it always; a memory limit that is too low
  (net.ipv4.ipfrag_high_thresh) under load.

Confirm
  nstat -az IpReasmFails IpReasmReqds IpReasmTimeout Ip6ReasmFails, twice
  sysctl net.ipv4.ipfrag_high_thresh

Fix
  Make senders fit the path (MTU of tunnels, EDNS buffer 1232) or let fragments through.
  sysctl -w net.ipv4.ipfrag_high_thresh=8388608 where the memory is used up.

Not flagged
  As more than a note: a few, which scanners send on purpose, or a small part of all. Those of the past.

References
  net/ipv4/ip_fragment.c ip_expire(), inet_frag_find(); RFC 8900
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.counted import counted
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="ip-reasm-fails",
    title="fragments cannot be put together",
    severity="warning",
    reads=("deltas", "sysctls"),
)
FAILS, CAME = ("Ip.ReasmFails", "Ip6ReasmFails"), ("Ip.ReasmReqds", "Ip6ReasmReqds")
MANY, SHARE = 5, 0.1


def check(view: HostView) -> Iterator[Draft]:
    moved = {name: view.deltas.snmp(name) or 0 for name in (*FAILS, *CAME)}
    failed, came = sum(moved[name] for name in FAILS), sum(moved[name] for name in CAME)
    if not failed:
        return
    limit = view.sysctl("net.ipv4.ipfrag_high_thresh")
    yield RULE.found(
        subject=subject("host"),
        severity="warning" if failed >= MANY and failed >= SHARE * came else "info",
        message=f"{failed} datagrams could not be put together from their fragments in {view.deltas.seconds:.1f} s",
        evidence=[
            *((name, moved[name], f"/proc/net/snmp{'6' * ('6' in name)} {name}") for name in FAILS if moved[name]),
            ("fragments that came", came, " ".join(CAME)),
            ("ipfrag_high_thresh", limit, "/proc/sys/net/ipv4/ipfrag_high_thresh"),
        ],
        confirm=["nstat -az IpReasmFails IpReasmReqds IpReasmTimeout Ip6ReasmFails", "cat /proc/net/sockstat"],
        fix="make senders fit the path, or let fragments through; sysctl -w net.ipv4.ipfrag_high_thresh=8388608 where "
        "the memory is used up",
    )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, says: Any, moved: dict[str, int]) -> Example:
        tables = counted(moved, others=(*FAILS, *CAME)).build()
        return Example(name=name, why=why, tables=tables, fires=0 if says is None else 1, severity=says)

    yield case("many", "the plain fault", "warning", {FAILS[0]: 5, CAME[0]: 50})
    yield case("many of IPv6", "the same", "warning", {FAILS[1]: 9, CAME[1]: 9})
    yield case("few", "a scan", "info", {FAILS[0]: 4, CAME[0]: 4})
    yield case("a small part", "one in ten is the mark", "info", {FAILS[0]: 5, CAME[0]: 51})
    yield case("none now", "those of the past", None, {CAME[0]: 50})
    yield case("went back", "a reset", None, {FAILS[0]: -1})
