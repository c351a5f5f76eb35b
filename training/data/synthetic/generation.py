"""Block by block: draw rows, tell their truth, draw what became of them, write all three.

Rows are drawn from (seed, hour, block) alone and the market from the world alone, so that equal arguments give equal
data, another seed gives other days of the same market, and memory is bounded by a block of an hour.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from app.errors import InputError
from training.data.synthetic.columns import Columns, Ints, Scalar
from training.data.synthetic.market import Market, draw_market
from training.data.synthetic.outcomes import draw_outcomes
from training.data.synthetic.output import Output
from training.data.synthetic.purchases import draw_purchases
from training.data.synthetic.rows import draw_request
from training.data.synthetic.truth import Effects, Truth, calibrate, draw_effects, tell_truth
from training.data.synthetic.users import draw_user, own_bundles

BLOCK = 50_000
"""Rows drawn at once, and rows of a parquet row group."""

MOST_HOURS = 87_840
"""Ten years of partitions."""

PILOT_ROWS = 40_000
PILOT_HOUR = datetime.datetime(2025, 10, 1, 14, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class GenerationSummary:
    """What was written.

    Attributes
    ----------
    rows, partitions : int
        Rows, and hours that hold some.
    buyers_d7 : int
        Rows with buyer_d7 = 1.
    revenue_d7, expected_d7 : float
        Sums over all rows, US dollars: realised, and the oracle's.
    out, oracle : Path
        The folder of partitions, and the oracle's file beside it.
    requests : Path or None
        The file of `/predict` bodies.
    """

    rows: int
    partitions: int
    buyers_d7: int
    revenue_d7: float
    expected_d7: float
    out: Path
    oracle: Path
    requests: Path | None


def generate(
    rows: int,
    out: Path,
    *,
    seed: int = 0,
    world: int = 0,
    start: datetime.date = datetime.date(2025, 10, 1),
    hours: int = 24,
    requests: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> GenerationSummary:
    """Generate rows of the bid-request table, hive-partitioned by hour, with their oracle.

    Parameters
    ----------
    rows : int
        Rows in all, spread over the hours along the day's traffic.
    out : Path
        Folder to write; replaced as a whole if it holds generated data. The oracle goes to `<out>.oracle.parquet`.
    seed, world : int
        What draws the rows, and what draws the market they live in.
    start : datetime.date
        First day; the first hour is its midnight, UTC.
    hours : int
        Hours from there on. With fewer rows than hours, some hours have no partition.
    requests : Path or None
        Also write the same rows as `/predict` bodies, one JSON a line.
    progress : callable or None
        Called with the number of rows done so far, after every block.

    Returns
    -------
    GenerationSummary

    Raises
    ------
    InputError
        An argument is out of range.
    DataError
        `out` exists and is not generated data, or a path cannot be written.
    """
    _check(rows, seed, world, start, hours)
    market, effects = draw_world(world)
    counts = rows_per_hour(rows, hours)
    done, buyers, revenue, expected = 0, 0, 0.0, 0.0
    with Output(Path(out), requests) as output:
        for hour, block, count in _blocks(counts, start):
            columns, truth = draw_block(market, effects, _generator(seed, hour, block), hour, count)
            output.write(hour, columns, truth)
            done += count
            buyers += int(_values(columns, "buyer_d7").sum())
            revenue += float(_values(columns, "iap_revenue_d7").sum())
            expected += float(truth.expected()["e_d7"].sum())
            if progress is not None:
                progress(done)
    partitions = int(np.count_nonzero(counts))
    return GenerationSummary(done, partitions, buyers, revenue, expected, output.out, output.oracle, requests)


@lru_cache(maxsize=2)
def draw_world(world: int) -> tuple[Market, Effects]:
    """The market of that number and its coefficients, calibrated on a pilot block that no seed shares."""
    market = draw_market(world)
    rng = np.random.default_rng(np.random.SeedSequence(world, spawn_key=(3,)))
    columns = draw_features(market, rng, PILOT_HOUR, PILOT_ROWS)
    return market, calibrate(draw_effects(market), columns, int(PILOT_HOUR.timestamp()))


def draw_features(market: Market, rng: np.random.Generator, hour: datetime.datetime, n_rows: int) -> Columns:
    """Request and user columns of `n_rows` rows of one hour, in the order of the table."""
    request, people = draw_request(market, rng, hour, n_rows)
    apps = own_bundles(market, rng, people)
    return request | draw_user(market, rng, people, apps) | draw_purchases(market, rng, people, apps)


def draw_block(
    market: Market, effects: Effects, rng: np.random.Generator, hour: datetime.datetime, n_rows: int
) -> tuple[Columns, Truth]:
    """All columns of a block, targets after row_id, and the truth they were drawn from."""
    features = draw_features(market, rng, hour, n_rows)
    truth = tell_truth(features, int(hour.timestamp()), effects)
    identifiers = {"row_id": features.pop("row_id")}
    return identifiers | draw_outcomes(truth, rng) | features, truth


def rows_per_hour(rows: int, hours: int) -> Ints:
    """Rows of each hour, shape (hours,), int64, summing to `rows`: largest remainders of the day's traffic.

    Traffic by UTC hour is 1 − 0.10·sin − 0.13·cos of the hour's angle, whose mean sine and cosine are those of the
    original data (−0.050 and −0.067).
    """
    angle = 2 * np.pi * (np.arange(hours) % 24) / 24
    traffic = 1 - 0.10 * np.sin(angle) - 0.13 * np.cos(angle)
    share = rows * traffic / traffic.sum()
    counts: Ints = np.floor(share).astype(np.int64)
    counts[np.argsort(counts - share, kind="stable")[: rows - int(counts.sum())]] += 1
    return counts


def _blocks(counts: Ints, start: datetime.date) -> Iterator[tuple[datetime.datetime, int, int]]:
    midnight = datetime.datetime(start.year, start.month, start.day, tzinfo=datetime.UTC)
    for index, count in enumerate(counts.tolist()):
        for block, first in enumerate(range(0, count, BLOCK)):
            yield midnight + datetime.timedelta(hours=index), block, min(BLOCK, count - first)


def _generator(seed: int, hour: datetime.datetime, block: int) -> np.random.Generator:
    key = (int(hour.timestamp()) // 3600, block)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _values(columns: Columns, name: str) -> NDArray[Any]:
    return np.asarray(cast(Scalar, columns[name]).values)


def _check(rows: int, seed: int, world: int, start: datetime.date, hours: int) -> None:
    for name, value, least in (("rows", rows, 1), ("hours", hours, 1), ("seed", seed, 0), ("world", world, 0)):
        if value < least:
            raise InputError(f"expected an integer of at least {least}, got {value}", name)
    if hours > MOST_HOURS:
        raise InputError(f"expected at most {MOST_HOURS}, got {hours}", "hours")
    if not 2000 <= start.year < 2100:
        raise InputError(f"expected a day of 2000 to 2099, got {start}", "start")
