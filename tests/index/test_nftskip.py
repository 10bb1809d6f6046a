"""What is left out of a long chain changes no answer: random chains and packets, with the shortcut and without."""

import random
from collections.abc import Callable, Iterator
from itertools import product

import pytest

from netdiag.index import netfilter
from netdiag.index.netfilter import Netfilter
from netdiag.index.nftpacket import Packet
from netdiag.index.nftskip import FEWEST, Shortcut
from netdiag.model.nft import Nft, NftExpression, NftRule
from netdiag.rules.build_nft import chain, daddr, iifname, mark, nat, port, rule, saddr, state, table, verdict


def marks(number: int) -> tuple[NftExpression, ...]:
    """``meta mark set``."""
    value = NftExpression(name="immediate", dreg=1, value=f"0{number}000000")
    return value, NftExpression(name="meta", key="mark", sreg=1)


PARTS: tuple[Callable[[int], tuple[NftExpression, ...]], ...] = (
    lambda n: daddr(f"10.0.0.{n}/32"),
    lambda n: daddr(f"10.0.{n}.0/24"),
    lambda n: daddr(f"10.0.0.{n}/32", "neq"),
    lambda n: saddr(f"10.0.{n}.0/20"),
    lambda n: port(6, n),
    lambda n: port(17, n, source=True),
    lambda n: iifname(f"tap{n}"),
    mark,
    lambda _: state("established"),
    marks,
)
VERDICTS = (verdict("accept"), verdict("drop"), verdict("return"), (), nat("dnat", "10.0.0.9"))


def rules(chance: random.Random, *more: tuple[NftExpression, ...]) -> Iterator[NftRule]:
    favourite = chance.choice(PARTS)
    for _ in range(chance.randint(FEWEST, 30)):
        parts = [favourite, *chance.choices(PARTS, k=chance.randint(0, 2))]
        chance.shuffle(parts)
        yield rule(*(part(chance.randint(0, 5)) for part in parts), chance.choice((*VERDICTS, *more)))


def packets(chance: random.Random) -> Iterator[Packet]:
    for iif, known in product(("tap1", "tap9", None), (True, False)):
        yield Packet(
            iif=iif,
            saddr=f"10.0.{chance.randint(0, 5)}.7" if known else None,
            daddr=chance.choice(("10.0.0.3", "10.0.2.3", "10.0.0.0/30", None)),
            proto=chance.choice((6, 17, None)),
            dport=chance.choice((1, 2, 80, None)),
            sport=chance.choice((1, 3, None)),
            mark=chance.choice((0, 2, None)),
            ct_state=chance.choice(("new", "established", None)),
        )


@pytest.mark.parametrize("seed", range(20))
def test_the_answers_are_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    base = chain(
        "base", *rules(chance, verdict("jump", "other")), hook="prerouting", policy=chance.choice(("accept", "drop"))
    )
    nft = Nft(tables=(table(base, chain("other", *rules(chance))),))
    for packet in packets(chance):
        quick = Netfilter(nft).hook("prerouting", packet)
        with monkeypatch.context() as patched:
            patched.setattr(netfilter, "FEWEST", 1_000)
            assert quick == Netfilter(nft).hook("prerouting", packet)


def test_most_rules_are_left_out() -> None:
    lots = [rule(daddr(f"10.0.0.{n}/32"), verdict("drop")) for n in range(100)]
    one = Shortcut(chain("base", rule(iifname("lo"), verdict("accept")), *lots, hook="input"))
    assert list(one.positions(Packet(daddr="10.0.0.7"))) == [0, 8]
    assert list(one.positions(Packet(daddr="10.0.1.7"))) == [0]
    assert len(one.positions(Packet(daddr="10.0.0.0/24"))) == 101
