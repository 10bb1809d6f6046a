"""Reports for the tests of this folder: a broken router, a healthy one, one with every text hostile."""

from typing import Any

import msgspec

from netdiag.model.coverage import Coverage, NotEvaluated
from netdiag.model.finding import Evidence, Finding, Host, Report, finding_id, subject

HOST = Host(name="edge1", kernel="6.8.0", boot_id="0b1f", netns="4026531840")
TAKEN_AT = "2026-11-23T17:32:00Z"
COVERAGE = (
    Coverage(collector="links", status="ok", rows=12, duration_ms=3.1),
    Coverage(collector="addresses", status="ok", rows=30, duration_ms=1.0),
    Coverage(collector="routes", status="ok", rows=2104, duration_ms=9.0),
    Coverage(collector="rules", status="ok", rows=6, duration_ms=0.4),
    Coverage(collector="wireguard", status="denied", detail="needs CAP_NET_ADMIN"),
    Coverage(collector="bird", status="absent", detail="no control socket"),
)
NOT_EVALUATED = (
    NotEvaluated(rule="bgp-not-established", reason="bird: absent (no control socket)"),
    NotEvaluated(rule="bgp-bad-as", reason="bird: absent (no control socket)"),
    NotEvaluated(rule="wg-handshake-stale", reason="wireguard: denied (needs CAP_NET_ADMIN)"),
)
HOSTILE = (
    "\x1b]52;c;cm0gLXJm\x07\x1b[2J\x9b31m\u202e\u200b\u2028\n"
    "| <script>`rm -rf /`</script> [x](javascript:y) @all\r\t\x7f\ufeff\U000e0041"
)


def finding(rule: str, severity: str, ifname: str, message: str, **given: Any) -> Finding:
    """A finding on a link."""
    about = subject("link", ifname=ifname)
    plain: dict[str, Any] = {
        "id": finding_id(rule, about, None),
        "rule": rule,
        "severity": severity,
        "confidence": "certain",
        "subject": about,
        "message": message,
        "evidence": (Evidence(fact=f"{ifname} mtu", value="1500", source=f"RTM_GETLINK {ifname} IFLA_MTU"),),
        "confirm": (f"ip link show dev {ifname}",),
        "fix": f"ip link set dev {ifname} mtu 1440",
    }
    return Finding(**(plain | given))


def report(*findings: Finding, **given: Any) -> Report:
    """A report of edge1; the verdict follows from the findings."""
    live = {found.severity for found in findings if found.suppressed is None}
    verdict = "critical" if "critical" in live else "warning" if "warning" in live else "ok"
    plain: dict[str, Any] = {
        "netdiag": "0.1.0",
        "host": HOST,
        "taken_at": TAKEN_AT,
        "verdict": verdict,
        "findings": findings,
        "coverage": COVERAGE,
        "not_evaluated": NOT_EVALUATED,
    }
    return Report(**(plain | given))


def under(root: Finding, *children: Finding) -> tuple[Finding, ...]:
    """The root with its children tied to it, in the order of a report."""
    root = msgspec.structs.replace(root, explains=tuple(child.id for child in children))
    return (root, *(msgspec.structs.replace(child, explained_by=root.id) for child in children))


def broken() -> Report:
    """Two causes, one of which explains two other findings, and something worth knowing."""
    cause = finding(
        "wg-mtu-exceeds-underlay",
        "critical",
        "wg0",
        "wg0 sends 1560-byte packets into a 1500-byte path to 192.0.2.2",
        subject=subject("wireguard-peer", ifname="wg0", public_key="gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA="),
        confirm=("ip link show dev wg0", "ip route get 192.0.2.2"),
    )
    first = finding("pmtud-blackhole", "warning", "wg0", "10.0.0.7 acknowledges nothing longer than 1440 bytes")
    second = finding("bgp-flap", "critical", "wg0", "the session to 10.0.0.2 has fallen 14 times since 03:10")
    other = finding("mtu-too-low-disables-ipv6", "warning", "eth3", "eth3 has mtu 1200, less than 1280: no IPv6 on it")
    note = finding("txqlen-small", "info", "eth0", "eth0 has a queue of 10 packets", confidence="likely")
    found, *children = under(cause, first, second)
    return report(found, other, note, *children)


def clean() -> Report:
    """Nothing found, everything read."""
    ok = tuple(row for row in COVERAGE if row.status == "ok")
    return report(coverage=ok, not_evaluated=())


def hostile() -> Report:
    """Every string that a kernel, a peer or a file could have chosen is an attack."""
    found = finding(
        HOSTILE,
        "critical",
        HOSTILE,
        HOSTILE,
        id=HOSTILE,
        fix=HOSTILE,
        confirm=(HOSTILE,),
        netns=HOSTILE,
        evidence=(Evidence(fact=HOSTILE, value=HOSTILE, source=HOSTILE),),
    )
    silenced = finding("x", "warning", "eth0", "y", suppressed=HOSTILE)
    return report(
        found,
        silenced,
        host=Host(name=HOSTILE, kernel=HOSTILE, boot_id=HOSTILE, netns=HOSTILE),
        taken_at=HOSTILE,
        coverage=(Coverage(collector=HOSTILE, status="failed", detail=HOSTILE),),
        not_evaluated=(NotEvaluated(rule=HOSTILE, reason=HOSTILE, netns=HOSTILE),),
    )
