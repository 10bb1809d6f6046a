"""What probes plan, choose next and conclude, without a packet."""

import errno

import pytest

from netdiag.model.probe import Destination
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.probes import mtu, reach, trace, wireguard
from netdiag.probes.plan import MTU_SIZES, PlanRefused, plan
from netdiag.probes.sockets import Answer

TO = Destination(name="b", address="192.0.2.2", family="inet")
LOST = Answer(took=1.0)


def searched(path: int, *, interface: int = 1500, told: int | None = None, family: str = "inet") -> mtu.Search:
    """A search over a path that carries ``path`` bytes; ``told``: what a router says, None: nothing."""
    search = mtu.Search(family, mtu.LARGEST)
    while (size := search.next()) is not None:
        if size > interface:
            answer = Answer(took=0.0, error=errno.EMSGSIZE, mtu=interface, local=True)
        elif size <= path:
            answer = Answer(took=0.01, by="192.0.2.2", reply=True)
        elif told is not None:
            answer = Answer(took=0.01, by="192.0.2.9", error=errno.EMSGSIZE, mtu=told)
        else:
            answer = LOST
        search.learn(size, answer)
    return search


@pytest.mark.parametrize("path", [68, 576, 1279, 1280, 1419, 1420, 1499, 1500, 8999, 9000, 65535])
@pytest.mark.parametrize("interface", [1500, 9000, 65535])
def test_every_mtu_is_found_whatever_routers_say(path: int, interface: int) -> None:
    expected = min(path, interface)
    for told in (None, path, 0, 68, 70_000, 1280):  # nothing, the truth, and lies
        search = searched(path, interface=interface, told=told)
        assert search.low is not None and search.low <= expected and search.tried <= MTU_SIZES
        assert search.low == expected or search.tried == MTU_SIZES, told
    assert searched(path, interface=interface, told=path).tried <= 5


def test_what_the_mtu_means() -> None:
    def says(search: mtu.Search, cached: int | None = 1500) -> tuple[str, int | None]:
        result = mtu.judged(TO, search, cached, 3)
        assert result.says
        return result.verdict, result.mtu

    assert says(searched(1500)) == ("ok", 1500)
    assert says(searched(1400, told=1400), 1400) == ("ok", 1400)
    assert says(searched(1400)) == ("degraded", 1400)  # the black hole
    assert says(searched(1400, told=1400), 1500) == ("degraded", 1400)  # told, and the kernel does not heed it
    assert says(searched(1500), 1400) == ("ok", 1500)  # learnt long ago, and not true any more
    assert says(searched(10)) == ("failed", None)
    assert searched(1400).vanished == 1401 and searched(1400, told=1400).vanished is None


def test_plans_are_bounded() -> None:
    told = plan("reach", [TO, TO], count=5, rate=5, timeout=1)
    assert (told.packets, told.seconds) == (10, 12.0)
    assert plan("mtu", [TO]).packets == 60 and plan("trace", [TO], hops=3, count=2).packets == 6
    for arguments in ({"rate": 1000}, {"rate": 0}, {"proto": "tcp"}):
        with pytest.raises(PlanRefused):
            plan("reach", [TO], **arguments)  # type: ignore[arg-type]
    for many in ([], [TO] * 65):
        with pytest.raises(PlanRefused):
            plan("reach", many)


REPLY = Answer(took=0.01, by="192.0.2.2", reply=True, ttl=63)
REFUSED = Answer(took=0.01, by="192.0.2.2", error=errno.ECONNREFUSED)
UNREACHABLE = Answer(took=0.01, by="192.0.2.9", error=errno.EHOSTUNREACH)


@pytest.mark.parametrize(
    ("proto", "answers", "verdict", "words"),
    [
        ("icmp", [REPLY, REPLY], "ok", "192.0.2.2 answers"),
        ("icmp", [REPLY, LOST], "degraded", "1 of 2: 50% lost"),
        ("icmp", [LOST, LOST], "failed", "does not answer"),
        ("icmp", [UNREACHABLE], "failed", "no route to host, says 192.0.2.9"),
        ("tcp", [REFUSED], "degraded", "nobody listens on tcp port 9"),
        ("udp", [REFUSED], "degraded", "nobody listens on udp port 9"),
        ("udp", [LOST], "unknown", "says nothing"),
        ("icmp", [], "unknown", "nothing was sent"),
    ],
)
def test_who_answers(proto: str, answers: list[Answer], verdict: str, words: str) -> None:
    result = reach.judged(TO, proto, None if proto == "icmp" else 9, answers)
    assert result.verdict == verdict and words in result.says
    assert (result.rtt_ms is None) == (result.answered == 0)


