"""The file of purchases as it is passed around: lines enter, checked purchases in the order of customer and day leave.

Four columns parted by blanks, with or without a line that names them: customer_id, date (yyyymmdd), number_of_cds,
dollar_value. Lines may end in any way, and come in any order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.errors import DataError

COLUMNS: Final = ("customer_id", "date", "number_of_cds", "dollar_value")
DAY_SECONDS: Final = 86_400


class Line(NamedTuple):
    """One purchase as the file has it; `day` counts from 1970-01-01."""

    customer: str
    day: int
    cds: int
    dollars: float


@dataclass(frozen=True, slots=True)
class Purchases:
    """Purchases of all customers, a customer and day at most one, in that order.

    Parameters
    ----------
    customers : tuple of str
        In rising order.
    customer : ndarray of shape (n,), int64
        Position among `customers`.
    day : ndarray of shape (n,), int64
        Days since 1970-01-01.
    cds : ndarray of shape (n,), int64
    dollars : ndarray of shape (n,), float64
        ≥ 0.
    lines : int
        Lines of the file that hold a purchase; `lines` less n were joined to another one of the same customer and day.
    """

    customers: tuple[str, ...]
    customer: NDArray[np.int64]
    day: NDArray[np.int64]
    cds: NDArray[np.int64]
    dollars: NDArray[np.float64]
    lines: int

    def __len__(self) -> int:
        return len(self.customer)


def read_purchases(path: Path) -> Purchases:
    """Read a file of purchases.

    What a customer bought on one day is one purchase, as the models of this benchmark count them [Fader, Hardie and
    Lee 2005]; lines that repeat another one are therefore added to it, and a purchase of nothing (a gift, a coupon)
    is a purchase.

    Parameters
    ----------
    path : Path

    Raises
    ------
    DataError
        One line: the file, the number of the line, the column, what was expected and what came.
    """
    try:
        text = path.read_bytes().decode("ascii")
    except OSError as error:
        raise DataError(f"{path}: can not be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected plain text, received byte {error.object[error.start]:#04x}") from None
    lines = list(_lines(path, text))
    if not lines:
        raise DataError(f"{path}: expected lines of {' '.join(COLUMNS)}, received none")
    return _joined(lines)


def _lines(path: Path, text: str) -> Iterator[Line]:
    for number, words in enumerate((line.split() for line in text.splitlines()), start=1):
        if not words or (number == 1 and tuple(words) == COLUMNS):
            continue
        try:
            yield _line(words)
        except ValueError as fault:
            raise DataError(f"{path}, line {number}: {fault}") from None


def _line(words: list[str]) -> Line:
    if len(words) != len(COLUMNS):
        raise ValueError(f"expected {len(COLUMNS)} columns ({' '.join(COLUMNS)}), received {len(words)}")
    customer, date, cds, dollars = words
    if not (customer.isdigit() and len(customer) <= 18):
        raise ValueError("customer_id: expected digits, received something else")
    return Line(customer, _day(date), _count(cds), _amount(dollars))


def _day(text: str) -> int:
    try:
        if len(text) != 8 or not text.isdigit():
            raise ValueError
        moment = datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"date: expected yyyymmdd, received {text[:20]!r}") from None
    return int(moment.timestamp()) // DAY_SECONDS


def _count(text: str) -> int:
    if not (text.isdigit() and len(text) < 10 and int(text) > 0):
        raise ValueError(f"number_of_cds: expected a whole number above 0, received {text[:20]!r}")
    return int(text)


def _amount(text: str) -> float:
    try:
        dollars = float(text)
    except ValueError:
        dollars = float("nan")
    if not 0.0 <= dollars < 1e9:  # NaN is not either
        raise ValueError(f"dollar_value: expected US dollars of 0 or more, received {text[:20]!r}")
    return dollars


def _joined(lines: list[Line]) -> Purchases:
    """Sort, and add up what falls on one day."""
    customers = tuple(sorted({line.customer for line in lines}))
    position = {name: i for i, name in enumerate(customers)}
    customer = np.array([position[line.customer] for line in lines], dtype=np.int64)
    day = np.array([line.day for line in lines], dtype=np.int64)
    order = np.lexsort((np.arange(len(lines)), day, customer))
    customer, day = customer[order], day[order]
    starts = np.flatnonzero(np.r_[True, (np.diff(customer) != 0) | (np.diff(day) != 0)])
    cds = np.array([line.cds for line in lines], dtype=np.int64)[order]
    dollars = np.array([line.dollars for line in lines])[order]
    return Purchases(
        customers,
        customer[starts],
        day[starts],
        np.add.reduceat(cds, starts),
        np.add.reduceat(dollars, starts),
        len(lines),
    )
