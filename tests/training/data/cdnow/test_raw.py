"""Tests of training.data.cdnow.raw: what is a purchase, and that every mistake is one line that names its place."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import DataError
from tests.support.cdnow import HEADER, real_file, write
from training.data.cdnow.raw import Purchases, read_purchases

JAN_1 = (date(1997, 1, 1) - date(1970, 1, 1)).days
LINES = [
    " 00002 19970112  1   12.00",
    " 00002 19970112  5   77.00",
    " 00001 19970101  1   11.77",
    " 00002 19970101  1    0.00",
    " 00001 19970101  1   11.77",
]


def same(a: Purchases, b: Purchases) -> bool:
    """Whether two readings hold the same purchases."""
    arrays = ("customer", "day", "cds", "dollars")
    return a.customers == b.customers and all(np.array_equal(getattr(a, n), getattr(b, n)) for n in arrays)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_is_bought_on_one_day_is_one_purchase(tmp_path: Path, end: str) -> None:
    """Lines of a customer and day are added up, repeated ones too; one of nothing counts; line ends do not."""
    found = read_purchases(write(tmp_path / "raw.txt", LINES, end))
    assert found.customers == ("00001", "00002")
    assert found.customer.tolist() == [0, 1, 1]
    assert (found.day - JAN_1).tolist() == [0, 0, 11]
    assert found.cds.tolist() == [2, 1, 6]
    np.testing.assert_allclose(found.dollars, [23.54, 0.0, 89.0])
    assert (found.lines, len(found)) == (5, 3)


def test_the_line_of_names_and_blank_lines_are_no_purchases(tmp_path: Path) -> None:
    """The same purchases with the names and without, with blank lines between and no line end at the last."""
    named, bare = write(tmp_path / "named.txt", LINES), tmp_path / "bare.txt"
    bare.write_text("\n\n".join(LINES))
    assert same(read_purchases(named), read_purchases(bare))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 28), st.integers(1, 9), st.integers(0, 10_000)), min_size=1),
    st.randoms(use_true_random=False),
)
def test_nothing_is_lost_and_order_does_not_matter(
    tmp_path: Path, rows: list[tuple[int, int, int, int]], random: object
) -> None:
    """A customer and day at most once, in order; CDs and cents add up to those of the lines, in whatever order."""
    lines = [f"{c:05d} 199702{d:02d} {n} {cents / 100:.2f}" for c, d, n, cents in rows]
    found = read_purchases(write(tmp_path / "raw.txt", lines))
    pairs = list(zip(found.customer.tolist(), found.day.tolist(), strict=True))
    assert pairs == sorted({*pairs})
    assert found.cds.sum() == sum(n for _, _, n, _ in rows)
    assert round(float(found.dollars.sum()) * 100) == sum(cents for *_, cents in rows)
    shuffled = list(lines)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = read_purchases(write(tmp_path / "shuffled.txt", shuffled))
    np.testing.assert_allclose(again.dollars, found.dollars, rtol=1e-12)
    assert (again.customer.tolist(), again.day.tolist(), again.cds.tolist()) == (
        found.customer.tolist(), found.day.tolist(), found.cds.tolist()
    )  # fmt: skip


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ("00001 19970101 1", "expected 4 columns (customer_id date number_of_cds dollar_value), received 3"),
        ("00001 19970101 1 9.99 x", "received 5"),
        ("Ann 19970101 1 9.99", "customer_id: expected digits"),
        ("00001 1997-01-01 1 9.99", "date: expected yyyymmdd, received '1997-01-01'"),
        ("00001 19970230 1 9.99", "date: expected yyyymmdd, received '19970230'"),
        ("00001 19970101 0 9.99", "number_of_cds: expected a whole number above 0, received '0'"),
        ("00001 19970101 1.5 9.99", "number_of_cds"),
        ("00001 19970101 1 -9.99", "dollar_value: expected US dollars of 0 or more, received '-9.99'"),
        ("00001 19970101 1 nan", "dollar_value"),
        ("00001 19970101 1 1e400", "dollar_value"),
        (HEADER, "customer_id: expected digits"),
    ],
)
def test_a_bad_line_is_named_with_its_number(tmp_path: Path, bad: str, expected: str) -> None:
    """One line: file, number (the names and blank lines counted), column, expected, received."""
    path = write(tmp_path / "raw.txt", [LINES[0], "", bad, LINES[1]])
    with pytest.raises(DataError) as caught:
        read_purchases(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line 4: ")
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize(("content", "expected"), [(b"", "received none"), (b"\xff\xfe1", "received byte 0xff")])
def test_a_file_of_something_else_is_one_line(tmp_path: Path, content: bytes, expected: str) -> None:
    """No line at all, or no text."""
    path = tmp_path / "raw.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=expected):
        read_purchases(path)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    """It names the file."""
    with pytest.raises(DataError, match=r"nowhere\.txt: can not be read"):
        read_purchases(tmp_path / "nowhere.txt")


def test_the_real_file_holds_what_its_papers_say() -> None:
    """23,570 customers, 69,659 lines, 80 of them free; repeated days joined."""
    found = read_purchases(real_file())
    assert (len(found.customers), found.lines) == (23_570, 69_659)
    assert len(found) == 69_659 - 2068
    assert found.dollars.sum() == pytest.approx(2_500_315.63, abs=0.01)
