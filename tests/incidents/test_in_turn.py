"""More incidents, from two lists that were written down before anything was run: one after the other on one host.

Each is named first, with no other alarm that it does not explain, and after its repair nothing is said any more. A
host of its own for each would cost ten times as much; what one leaves behind is for the next one to bear, as in life.
"""

from dataclasses import dataclass

from tests.drills.bpfworld import tc
from tests.incidents.faults import Break, Fault, ip, sh
from tests.incidents.test_incidents import poll, roots, wrong_with_first
from tests.incidents.worlds import edge, worker
from tests.lab import Host, Lab


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One incident, and what takes it back."""

    name: str
    story: str
    break_: Break
    repair: Break
    first: str


def nft(table: str, chain: str) -> Break:
    return lambda lab, host: lab.nft(host, f"table inet {table} {{\n{chain}\n}}")


def policy_again(lab: Lab, host: Host) -> None:
    tc(host, "tap2", "policy2", 1)


WORKER = (
    Turn(
        name="own net null-routed",
        story="a script against an attack took our own IPv6 net for its source",
        break_=sh("ip -6 rule add pref 500 to 2001:db8::/64 blackhole"),
        repair=sh("ip -6 rule del pref 500"),
        first="rule-terminal-unreachable",
    ),
    Turn(
        name="filter of one guest gone",
        story="an upgrade deleted the old program's filter on one of two guests, and stopped",
        break_=sh("tc filter del dev tap2 ingress"),
        repair=policy_again,
        first="bpf-expected-missing-on-iface",
    ),
    Turn(
        name="clsact of one guest gone",
        story="somebody cleaned up queueing on one of two guests",
        break_=sh("tc qdisc del dev tap2 clsact"),
        repair=policy_again,
        first="bpf-expected-missing-on-iface",
    ),
    Turn(
        name="guest's address on lo",
        story="an address that a test left behind is the guest's",
        break_=ip("address add 172.16.0.2/32 dev lo"),
        repair=ip("address del 172.16.0.2/32 dev lo"),
        first="addr-of-neighbour",
    ),
    Turn(
        name="rule without its selector",
        story="a template lost its 'from', so that a table takes all packets",
        break_=ip("route add default via 192.0.2.1 table 77\nrule add pref 900 lookup 77"),
        repair=ip("rule del pref 900\nroute flush table 77"),
        first="rule-shadowed",
    ),
    Turn(
        name="agent drops WireGuard",
        story="a security agent closed what it did not know, on the way out",
        break_=nft("agent", "chain o { type filter hook output priority 5; udp dport 51820 drop; }"),
        repair=sh("nft delete table inet agent"),
        first="nf-own-traffic-dropped",
    ),
    Turn(
        name="mate on a list of bans",
        story="a blocklist holds the net of a peer",
        break_=nft("bans", "chain p { type filter hook prerouting priority raw; ip saddr 192.0.2.11 drop; }"),
        repair=sh("nft delete table inet bans"),
        first="nf-own-traffic-dropped",
    ),
    Turn(
        name="agent drops names",
        story="DNS only by the proxy, and nobody told resolv.conf",
        break_=nft(
            "agent", "chain o { type filter hook output priority 5; meta l4proto { tcp, udp } th dport 53 drop; }"
        ),
        repair=sh("nft delete table inet agent"),
        first="nf-own-traffic-dropped",
    ),
)

EDGE = (
    Turn(
        name="BGP closed both ways",
        story="a hardening role closed port 179 to everybody",
        break_=nft(
            "hard",
            "chain i { type filter hook input priority 0; iif lo accept; th dport 179 drop; th sport 179 drop; }",
        ),
        repair=sh("nft delete table inet hard"),
        first="nf-own-traffic-dropped",
    ),
    Turn(
        name="half of the uplink's net",
        story="a prefix was typed for the wrong uplink",
        break_=ip("route add 192.0.2.0/25 via 198.51.100.2"),
        repair=ip("route del 192.0.2.0/25"),
        first="route-hides-gateway",
    ),
    Turn(
        name="loopback down",
        story="a clean-up switched off what had no traffic",
        break_=ip("link set lo down"),
        repair=ip("link set lo up"),
        first="loopback-down",
    ),
)


def _in_turn(lab: Lab, host: Host, turns: tuple[Turn, ...]) -> None:
    for turn in turns:
        fault = Fault(name=turn.name, story=turn.story, world=worker, break_=turn.break_, first=(turn.first,))
        turn.break_(lab, host)
        poll(lab, host, (fault,), lambda report, fault=fault: wrong_with_first(report, fault))  # type: ignore[misc]
        turn.repair(lab, host)
        poll(lab, host, (fault,), lambda report: ", ".join(roots(report)))


def test_on_a_worker(lab: Lab) -> None:
    _in_turn(lab, worker(lab), WORKER)


def test_on_an_edge(lab: Lab) -> None:
    _in_turn(lab, edge(lab), EDGE)
