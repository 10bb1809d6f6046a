"""What a rule file holds: its docstring is the page, ``RULE`` its card, ``check()`` its judgement, ``examples()``
its proof.

::

    \"\"\"What it checks
    ...the six headings, printed as they stand by ``netdiag explain``...
    \"\"\"
    RULE = Rule(id="ip-forward-off", title="...", severity="critical", reads=("links", "sysctls"))

    def check(view: HostView) -> Iterator[Draft]: ...  # or Iterator[Draft | Unjudged]
    def examples() -> Iterator[Example]: ...

What the same fault looks like between hosts may stand in the same file: ``ACROSS``, ``check_across(view: FleetView)``
and ``examples_across()``.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netdiag.model.finding import Confidence, Draft, Evidence, Finding, Severity, Subject, Unjudged, family_of
from netdiag.model.intent import Suppressions
from netdiag.model.snapshot import Tables

if TYPE_CHECKING:
    from types import ModuleType

HEADINGS = ("What it checks", "Why it matters", "Confirm", "Fix", "Not flagged", "References")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The card of a rule."""

    id: str
    """Id of the catalogue, for ever; the file is ``<id with _ for ->.py``."""
    title: str
    """The fault in a few words, as a person would name it."""
    severity: Severity
    """The worst that this rule reports."""
    confidence: Confidence = "certain"
    reads: tuple[str, ...]
    """Tables that it judges, see netdiag.index.view.COLLECTOR_OF. A gap in one makes it "not evaluated"."""
    consults: tuple[str, ...] = ()
    """Tables that it only weighs: it runs without them, and asks ``HostView.read_whole`` before it draws a conclusion
    from what is not in them. Where it asked one that was not read, and raises no alarm, the engine adds why that says
    nothing."""
    explains: tuple[str, ...] = ()
    """Rule ids (globs allowed: ``bgp-*``) whose findings this fault can be the cause of, on objects that it breaks."""
    family: str | None = None
    """``inet`` or ``inet6``: it finds what packets of that family alone suffer from; ``each``: each finding is about
    the family of the addresses that it names. Then it explains nothing of the other one. None: about both."""
    own_cause: bool = False
    """What it finds is not the consequence of a link, a route or a filter: only a rule that names it in full in its
    ``explains`` can be its cause."""
    machine_wide: bool = False
    """It judges what all network namespaces of the machine share: with ``--all-netns`` it runs once, not in each."""
    scope: str = "host"
    """``host``, or ``fleet``: then check() gets a netdiag.index.fleet.FleetView, and examples() gives FleetExample."""

    def found(
        self,
        *,
        subject: Subject,
        message: str,
        evidence: Iterable[tuple[str, object, str]],
        confirm: Iterable[str],
        fix: str,
        severity: Severity | None = None,
        confidence: Confidence | None = None,
        touches: Iterable[Subject] = (),
        breaks: Iterable[Subject] = (),
        of_absence: bool = False,
    ) -> Draft:
        """A finding of this rule. ``evidence`` is (fact, value, source); the rest is told in
        model.finding.Draft."""
        confidence = confidence or self.confidence
        finding = Finding(
            rule=self.id,
            severity="info" if confidence == "possible" else severity or self.severity,
            confidence=confidence,
            subject=subject,
            message=message,
            evidence=tuple(Evidence(fact=f, value=str(v), source=s) for f, v, s in evidence),
            confirm=tuple(confirm),
            fix=fix,
        )
        touches, breaks, family = tuple(touches), tuple(breaks), self.family
        if family == "each":
            family = family_of((subject,)) or family_of((*touches, *breaks))
        return Draft(
            finding=finding,
            touches=touches,
            breaks=breaks,
            family=family,
            of_absence=of_absence,
            own_cause=self.own_cause,
        )


@dataclass(frozen=True, kw_only=True)
class Example:
    """A small host on which the rule must speak, or must not; it says why it exists."""

    name: str
    why: str
    tables: Tables
    fires: int = 0
    """How many findings; 0 is silence."""
    subject: Subject | None = None
    """Keys that the first finding's subject must have."""
    severity: Severity | None = None
    confidence: Confidence | None = None
    late: tuple[str, ...] = ()
    """Collectors that did not answer within thirty seconds."""
    absent: tuple[str, ...] = ()
    """Collectors whose thing is not on this host."""
    unjudged: bool = False
    """Whether the rule must say that it could not judge something (``Unjudged``)."""
    baseline: Tables | None = None
    """The same host at an earlier time."""
    late_then: tuple[str, ...] = ()
    """Collectors that had not answered at that time."""
    rebooted: bool = False
    """Whether the baseline is from before the last boot."""
    labels: dict[str, str] = field(default_factory=dict)
    """Labels of the host."""
    uptime: float | None = 100_000.0
    """Seconds since the boot; None: not known."""
    suppressions: Suppressions | None = None
    """What has been accepted."""
    says: tuple[str, ...] = ()
    """Words that the first finding's message, fix or evidence must hold."""


@dataclass(frozen=True, kw_only=True)
class FleetExample:
    """A few hosts between which the rule must speak, or must not."""

    name: str
    why: str
    hosts: dict[str, Tables]
    earlier: dict[str, Tables] = field(default_factory=dict)
    """Tables of the snapshot before, of the hosts that have one."""
    older: dict[str, tuple[Tables, ...]] = field(default_factory=dict)
    """Tables of all snapshots before, oldest first, where more than one matters."""
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    """Labels of the hosts that have some."""
    symptoms: dict[str, frozenset[str]] = field(default_factory=dict)
    """Rule id to the hosts on which it raises an alarm."""
    fires: int = 0
    subject: Subject | None = None
    severity: Severity | None = None
    unjudged: bool = False
    """Whether the rule must say that it could not judge something (``Unjudged``)."""


@dataclass(frozen=True)
class RuleModule:
    """A rule as discovered: the card, the page and the two functions."""

    rule: Rule
    page: str
    domain: str
    check: Callable[[Any], Iterator[Draft | Unjudged]]
    """Of a HostView, or of a FleetView where the rule's scope is the fleet."""
    examples: Callable[[], Iterator[Any]]

    @property
    def id(self) -> str:
        return self.rule.id

    @classmethod
    def across(cls, module: "ModuleType") -> "RuleModule | None":
        """What a rule of one host knows besides of several: ``ACROSS``, ``check_across``, ``examples_across``; None
        where it has none of them. Raises AttributeError where a part is missing."""
        if not hasattr(module, "ACROSS"):
            return None
        own = cls.of(module)
        return cls(module.ACROSS, own.page, own.domain, module.check_across, module.examples_across)

    @classmethod
    def of(cls, module: "ModuleType") -> "RuleModule":
        """Read a rule file that was imported. Raises AttributeError where a part is missing."""
        domain = module.__name__.rsplit(".", 2)[-2].replace("_", "-")
        page = (module.__doc__ or "").strip() + "\n"
        return cls(module.RULE, page, domain, module.check, module.examples)


def quoted(word: str | int) -> str:
    """A word of a command line, quoted for a POSIX shell where it must be; control characters as ``$'...'``."""
    text = str(word)
    if text.isprintable():
        return shlex.quote(text)
    escaped = "".join(
        c if c.isprintable() and c not in "\\'" else "".join(f"\\x{b:02x}" for b in c.encode()) for c in text
    )
    return f"$'{escaped}'"