def hops(*rows: list[Answer]) -> trace.TraceResult:
    found: list[trace.Hop] = []
    for number, answers in enumerate(rows, 1):
        found.append(trace.hop(number, answers, found, TO))
    return trace.judged(TO, "udp", found, rows[-1] if rows else [])


def exceeded(by: str, ttl: int = 64) -> Answer:
    return Answer(took=0.001, by=by, error=errno.EHOSTUNREACH, exceeded=True, ttl=ttl)


def test_the_way() -> None:
    result = hops([exceeded("10.0.0.1", 64), LOST], [LOST], [exceeded("10.0.0.3", 253)], [REPLY])
    assert (result.verdict, result.says) == ("ok", "192.0.2.2 is 4 hops away")
    assert [(hop.by, hop.back) for hop in result.hops] == [
        (("10.0.0.1",), 1),
        ((), None),
        (("10.0.0.3",), 3),
        (("192.0.2.2",), 2),
    ]
    assert not any(hop.notes for hop in result.hops)
    assert hops([exceeded("10.0.0.1")], [exceeded("10.0.0.2", 50)]).hops[1].notes == (
        "the answer came over about 15 hops: another way back",
    )
    loop = hops(*[[exceeded(f"10.0.0.{number % 2}")] for number in range(8)])
    assert loop.verdict == "failed" and "go round in circles" in loop.says
    translated = hops([exceeded("10.0.0.1")], [Answer(took=0.01, by="10.9.9.9", error=errno.ECONNREFUSED)])
    assert translated.verdict == "ok" and translated.hops[1].notes == ("answers for 192.0.2.2: an address translated",)
    refused = hops([exceeded("10.0.0.1")], [UNREACHABLE])
    assert refused.says == "it ends at TTL 2: 192.0.2.9 says host unreachable"
    small = hops([Answer(took=0.01, by="10.0.0.1", error=errno.EMSGSIZE, mtu=1400)])
    assert small.hops[0].mtu == 1400 and small.says.endswith("too big, 1400 bytes fit")
    assert hops([LOST]).says == "nobody on the way to 192.0.2.2 answers"
    assert hops([exceeded("10.0.0.1")], [LOST]).says.startswith("the last that answers is 10.0.0.1, at TTL 1")


KEYS = [f"{letter * 43}=" for letter in "ABC"]


def test_which_tunnel_is_meant_and_what_its_counters_say() -> None:
    a = WireguardPeer(public_key=KEYS[0], allowed_ips=("10.0.0.0/8",), endpoint="192.0.2.1", tx_bytes=5, rx_bytes=5)
    b = WireguardPeer(public_key=KEYS[1], allowed_ips=("fd00::/64", "10.1.0.0/24", "10.9.9.9/32"))
    c = WireguardPeer(public_key=KEYS[2], allowed_ips=("0.0.0.0/0",))
    devices = [WireguardDevice(ifname="wg0", peers=(a, b)), WireguardDevice(ifname="wg1", peers=(c,))]

    def meant(asked: str) -> list[tuple[str, str]]:
        return [(row.peer.public_key[0], row.to.address) for row in wireguard.tunnels(devices, asked)]

    assert meant("10.1.0.7") == [("B", "10.1.0.7")] and meant("8.8.8.8") == [("C", "8.8.8.8")]
    assert meant(KEYS[0]) == [("A", "10.0.0.1")] and meant("wg0") == [("A", "10.0.0.1"), ("B", "10.9.9.9")]
    assert meant("wg1") == [] and meant("nobody") == [] and meant("2001:db8::1") == []

    (tunnel,) = wireguard.tunnels(devices, KEYS[0])
    silent, heard, shook = (
        WireguardPeer(public_key=KEYS[0], endpoint="192.0.2.1", tx_bytes=9, rx_bytes=rx, latest_handshake=at)
        for rx, at in ((5, None), (7, None), (5, 1000.0))
    )
    verdicts = [wireguard.judged(tunnel, a, after, 1001.5).verdict for after in (silent, heard, shook, a, None)]
    assert verdicts == ["failed", "ok", "ok", "failed", "unknown"]
    assert wireguard.judged(tunnel, a, shook, 1001.5).handshake_age == 1.5
