"""The target block: what became of each row, drawn from its truth. No column of it is ever a feature.

Enters: the truth of a block. Leaves: buyers, purchases, revenue, registration and retention. Revenue is in US dollars
and never negative; D1 ≤ D7 ≤ D14 ≤ D28 in every row, for buyers and purchases too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.data.synthetic.columns import Columns, Floats, Mask, Scalar
from training.data.synthetic.truth import (
    ALL_ON_DAY_ONE,
    DAY_ONE_SHARE,
    GROWTH_CHANCE,
    LATE_FACTOR,
    NOISE,
    RECORDED,
    WHALE_FACTOR,
    Truth,
)

UNTRACKED_SHARE = 0.07296
"""Share of rows without registration and retention."""

MOST_PURCHASES = 161


def draw_outcomes(truth: Truth, rng: np.random.Generator) -> Columns:
    """Draw the target columns of every row (formulas: `truth`)."""
    u = rng.random(len(truth.p7))
    b7, b14, b28 = u < truth.p7, u < truth.p14, u < truth.p28
    b1 = b7 & (rng.random(len(u)) < truth.q1)
    paid = rng.random(len(u)) < RECORDED
    value = np.where(paid, _value(truth, rng), 0.0)
    y7 = np.where(b7, value, 0.0)
    y1 = np.where(b1, y7 * _first_share(rng, len(u)), 0.0)
    more14, more28 = _growth(rng, truth.g14), _growth(rng, truth.g28)
    y14 = y7 * (1 + more14) + np.where(b14 & ~b7, LATE_FACTOR * value, 0.0)
    y28 = y14 + y7 * more28 + np.where(b28 & ~b14, LATE_FACTOR * value, 0.0)
    buyers = {"d1": b1, "d7": b7, "d14": b14, "d28": b28}
    revenue = {"d1": y1, "d7": y7, "d14": y14, "d28": y28}
    columns: Columns = {f"buyer_{h}": Scalar(flags.astype(np.int8)) for h, flags in buyers.items()}
    columns |= _purchases(rng, buyers, y7, more14 > 0, more28 > 0)
    columns |= {f"iap_revenue_{h}": Scalar(dollars) for h, dollars in revenue.items()}
    return columns | _retention(rng, b7)


def _value(truth: Truth, rng: np.random.Generator) -> Floats:
    whale = rng.random(len(truth.mu)) < truth.whale
    lift = np.where(whale, np.log(WHALE_FACTOR), 0.0)
    return np.asarray(np.exp(truth.mu + NOISE * rng.normal(size=len(truth.mu)) + lift))


def _first_share(rng: np.random.Generator, n_rows: int) -> Floats:
    part = rng.beta(4 * DAY_ONE_SHARE, 4 * (1 - DAY_ONE_SHARE), n_rows)
    return np.where(rng.random(n_rows) < ALL_ON_DAY_ONE, 1.0, part)


def _growth(rng: np.random.Generator, mean: Floats) -> Floats:
    grew = rng.random(len(mean)) < GROWTH_CHANCE
    return np.where(grew, mean / GROWTH_CHANCE * rng.exponential(size=len(mean)), 0.0)


def _purchases(rng: np.random.Generator, buyers: dict[str, Mask], y7: Floats, grew14: Mask, grew28: Mask) -> Columns:
    """At least one purchase a buyer; more with revenue; those who grew bought again."""
    extra = rng.poisson(np.minimum(0.25 * np.sqrt(y7) * rng.exponential(size=len(y7)), 200.0))
    d7 = np.where(buyers["d7"], np.minimum(1 + extra, MOST_PURCHASES), 0)
    d14 = d7 + np.where(buyers["d7"], grew14, buyers["d14"])
    d28 = d14 + np.where(buyers["d14"], grew28, buyers["d28"])
    return {f"buy_{h}": Scalar(n.astype(np.int64)) for h, n in (("d7", d7), ("d14", d14), ("d28", d28))}


def _retention(rng: np.random.Generator, buyer: Mask) -> Columns:
    n = len(buyer)
    tracked = rng.random(n) >= UNTRACKED_SHARE
    loyal = np.where(buyer, 0.35, 0.0)

    def happened(base: float) -> Mask:
        return np.asarray(rng.random(n) < base + loyal)

    day1, day3, week2 = happened(0.22), happened(0.13), happened(0.12)
    week = day1 | day3 | happened(0.10)
    events: dict[str, NDArray[np.bool_]] = {
        "registration": happened(0.30),
        "retention_d1": day1,
        "retention_d3": day3,
        "retention_d1_to_d7": week,
        "retention_d3_to_d7": day3 | (week & happened(0.30)),
        "retention_d7_to_d14": week2,
    }
    return {name: Scalar(event.astype(np.int8), tracked) for name, event in events.items()}
