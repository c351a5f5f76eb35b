"""Tests of app.api.bits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.bits import Bits, Undecodable
from tests.api.consents import ALPHABET, fibonacci, text


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 2**40 - 1)), max_size=20))
def test_fields_read_back(fields: list[tuple[int, int]]) -> None:
    """Fields of any width come back in order, and nothing beyond the padding."""
    bits = Bits(text("".join(f"{value % 2**width:0{width}b}" for width, value in fields)))
    assert [bits.integer(width) for width, _ in fields] == [value % 2**width for width, value in fields]
    with pytest.raises(Undecodable):
        bits.integer(6)


@given(st.lists(st.integers(1, 6000), max_size=10))
def test_fibonacci_codes_read_back(numbers: list[int]) -> None:
    """Fibonacci codes need no lengths between them."""
    bits = Bits(text("".join(map(fibonacci, numbers))))
    assert [bits.fibonacci() for _ in numbers] == numbers


@pytest.mark.parametrize("foreign", ["=", " ", "é", "AA=A", "A\n", "$"])
def test_foreign_characters_are_refused(foreign: str) -> None:
    """Nothing but the alphabet is read, and nothing is skipped."""
    with pytest.raises(Undecodable):
        Bits(foreign)


def test_an_endless_fibonacci_code_is_refused() -> None:
    """A code that never ends is not read for ever."""
    with pytest.raises(Undecodable):
        Bits(ALPHABET[0] * 40).fibonacci()
    with pytest.raises(Undecodable):
        Bits("").flag()
    with pytest.raises(Undecodable):
        Bits("A").skip(7)
