"""What it checks
  A BGP session calls and gets no answer and no error, while the kernel drops TCP segments for a wrong, missing or
  unexpected MD5 signature (RFC 2385) or authentication option (TCP-AO, RFC 5925), as two samples of its counters show.
  Of segments that somebody signed, with what is not known here, those of the time before count as well, for a session
  that has called for ten seconds and more over a way on which nothing is wrong: each side calls anew after longer and
  longer, and one look a second long sees few of these calls.

Why it matters
  The password of a session is checked by the kernel, which drops what does not fit without a word to anybody: BIRD
  stays in Connect or Active with an empty error for ever. TCPMD5Failure: both sides have a password, and they differ.
  TCPMD5Unexpected: only the neighbour has one. TCPMD5NotFound: only this side has one.
  TCPAOBad, TCPAORequired and TCPAOKeyNotFound are the same of TCP-AO.

Confirm
  birdc show protocols all NAME
  nstat -asz TcpExtTCPMD5Failure TcpExtTCPMD5Unexpected TcpExtTCPMD5NotFound
  journalctl -k | grep 'MD5 Hash'
  tcpdump -ni IFNAME -M secret 'tcp port 179'

Fix
  Make "password", or the keys of TCP-AO, equal on both sides (or take it away on both), then birdc configure. The
  session restarts, which costs nothing while it is down.

Not flagged
  A counter of segments without a signature (TCPMD5NotFound, TCPAORequired) that does not move, whatever it has reached
  since boot: told as a possibility, but where it rose since the baseline, within one boot, when the session stood. So
  are the others where the link or the neighbour is down as well, or where the session has only begun. Moving counters
  while no session is mute: scanners of port 179 do that. Sessions with an error, passive ones, sessions that stand.

References
  net/ipv4/tcp_ipv4.c tcp_inbound_md5_hash(), include/uapi/linux/snmp.h LINUX_MIB_TCPMD5*; RFC 2385
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules import tcpauth
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="bgp-md5-mismatch",
    title="the TCP passwords of a BGP session do not match",
    severity="critical",
    confidence="likely",
    reads=tcpauth.READS,
    consults=("wireguard", "neighbours", "baseline"),
    explains=("bgp-not-established", "route-default-missing", "dns-nameserver-unroutable"),
    own_cause=True,
)
COUNTERS = (
    "TCPMD5Failure",
    "TCPMD5Unexpected",
    "TCPMD5NotFound",
    "TCPAOBad",
    "TCPAORequired",
    "TCPAOKeyNotFound",
)
SIGNED = ("TCPMD5Failure", "TCPMD5Unexpected", "TCPAOBad", "TCPAOKeyNotFound")
"""Of segments that somebody signed: a router that means this host."""


def check(view: HostView) -> Iterator[Draft]:
    yield from tcpauth.findings(
        RULE,
        view,
        COUNTERS,
        ("Connect", "Active", "Idle"),
        what="for their signature",
        fix="make 'password' of protocol bgp {name} the same here and on {address}",
        signed=SIGNED,
    )


def _case(name: str, why: str, before: int, after: int, **more: Any) -> Example:
    counter, state = more.pop("counter", "TCPMD5Failure"), more.pop("state", "Connect")
    host: Any = BirdHost().bgp_down("up1", more.pop("error", ""), bgp_state=state)
    if more.pop("up", False):
        host = BirdHost().bgp("up1")
    host.link("eth0", **more.pop("link", {})).address("eth0", "192.0.2.2/24")
    host.neighbour("192.0.2.1", dev="eth0", state=more.pop("near", "stale"))
    snmp = [{"snmp": {f"TcpExt.{counter}": value}} for value in (before, after)]
    host.counters(before=snmp[0], after=snmp[1])
    return Example(name=name, why=why, tables=host.build(), **more)


def examples() -> Iterator[Example]:
    about = subject("bgp-session", name="up1")
    crit: dict[str, Any] = {"fires": 1, "severity": "critical", "subject": about, "confidence": "likely"}
    for counter in COUNTERS:
        yield _case(counter, "each tells another half", 0, 1, counter=counter, **crit)
    changed = "Received: Other configuration change"
    yield _case("the neighbour got a password", "its goodbye is the last that was heard", 0, 1, error=changed, **crit)
    for counter in COUNTERS:
        seen = crit if counter in SIGNED else {"fires": 1, "severity": "info"}
        why = "both sides call anew after longer and longer" if counter in SIGNED else "a scanner last week perhaps"
        yield _case(f"{counter} does not move", why, 5, 5, counter=counter, **seen)
    weak: dict[str, Any] = {"fires": 1, "severity": "info"}
    yield _case("does not move, the neighbour is gone", "that is why", 5, 5, near="failed", **weak)
    yield _case("does not move, the link is down", "that is why", 5, 5, link={"up": False}, **weak)
    yield _case("does not move, neighbours not read", "who knows", 5, 5, late=("neighbours",), unjudged=True, **weak)
    begun = BirdHost().daemon(last_reconfiguration="2026-01-02 11:59:55.000")
    begun.bgp_down("up1", "", bgp_state="Connect", since="11:59:55.000").link("eth0").address("eth0", "192.0.2.2/24")
    begun.counters(before={"snmp": {"TcpExt.TCPMD5Failure": 5}}, after={"snmp": {"TcpExt.TCPMD5Failure": 5}})
    yield Example(name="does not move, begun", why="it may come up by itself", tables=begun.build(), **weak)
    before, after = {"TcpExt.TCPMD5Failure": 5, "TcpExt.TCPMD5NotFound": 0}, {"TcpExt.TCPMD5NotFound": 1}
    host = BirdHost().bgp_down("up1", "", bgp_state="Connect").link("eth0").address("eth0", "192.0.2.2/24")
    two = host.counters(before={"snmp": before}, after={"snmp": before | after}).build()
    says = ("TcpExt TCPMD5NotFound between the samples 1",)
    yield Example(name="another moved once", why="what moves now is told", tables=two, says=says, **crit)
    yield _case("the neighbour hung up", "the connection stood", 0, 9, error=tcpauth.RESET, state="Active")
    yield _case("never", "a firewall perhaps", 0, 0)
    back: dict[str, Any] = {"counter": "TCPMD5NotFound"}
    yield _case("reset", "a counter that went back says nothing now", 5, 1, **back, **weak)
    yield _case("scanner", "the session stands", 0, 9, up=True)
    yield _case("refused", "somebody answers", 0, 9, error="Socket: Connection refused")
    yield _case("passive", "nobody calls", 0, 9, state="Passive")
    yield _case("another counter", "not the signature", 0, 9, counter="TCPMinTTLDrop")
    then: Any = BirdHost().bgp("up1")
    then.counters(before={"snmp": {"TcpExt.TCPMD5NotFound": 4}}, after={"snmp": {"TcpExt.TCPMD5NotFound": 4}})
    down: Any = BirdHost().bgp_down("up1", bgp_state="Connect")
    down.counters(before={"snmp": {"TcpExt.TCPMD5NotFound": 4}}, after={"snmp": {"TcpExt.TCPMD5NotFound": 4}})
    for name, total, old, booted, seen in (
        ("rose since the session stood", 5, then, False, crit),
        ("did not rise since", 4, then, False, weak),
        ("rose, and it did not stand then", 5, down, False, weak),
        ("counts anew since the boot", 5, then, True, weak),
    ):
        yield _case(
            name,
            "one look a second long misses most of them",
            total,
            total,
            baseline=old.build(),
            rebooted=booted,
            counter="TCPMD5NotFound",
            **seen,
        )
