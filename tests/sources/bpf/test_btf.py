"""Names out of BTF, and BTF that is no BTF."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdiag.sources.bpf.btf import MAGIC, members, type_name_of

STRINGS = b"\0first\0second_function\0"


def types() -> bytes:
    """An int, a struct of two members, a function prototype with a parameter, and a function that has this type."""
    integer = pack("=IIII", 1, 1 << 24, 4, 32)
    struct = pack("=III", 0, 4 << 24 | 2, 8) + pack("=III", 1, 1, 0) * 2
    prototype = pack("=III", 0, 13 << 24 | 1, 1) + pack("=II", 0, 1)
    function = pack("=III", 7, 12 << 24, 3)
    return integer + struct + prototype + function


def btf(body: bytes) -> bytes:
    header = pack("=HBBIIIII", MAGIC, 1, 0, 24, 0, len(body), len(body), len(STRINGS))
    return header + body + STRINGS


def test_a_function_has_its_name() -> None:
    assert type_name_of(btf(types()), 4) == "second_function"


def test_an_int_has_its_name() -> None:
    assert type_name_of(btf(types()), 1) == "first"


@pytest.mark.parametrize("number", [2, 3])
def test_a_type_without_a_name_has_none(number: int) -> None:
    assert type_name_of(btf(types()), number) is None


@pytest.mark.parametrize("number", [0, 5, 1000])
def test_a_number_that_is_not_there_has_no_name(number: int) -> None:
    assert type_name_of(btf(types()), number) is None


def test_a_structure_tells_its_members_also_behind_a_typedef() -> None:
    integer = pack("=IIII", 1, 1 << 24, 4, 32)
    struct = pack("=III", 0, 4 << 24 | 3, 12)
    struct += pack("=III", 1, 1, 0) + pack("=III", 7, 1, 64) + pack("=III", 1, 1, 4 << 24 | 32)  # the last: four bits
    alias, circle = pack("=III", 1, 8 << 24, 2), pack("=III", 1, 8 << 24, 4)
    content = btf(integer + struct + alias + circle)
    assert members(content, 2) == members(content, 3) == (("first", 0), ("second_function", 8))
    assert members(content, 1) == members(content, 4) == members(content, 9) == ()


def test_another_magic_number_is_no_btf() -> None:
    assert type_name_of(b"\0\0" + btf(types())[2:], 1) is None


@given(st.binary(max_size=200), st.integers(0, 10))
def test_no_bytes_raise(body: bytes, number: int) -> None:
    type_name_of(body, number)
    type_name_of(btf(body), number)
    members(body, number)
    members(btf(body), number)
