"""The path MTU, by size: what is the largest packet that comes back, and do routers say why a larger one does not?

``Search`` is pure: it chooses the next size and learns from what came of it. A size counts as lost after MTU_TRIES
packets. An answer is as large as the question, so what is found is the smaller of both directions.
"""

from dataclasses import dataclass, field

from netdiag.model.probe import Destination, MtuResult, TooBig, Verdict
from netdiag.probes.plan import MTU_SIZES, MTU_TRIES
from netdiag.probes.sockets import Answer, Probe

SMALLEST = {"inet": 68, "inet6": 1280}
"""RFC 791 and RFC 8200: what every link carries."""
LARGEST = 65535


@dataclass
class Search:
    """A search over sizes."""

    family: str
    ceiling: int = LARGEST
    low: int | None = None
    """Largest that came back."""
    high: int = 0
    """Largest that is still possible."""
    interface: int | None = None
    told: list[TooBig] = field(default_factory=list)
    vanished: int | None = None
    silent: bool = False
    """Not even the smallest came back."""
    tried: int = 0
    hint: int | None = None
    """What a router said, to be tried next."""

    def __post_init__(self) -> None:
        self.high = self.ceiling

    def next(self) -> int | None:
        """The size to try; None: done."""
        if self.silent or self.tried >= MTU_SIZES:
            return None
        if self.low is None:
            return SMALLEST[self.family]
        if self.low >= self.high:
            return None
        if self.hint is not None and self.low < self.hint <= self.high:
            return self.hint
        if self.vanished is None and not self.told:
            return self.high
        if any(told.mtu == self.low for told in self.told):
            return self.low + 1  # was it true, or does more fit?
        return (self.low + self.high + 1) // 2

    def learn(self, size: int, answer: Answer) -> None:
        """What came of a size."""
        self.tried += 1
        if size == self.hint:
            self.hint = None
        if answer.reply:
            self.low = max(self.low or 0, size)
            return
        if self.low is None:
            self.silent = True
            return
        below = size - 1
        if answer.mtu is not None and answer.local:
            self.interface = answer.mtu
            below = min(below, answer.mtu)
        elif answer.mtu is not None:
            said = TooBig(by=answer.by or "", mtu=answer.mtu)
            self.told += [said] if said not in self.told else []
            self.hint = answer.mtu
        else:
            self.vanished = min(size, self.vanished or size)
        self.high = max(self.low, min(self.high, below))


def judged(to: Destination, search: Search, cached: int | None, sent: int, error: str = "") -> MtuResult:
    """What the search says."""
    verdict, says = _verdict(to, search, cached, error)
    return MtuResult(
        destination=to,
        verdict=verdict,
        says=says,
        mtu=search.low,
        interface_mtu=search.interface,
        cached=cached,
        told=tuple(search.told),
        vanished=search.vanished,
        sent=sent,
    )


def _verdict(to: Destination, search: Search, cached: int | None, error: str) -> tuple[Verdict, str]:
    if error:
        return "unknown", error
    mtu = search.low
    if mtu is None:
        return "failed", f"{to.address} does not answer even the smallest packet"
    if search.vanished is not None and not any(told.mtu <= mtu for told in search.told):
        return "degraded", (
            f"packets over {mtu} bytes to {to.address} vanish and no router says so: path MTU discovery cannot work"
        )
    if cached is not None and cached > mtu:
        return "degraded", f"the path carries {mtu} bytes; the kernel still takes {cached} for {to.address}"
    if search.interface is not None and mtu < search.interface:
        by = next((told.by for told in search.told if told.mtu == mtu), "")
        said = f", as {by} says" if by else ""
        return "ok", f"the path carries {mtu} bytes, less than the interface's {search.interface}{said}"
    if cached is not None and cached < mtu:
        return "ok", f"the path carries {mtu} bytes; the kernel has learnt only {cached} for {to.address}"
    return "ok", f"the path carries {mtu} bytes, all that the interface does"


def run(
    to: Destination, *, timeout: float, pause: float, ceiling: int = LARGEST, source: str | None = None
) -> MtuResult:
    """Send until the MTU is known. Raises NotPermitted, Unsent."""
    from time import sleep

    search = Search(to.family, ceiling)
    sent = 0
    with Probe(to, source=source) as probe:
        before = probe.cached_mtu
        while (size := search.next()) is not None:
            answer = Answer(took=0.0)
            for _ in range(MTU_TRIES):
                answer = probe.ask(timeout, size=size)
                sent += 0 if answer.local else 1
                if not answer.local:
                    sleep(pause)
                if answer.reply or answer.mtu is not None:
                    break
            search.learn(size, answer)
        # Routers' answers to these packets are heeded by the kernel as well: what it knew before is what counts.
        return judged(to, search, before if not search.told else probe.cached_mtu, sent)
