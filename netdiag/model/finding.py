"""A finding: one fault, named, with its evidence, and what the whole report of a host looks like.

The shapes are the public ``netdiag.report/1``: fields are added, never renamed or removed.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal, cast

import msgspec

from netdiag.model.coverage import Coverage, NotEvaluated

Severity = Literal["critical", "warning", "info"]
Confidence = Literal["certain", "likely", "possible"]
Verdict = Literal["ok", "warning", "critical", "unknown"]
SEVERITY_RANK = {"critical": 0, "warning": 1, "info": 2}
CONFIDENCE_RANK = {"certain": 0, "likely": 1, "possible": 2}

KINDS = (
    "host",
    "link",
    "address",
    "route",
    "rule",
    "nexthop",
    "neighbour",
    "wireguard-interface",
    "wireguard-peer",
    "bgp-session",
    "bird-protocol",
    "prefix",
    "bpf-program",
    "bpf-map",
    "bpf-attachment",
    "qdisc",
    "nft-chain",
    "conntrack",
    "socket",
    "tap",
    "netns",
    "sysctl",
    "collector",
    "host-pair",
    "region",
)

Subject = dict[str, str | int]
"""``{"kind": "link", "ifname": "eth0"}``: kernel spelling, and nothing that changes from night to night (no
ifindex)."""


def subject(kind: str, **keys: str | int | None) -> Subject:
    """A subject; keys that are None are left out. Raises ValueError for a kind that the contract does not know."""
    if kind not in KINDS:
        raise ValueError(f"no such subject kind: {kind}")
    return {"kind": kind, **{key: value for key, value in keys.items() if value is not None}}


def subject_text(of: Subject) -> str:
    """One line: ``link eth0``, ``neighbour 192.0.2.1 dev eth0``. Suppressions match on it."""
    words = [str(of["kind"])]
    for key, value in of.items():
        if key in ("kind", "hosts"):
            continue
        words.append(f"{'dev' if key == 'ifname' and len(words) > 1 else ''} {value}".strip())
    hosts = of.get("hosts")
    if hosts is not None:  # a list, in the report of a fleet
        words.append(f"on {', '.join(cast(Iterable[str], hosts))}")
    return " ".join(words)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One fact that was read, and where it was read."""

    fact: str
    value: str
    source: str
    """``RTM_GETLINK wg0 IFLA_MTU``, ``/proc/sys/net/ipv4/ip_forward``."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One fault on one subject. ``id``, ``explains``, ``explained_by`` and ``netns`` are filled in by the engine."""

    id: str = ""
    rule: str
    severity: Severity
    confidence: Confidence
    subject: Subject
    message: str
    """The fact in one sentence, with the object's name."""
    evidence: tuple[Evidence, ...]
    confirm: tuple[str, ...]
    """Stock commands, ready to paste (names are shell-quoted)."""
    fix: str
    explains: tuple[str, ...] = ()
    explained_by: str | None = None
    suppressed: str | None = None
    netns: str | None = None


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule hands to the engine: a finding, and the objects that tie it to others.

    ``touches`` are the objects that the fault sits on or needs; ``breaks`` are those that stop working because of it.
    A finding A explains B where A's rule says that it can, and something that A breaks is something that B touches.
    The subject itself is always in both.
    """

    finding: Finding
    touches: tuple[Subject, ...] = ()
    breaks: tuple[Subject, ...] = ()
    family: str | None = None
    """``inet`` or ``inet6``: packets of that family alone suffer. None: of both, or it cannot be told."""
    of_absence: bool = False
    """A guest is said not to be there: while guests come and go, it may be on its way."""
    own_cause: bool = False
    """What was found has a cause of its own: nothing explains it but a rule that names it in full."""


ADDRESSED = ("dst", "address", "prefix")
"""Keys of subjects that hold an address or a prefix."""


def family_of(things: Sequence[Subject]) -> str | None:
    """The family of the addresses and prefixes in some objects, and of those that name theirs; None where there is
    none, or where there are both."""
    found = {str(thing["family"]) for thing in things if thing.get("family") in ("inet", "inet6")}
    texts = [str(thing[key]) for thing in things for key in ADDRESSED if key in thing]
    found |= {"inet6" if ":" in text else "inet" for text in texts if ":" in text or text.count(".") == 3}
    return found.pop() if len(found) == 1 else None


class Unjudged(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule says where its tables were read and still do not answer: it stands in ``not_evaluated``, beside
    whatever else the rule found."""

    reason: str
    """One line that names what could not be judged, and why."""


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """Whose report this is."""

    name: str
    kernel: str
    boot_id: str | None
    netns: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """``netdiag.report/1``."""

    schema: str = "netdiag.report/1"
    netdiag: str
    host: Host
    taken_at: str
    """UTC, ``2026-11-23T17:32:00Z``."""
    verdict: Verdict
    findings: tuple[Finding, ...]
    coverage: tuple[Coverage, ...]
    not_evaluated: tuple[NotEvaluated, ...]


def finding_id(rule: str, about: Subject, netns: str | None) -> str:
    """Sixteen hex digits that are the same for the same rule on the same subject, on every run."""
    parts = [rule, netns or "", *(f"{key}={about[key]}" for key in sorted(about))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
