"""Purchases enter, partitions of customers leave: what was bought until the cut as nested columns, then the outcomes.

All customers are cut on one day, so that time can not part those who teach from those who judge; customers can. The
file has days without hours, and the hour is put to that use: a customer is dealt to one of 24 hours by a hash of the
identifier, her days begin at that hour, and so does the day after the cut, which is the `now` of her row. Her ages are
then whole days whatever her hour is, and the house's split and folds, which keep hours apart, keep customers apart.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from app.errors import DataError
from training.data.cdnow.raw import DAY_SECONDS, Purchases, read_purchases

CUT: Final = date(1997, 9, 30)
"""The last day of the histories, as in the benchmark's papers: 39 weeks after the first customers came."""

HORIZONS: Final = (30, 90, 270)
"""Days after the cut."""

WINDOWS: Final = (30, 90, 180)
"""Days before the cut that have a column of their own."""

HOURS: Final = 24
MARK: Final = {b"pltv.cdnow": b"1"}
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was written, for the person who asked.

    Parameters
    ----------
    out : Path
    customers : int
        Rows, one a customer who bought until the cut.
    partitions : int
    lines, purchases : int
        Of the file, and what is left of them once those of one customer and day are one.
    free : int
        Purchases of 0 dollars among them.
    late : int
        Customers whose first purchase lies after the cut; they have no history and no row.
    """

    out: Path
    customers: int
    partitions: int
    lines: int
    purchases: int
    free: int
    late: int


def prepare(raw: Path, out: Path, *, seed: int = 0) -> Prepared:
    """Write `out/datetime=1997-10-01-HH-00/part-0.parquet`, in one step when all is well.

    Parameters
    ----------
    raw : Path
        The file of purchases (`training.data.cdnow.raw`).
    out : Path
        Folder; partitions that were written there before give way, nothing else does.
    seed : int
        Deals the customers to the hours: another seed is another split.

    Raises
    ------
    DataError
        The file is not as expected, its purchases end before the last horizon does, or `out` holds something else.
    """
    _refuse_foreign(out)
    purchases = read_purchases(raw)
    end = _day_number(CUT) + HORIZONS[-1]
    if (last := int(purchases.day.max())) < end:
        expected = f"expected purchases until {_date(end)}, {HORIZONS[-1]} days after the cut"
        raise DataError(f"{raw}: {expected}, received the last of {_date(last)}")
    known = np.unique(purchases.customer[purchases.day <= _day_number(CUT)])
    if not known.size:
        raise DataError(f"{raw}: expected customers who bought until {CUT}, received none")
    names = [purchases.customers[i] for i in known.tolist()]
    hour = np.array([_hour(name, seed) for name in names], dtype=np.int64)
    table = customer_table(purchases, known, hour)
    hours = np.unique(hour).tolist()
    _write(out, {h: table.filter(pa.array(hour == h)) for h in hours})
    free, late = int((purchases.dollars == 0.0).sum()), len(purchases.customers) - len(known)
    return Prepared(out, len(known), len(hours), purchases.lines, len(purchases), free, late)


def customer_table(purchases: Purchases, known: Ints, hour: Ints) -> pa.Table:
    """The rows of some customers.

    Parameters
    ----------
    purchases : Purchases
    known : ndarray of shape (n,), int64
        Customers with a purchase until the cut, in rising order.
    hour : ndarray of shape (n,), int64
        At which each customer's days begin.

    Returns
    -------
    pyarrow.Table of n rows
        The columns of `config/cdnow.yaml`; the key of every map is the day of the purchase.
    """
    cut = _day_number(CUT)
    row = np.full(len(purchases.customers), -1, dtype=np.int64)
    row[known] = np.arange(len(known))
    owner = row[purchases.customer]
    before = (owner >= 0) & (purchases.day <= cut)
    history = _History(owner[before], purchases.day[before], len(known))
    dollars, cds = purchases.dollars[before], purchases.cds[before]
    seconds = history.day * DAY_SECONDS + hour[history.owner] * 3600
    gap = np.diff(history.day, prepend=0)
    again = np.diff(history.owner, prepend=-1) == 0
    columns: dict[str, Any] = {
        "customer_id": pa.array([purchases.customers[i] for i in known.tolist()]),
        "cohort": pa.array([f"{_date(d):%Y-%m}" for d in history.day[~again].tolist()]),
        "purchase_ts": history.map(pa.array(seconds)),
        "amount": history.map(pa.array(dollars)),
        "cds": history.map(pa.array(cds)),
        "gap_days": history.map(pa.array(gap), again),
    }
    for days in WINDOWS:
        columns[f"amount_l{days}d"] = history.map(pa.array(dollars), history.day > cut - days)
    after = (owner >= 0) & (purchases.day > cut)
    return pa.table(columns | _outcomes(owner[after], purchases.day[after] - cut, purchases.dollars[after], len(known)))


def _outcomes(owner: Ints, days_after: Ints, dollars: NDArray[np.float64], n: int) -> dict[str, Any]:
    """Revenue of each horizon, and whether there was a purchase at all within the last."""
    found: dict[str, Any] = {}
    for h in HORIZONS:
        within = days_after <= h
        found[f"revenue_d{h}"] = np.bincount(owner[within], dollars[within], minlength=n)
        found[f"buyer_d{h}"] = (np.bincount(owner[within], minlength=n) > 0).astype(np.int8)
    return found


class _History:
    """Purchases until the cut by row, in the order of time; n rows."""

    def __init__(self, owner: Ints, day: Ints, n: int) -> None:
        self.owner, self.day, self._n = owner, day, n
        self._keys = pa.array([_date(d).isoformat() for d in range(int(day.min()), int(day.max()) + 1)])
        self._code = day - int(day.min())

    def map(self, values: pa.Array, chosen: Bools | None = None) -> pa.Array:
        """A map from the day to a value a row, of all purchases or of the chosen; empty where none is."""
        kept = np.arange(len(self.owner)) if chosen is None else np.flatnonzero(chosen)
        lengths = np.bincount(self.owner[kept], minlength=self._n)
        offsets = pa.array(np.r_[0, np.cumsum(lengths)].astype(np.int32))
        keys = self._keys.take(pa.array(self._code[kept]))
        return pa.MapArray.from_arrays(offsets, keys, values.take(pa.array(kept)))


def _hour(customer: str, seed: int) -> int:
    digest = hashlib.blake2b(f"{seed}:{customer}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % HOURS


def _write(out: Path, parts: Mapping[int, pa.Table]) -> None:
    folder = out.with_name(f".{out.name}.{os.getpid()}.partial")
    former = out.with_name(f".{out.name}.{os.getpid()}.former")
    now = datetime(CUT.year, CUT.month, CUT.day, tzinfo=UTC) + timedelta(days=1)
    try:
        for hour, table in parts.items():
            partition = folder / f"datetime={now + timedelta(hours=hour):%Y-%m-%d-%H-%M}"
            partition.mkdir(parents=True)
            pq.write_table(table.replace_schema_metadata(MARK), partition / "part-0.parquet", compression="zstd")
        if out.exists():
            out.replace(former)
        folder.replace(out)
    except OSError as error:
        raise DataError(f"{out}: can not be written ({error.strerror})") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)


def _refuse_foreign(out: Path) -> None:
    if out.name in ("", ".."):
        raise DataError(f"{out}: expected a folder with a name of its own, that can be replaced")
    if out.exists() and not (out.is_dir() and all(map(_is_ours, out.iterdir()))):
        raise DataError(f"{out}: expected a new folder or one of prepared customers, received something else")


def _is_ours(entry: Path) -> bool:
    if not (entry.is_dir() and entry.name.startswith("datetime=")):
        return False
    try:
        found = [(pq.read_schema(file).metadata or {}) for file in entry.iterdir()]
    except (OSError, pa.ArrowInvalid):
        return False
    return all(MARK.items() <= metadata.items() for metadata in found)


def _day_number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def _date(day: int) -> date:
    return date(1970, 1, 1) + timedelta(days=day)
