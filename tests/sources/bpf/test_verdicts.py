"""What a program can return, where its last word is for another program."""

from struct import pack

from netdiag.sources.bpf.verdicts import returned

SHOT = pack("=BBhi", 0xB7, 0, 0, 2) + pack("=BBhi", 0x95, 0, 0, 0)


def test_a_program_whose_tail_calls_decide_is_not_one_that_drops_everything() -> None:
    tail_call, helper = pack("=BBhi", 0x85, 0, 0, 12), pack("=BBhi", 0x85, 0, 0, 112_096)
    assert returned(SHOT) == (2,)
    assert returned(helper + SHOT) == (2,)
    assert returned(tail_call + SHOT) is None


def test_a_constant_of_64_bits_is_one_unless_it_is_an_address() -> None:
    def loaded(kind: int, high: int = 0) -> bytes:
        """``r0 = 0xffffffff ll; exit``, as compilers write ``return -1``."""
        return pack("=BBhi", 0x18, kind << 4, 0, -1) + pack("=BBhi", 0, 0, 0, high) + pack("=BBhi", 0x95, 0, 0, 0)

    assert returned(loaded(0)) == (-1,)
    assert returned(loaded(0, 1)) is None
    assert returned(loaded(1)) is None
