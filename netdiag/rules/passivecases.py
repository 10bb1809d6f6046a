"""Examples of BGP sessions that wait to be called. Pure; nothing can fail."""

from collections.abc import Callable, Iterator
from typing import Any

from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import Example

HOLD = "BGP Error: Hold timer expired"


def passive_examples(on: Callable[[BirdHost], HostBuilder]) -> Iterator[Example]:
    """Of bgp-not-established; ``on`` gives a host its uplink."""

    def case(name: str, why: str, host: BirdHost, **expected: Any) -> Example:
        return Example(name=name, why=why, tables=on(host).build(), **expected)

    yield case("passive", "the other side calls, and need not", BirdHost().bgp_down("up1", bgp_state="Passive"))
    told = BirdHost().bgp_down("up1", bgp_state="Passive").bgp_down("up2", bgp_state=None, info="Passive")
    yield case("passive, by the info column only", "the state stands in two places", told)
    lost = BirdHost().bgp_down("up1", HOLD, bgp_state="Passive")
    yield case("passive, and lost with an error", "somebody was there, and this is their session alone", lost, fires=1,
               severity="warning", confidence="likely")  # fmt: skip
    for word, fires in (("Administrative shutdown", 0), ("Peer de-configured", 0), ("Administrative reset", 0),
                        ("Other configuration change", 0), ("Connection rejected", 1)):  # fmt: skip
        left = BirdHost().bgp_down("up1", f"Received: {word}", bgp_state="Passive")
        yield case(f"passive, it hung up: {word}", "it calls when it wants to", left, fires=fires)
    ranges: dict[str, Any] = {"neighbor_address": None, "other": {"Neighbor range": "192.0.2.128/25"}}
    idle = BirdHost().bgp_down("dyn", bgp_state="Idle", **ranges)
    yield case("range of neighbours", "a template for sessions that come and go", idle)
    one: dict[str, Any] = ranges | {"neighbor_address": "192.0.2.130", "bgp_state": "Passive"}
    came = BirdHost().bgp_down("dyn1", HOLD, **one)
    yield case("one of a range, lost with an error", "it may have gone", came, fires=1, severity="info")

    stood = on(BirdHost().bgp("up1")).build()
    waits = BirdHost().bgp_down("up1", bgp_state="Passive")
    says = ("Passive, the neighbour does not call any more",)
    yield case("passive, and it stood", "nobody calls any more", waits, baseline=stood, fires=1, severity="critical",
               confidence="likely", says=says)  # fmt: skip
    both = BirdHost().bgp_down("up1", HOLD, bgp_state="Passive")
    yield case("passive, lost, and it stood", "as any", both, baseline=stood, fires=1, severity="critical")
    shut = BirdHost().bgp_down("up1", "Received: Administrative shutdown", bgp_state="Passive")
    yield case("passive, it hung up, and it stood", "somebody shut it down since", shut, baseline=stood, fires=1)
    mate = BirdHost().bgp_down("up1", bgp_state="Passive").bgp("up2", neighbor_address="192.0.2.9")
    yield case("passive, it stood, and another stands", "as any", mate, baseline=stood, fires=1, severity="warning")
    for name, then in (
        ("did not stand", BirdHost().bgp_down("up1", bgp_state="Passive")),
        ("stood with another neighbour", BirdHost().bgp("up1", neighbor_address="192.0.2.77")),
        ("was another one", BirdHost().bgp("up7")),
    ):
        old = on(then).build()
        yield case(f"passive, and at the time of the baseline it {name}", "nobody need call", waits, baseline=old)
    yield case("passive, it stood, and the host is drained", "out of service", waits, baseline=stood,
               labels={"drained": "true"})  # fmt: skip
    yield case("passive, and the baseline's BIRD was late", "nothing is known", waits, baseline=stood,
               late_then=("bird",))  # fmt: skip
    gone = BirdHost().bgp_down("dyn1", **one)
    before = on(BirdHost().bgp("dyn1", **{k: v for k, v in one.items() if k != "bgp_state"})).build()
    yield case("one of a range that stood", "it may have gone", gone, baseline=before)
