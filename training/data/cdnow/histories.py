"""Partitions of customers enter; their purchases until the cut leave, flat, for models that read no features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from app.errors import DataError
from training.data.arrow import lists, numbers, pairs
from training.data.cdnow.raw import DAY_SECONDS
from training.data.dataset import Partition

COLUMNS = ("customer_id", "purchase_ts", "amount")


@dataclass(frozen=True, slots=True)
class Histories:
    """Purchases of n customers until the cut.

    Parameters
    ----------
    customer_id : ndarray of shape (n,), object
        In the order of the partitions, their files and rows.
    owner : ndarray of shape (m,), int64
        The customer of each purchase, 0 … n − 1.
    days_before : ndarray of shape (m,), float64
        Whole days from the purchase to the cut, ≥ 0.
    dollars : ndarray of shape (m,), float64
    """

    customer_id: NDArray[np.object_]
    owner: NDArray[np.int64]
    days_before: NDArray[np.float64]
    dollars: NDArray[np.float64]


def read_histories(partitions: Sequence[Partition]) -> Histories:
    """Read what `prepare` wrote.

    Parameters
    ----------
    partitions : sequence of Partition, length ≥ 1

    Raises
    ------
    DataError
        Naming the file that is none of `prepare`'s.
    """
    parts = [_read(path, partition.now) for partition in partitions for path in partition.files]
    shift = np.cumsum([0, *(len(part.customer_id) for part in parts)])
    return Histories(
        np.concatenate([part.customer_id for part in parts]),
        np.concatenate([part.owner + at for part, at in zip(parts, shift, strict=False)]),
        np.concatenate([part.days_before for part in parts]),
        np.concatenate([part.dollars for part in parts]),
    )


def _read(path: Path, now: int) -> Histories:
    try:
        table = pq.ParquetFile(path).read(columns=list(COLUMNS)).combine_chunks()
        customer_id, times, amounts = (table.column(name).combine_chunks() for name in COLUMNS)
    except (KeyError, OSError, pa.ArrowException):
        raise DataError(f"{path}: expected customers as `pltv cdnow` writes them, received something else") from None
    moments, money = lists(times), lists(amounts)
    # The row's now is the day after the cut, at the hour at which the customer's days begin.
    days = (now - numbers(pairs(moments.entries)[1])) / DAY_SECONDS - 1.0
    owner = np.repeat(np.arange(len(customer_id)), moments.lengths)
    return Histories(customer_id.to_numpy(zero_copy_only=False), owner, days, numbers(pairs(money.entries)[1]))
