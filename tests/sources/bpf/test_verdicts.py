"""What a program can return, where its last word is for another program."""

from struct import pack

from netdiag.sources.bpf.verdicts import returned

SHOT = pack("=BBhi", 0xB7, 0, 0, 2) + pack("=BBhi", 0x95, 0, 0, 0)


def test_a_program_whose_tail_calls_decide_is_not_one_that_drops_everything() -> None:
    tail_call, helper = pack("=BBhi", 0x85, 0, 0, 12), pack("=BBhi", 0x85, 0, 0, 112_096)
    assert returned(SHOT) == (2,)
    assert returned(helper + SHOT) == (2,)
    assert returned(tail_call + SHOT) is None
