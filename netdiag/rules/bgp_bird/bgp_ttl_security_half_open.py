"""What it checks
  A BGP session hangs on its way up (OpenSent, OpenConfirm, Connect, Active) without an error, or is reset or closed by
  the neighbour, or given up here, in the end, while the kernel drops TCP segments whose TTL is below what the session
  demands (TTL security, RFC 5082), as two samples of its counter show.

Why it matters
  With "ttl security" on one side only, the other side sends with a small TTL: what it sends is dropped here without a
  word. The other side says Established and announces; this one stays in OpenConfirm and times out, again and again.
  The same happens where the neighbour is one router further away than configured.

Confirm
  birdc show protocols all NAME
  nstat -asz TcpExtTCPMinTTLDrop
  tcpdump -c5 -vni IFNAME 'tcp port 179'      (ttl)

Fix
  Set "ttl security" on both sides, or on none; or raise "multihop" where there is a router between. Then birdc
  configure: the session restarts.

Not flagged
  A counter that does not move: a possibility only, but where it rose since the baseline, within one boot, when the
  session stood; and but of a session in OpenSent, or in OpenConfirm while the neighbour acknowledges none of its bytes
  (it sends again after longer and longer, and a second may see none of it). A neighbour that is there acknowledges at
  once, slow as it may be to confirm: just booted, or with hundreds of sessions to bring up. A moving counter while no
  session hangs: somebody else's packets, which is what TTL security is for. Sessions with another error, passive ones,
  sessions that stand.

References
  RFC 5082; net/ipv4/tcp_ipv4.c tcp_v4_rcv() min_ttl, LINUX_MIB_TCPMINTTLDROP
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules import tcpauth
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="bgp-ttl-security-half-open",
    title="TTL security drops what a BGP neighbour sends",
    severity="critical",
    confidence="likely",
    reads=tcpauth.READS,
    consults=("wireguard", "sockets", "baseline"),
    explains=("bgp-not-established", "bgp-hold-timer-expired", "route-default-missing", "dns-nameserver-unroutable"),
)
STATES = ("OpenSent", "OpenConfirm", "Connect", "Active", "Idle")


def check(view: HostView) -> Iterator[Draft]:
    yield from tcpauth.findings(
        RULE,
        view,
        ("TCPMinTTLDrop",),
        STATES,
        what="whose TTL is too low",
        fix="set 'ttl security' alike in protocol bgp {name} and on {address}",
        reset=True,
        hangs=("OpenSent", "OpenConfirm"),
    )


def _case(
    name: str, why: str, before: int, after: int, *, state: str = "OpenConfirm", sent: int | None = None, **more: Any
) -> Example:
    """``sent``: bytes to the neighbour that it has not acknowledged; None: no connection."""
    host: Any = BirdHost().bgp_down("up1", more.pop("error", ""), bgp_state=state)
    socket = more.pop("socket", {})
    if sent is not None:
        given: dict[str, Any] = {"src": "192.0.2.2", "sport": 179, "dst": "192.0.2.1", "dport": 40000, "state": 1}
        host.socket(**(given | {"wqueue": sent} | socket))
    if state == "Established":
        host = BirdHost().bgp("up1")
    host.link("eth0").address("eth0", "192.0.2.2/24")
    snmp = [{"snmp": {"TcpExt.TCPMinTTLDrop": value}} for value in (before, after)]
    host.counters(before=snmp[0], after=snmp[1])
    return Example(name=name, why=why, tables=host.build(), **more)


def examples() -> Iterator[Example]:
    about = subject("bgp-session", name="up1")
    for state in ("OpenConfirm", "OpenSent", "Connect"):
        yield _case(state, "on the way up", 0, 1, state=state, fires=1, severity="critical", subject=about)
    yield _case("does not move in OpenSent", "the neighbour's OPEN never came", 3, 3, state="OpenSent", fires=1,
                severity="critical", confidence="likely")  # fmt: skip
    hangs: dict[str, Any] = {"fires": 1, "severity": "critical", "confidence": "likely", "sent": 72}
    says = ("has dropped TCP segments",)
    yield _case("does not move", "the neighbour sends again after longer and longer", 3, 3, says=says, **hangs)
    out = {"sport": 40000, "dport": 179}
    yield _case("does not move, called from here", "the same", 3, 3, says=says, socket=out, **hangs)
    slow: dict[str, Any] = {"fires": 1, "severity": "info", "confidence": "possible"}
    for name, why, bytes_, other in (
        ("all is acknowledged", "the neighbour is slow, and strangers were dropped", 0, {}),
        ("no connection is left", "nothing tells", None, {}),
        ("another neighbour's bytes wait", "not its connection", 72, {"dst": "192.0.2.9"}),
        ("bytes of another service wait", "not its connection", 72, {"sport": 22}),
        ("bytes of a connection that ends wait", "it is given up", 72, {"state": 4}),
    ):
        yield _case(f"does not move, {name}", why, 3, 3, sent=bytes_, socket=other, **slow)
    yield _case("does not move, and nothing stood", "dropped some time ago", 3, 3, state="Active", fires=1,
                severity="info")  # fmt: skip
    expired: dict[str, Any] = {"state": "Idle", "error": "BGP Error: Hold timer expired"}
    yield _case("given up when the hold time was over", "nothing is heard", 0, 1, fires=1, **expired)
    yield _case("given up, and the counter stands", "nothing was sent", 3, 3, **expired)
    yield _case("never", "something else", 0, 0)
    yield _case("stranger's packets", "the session stands", 0, 9, state="Established")
    reset = "Socket: Connection reset by peer"
    said = ("stays in OpenSent (Socket: Connection reset by peer), and the kernel drops",)
    yield _case("reset", "the neighbour waited in vain", 0, 1, state="OpenSent", error=reset, fires=1, says=said)
    said = ("stays in OpenSent (Socket: Connection closed), and the kernel drops",)
    closed: dict[str, Any] = {"state": "OpenSent", "error": "Socket: Connection closed"}
    yield _case("closed by the neighbour", "it started anew and waits in vain", 0, 1, fires=1, says=said, **closed)
    yield _case("closed, and the counter stands", "it hangs up for another reason", 3, 3, **closed)
    yield _case("reset, and the counter stands", "it hangs up for another reason", 3, 3, error=reset)
    yield _case("refused", "somebody answers", 0, 9, error="Socket: Connection refused")
