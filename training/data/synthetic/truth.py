r"""The oracle: P(buy | x) and E[y_h | x] in closed form, a function of the row's raw columns and the world alone.

With the signals s of `signals` and effects α of category, advertiser, country, region, make (zero where null) and of
category × country, all of the world:

    p7  = 0.92·σ(a + α + β·s + interactions)                                             buyer within seven days
    p1  = p7·q1,            q1 = σ(c1 + γ·s)                                              of those, on the first day
    p14 = p7 + (1 − p7)·r14,  r14 = k14·p7;   p28 = p14 + (1 − p14)·r28,  r28 = k28·p14   late buyers

A buyer has no recorded revenue at all with probability 1 − ρ, ρ = 0.9, whatever x. Otherwise

    V   = exp(μ(x) + τε)·M^w,  ε ~ N(0, 1), w ~ Bernoulli(ω(x)), τ = 1.15, M = 9     revenue of seven days
    E V = exp(μ + τ²/2)·(1 + ω·(M − 1))                                               =: m(x)

so that the irreducible part of log V has standard deviation √(τ² + ω(1 − ω)·ln²M), 1.19 at the buyers' mean ω of
about 1.8 %. It is half of the variance of log V among buyers; x explains the other half (measured in three worlds:
0.48–0.51 irreducible).
μ is held within ±3 of its centre by a tanh: no expectation can outgrow the others. The horizons are nested:

    y7 = V;    y1 = V·B if the first purchase was on day one, else 0
    B  = 1 with probability 0.4, else Beta(4b, 4(1 − b)) with b = 0.62;   E B = 0.4 + 0.6·b
    y14 = y7·(1 + G14) + late,   y28 = y14 + y7·G28 + late,   G = (g(x)/0.4)·Exp(1) with probability 0.4, else 0
    late buyers: half of a V of the same x

    e1  = ρ·p7·q1·m·E B              e7  = ρ·p7·m
    e14 = e7·(1 + g14) + ρ·(p14 − p7)·m/2          e28 = e14 + e7·g28 + ρ·(p28 − p14)·m/2

and D1 ≤ D7 ≤ D14 ≤ D28 holds in every draw as in every expectation. Intercepts (a, c1, the centre of μ, k14, k28, g's)
are solved per world on a pilot block, so that each world meets the published target facts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from training.data.synthetic.columns import Columns, Floats, Ints, Text
from training.data.synthetic.market import N_ADVERTISERS, Market
from training.data.synthetic.signals import Signals, read_signals

RECORDED = 0.9
"""ρ: probability that a buyer has recorded revenue."""

NOISE = 1.15
"""τ: standard deviation of log revenue within buyers of equal x."""

WHALE_FACTOR = 9.0
"""M: what a whale multiplies revenue by."""

ALL_ON_DAY_ONE = 0.4
DAY_ONE_SHARE = 0.62
GROWTH_CHANCE = 0.4
LATE_FACTOR = 0.5
CAP = 3.0
"""μ stays within ±CAP of its centre."""

BUYER_RATE = 0.033
MEAN_REVENUE = 1.12
DAY_ONE_BUYERS = 2.80 / 4.03
LATE_BUYERS = (4.24 / 4.03 - 1.0, 4.44 / 4.24 - 1.0)
REVENUE_GROWTH = (3.57 / 3.28 - 1.0, (4.15 - 3.57) / 3.28)

_BUY = {
    "price": 0.38, "ios": 0.15, "evening": 0.12, "weekend": 0.04, "stranger": -0.35, "wifi": 0.45, "active": 0.22,
    "sessions": 0.50, "rank": 0.60, "total_spend": 0.45, "category_spend": 0.60, "bottom_spend": 0.20,
    "bundle_buys": 0.40, "whale": 0.40, "fresh_buy": 0.80, "fresh_install": 0.40, "affinity": 0.38,
    "actions_here": 0.55, "campaign_actions": 0.35,
}  # fmt: skip
_PAY = {
    "price": 0.45, "ios": 0.15, "evening": 0.05, "weekend": 0.05, "wifi": 0.25, "active": 0.12, "sessions": 0.30,
    "rank": 0.55, "total_spend": 0.22, "category_spend": 0.35, "bottom_spend": 0.10, "bundle_buys": 0.05, "whale": 0.50,
    "fresh_buy": 0.20, "affinity": 0.10,
}  # fmt: skip
_FIRST_DAY = {"fresh_buy": 0.8, "category_spend": 0.3, "actions_here": 0.3, "stranger": -0.2, "evening": -0.2}


@dataclass(frozen=True)
class Effects:
    """A world's coefficients: of signals, by code (each ends in a zero, which code −1, null, reads), and crossed.

    `buy_cross` and `pay_cross` have the shape (categories + 1, countries + 1).
    """

    buy: dict[str, float]
    pay: dict[str, float]
    first_day: dict[str, float]
    buy_by: dict[str, Floats]
    pay_by: dict[str, Floats]
    buy_cross: Floats
    pay_cross: Floats
    gambling: Floats
    intercepts: dict[str, float]


@dataclass(frozen=True)
class Truth:
    """What is true of each row; arrays of shape (n_rows,), float64. Money in US dollars, p in 0–1.

    `mu` and `whale` are μ and ω, `q1` the first-day share of buyers, `g14` and `g28` the mean growths.
    """

    p7: Floats
    q1: Floats
    p14: Floats
    p28: Floats
    mu: Floats
    whale: Floats
    g14: Floats
    g28: Floats

    @property
    def mean_paid(self) -> Floats:
        """m = E[V | x]."""
        return np.asarray(np.exp(self.mu + NOISE**2 / 2) * (1 + self.whale * (WHALE_FACTOR - 1)))

    def expected(self) -> dict[str, Floats]:
        """e_d1, e_d7, e_d14 and e_d28, the formulas above."""
        paid = RECORDED * self.mean_paid
        e7 = self.p7 * paid
        e14 = e7 * (1 + self.g14) + (self.p14 - self.p7) * paid * LATE_FACTOR
        e28 = e14 + e7 * self.g28 + (self.p28 - self.p14) * paid * LATE_FACTOR
        first = ALL_ON_DAY_ONE + (1 - ALL_ON_DAY_ONE) * DAY_ONE_SHARE
        return {"e_d1": e7 * self.q1 * first, "e_d7": e7, "e_d14": e14, "e_d28": e28}


def draw_effects(market: Market) -> Effects:
    """Draw the coefficients of a world: the published ones, moved by a tenth, and effects by category and country."""
    rng = np.random.default_rng(np.random.SeedSequence(market.number, spawn_key=(2,)))
    tables = [{k: v * rng.lognormal(0, 0.12) for k, v in table.items()} for table in (_BUY, _PAY, _FIRST_DAY)]
    taxonomy, places = market.taxonomy, market.places
    rate, paid = taxonomy.buyer_rate, taxonomy.revenue / taxonomy.buyer_rate
    country_rate = np.where(np.isnan(places.buyer_rate), 0.024 * np.exp(0.35 * places.income), places.buyer_rate)
    country_paid = np.where(np.isnan(places.revenue), 22 * np.exp(0.3 * places.income), places.revenue / country_rate)
    buy_by = {
        "advertiser_category": np.clip(_logit(rate) - _logit(np.float64(0.03)), -2.0, 2.4) * 1.3,
        "country": np.clip(_logit(country_rate) - _logit(np.float64(0.03)), -1.6, 1.6) * 1.0,
        "advertiser_bundle": 0.40 * rng.normal(size=N_ADVERTISERS),
        "region": 0.35 * rng.normal(size=len(places.regions)),
        "dev_make": 0.20 * rng.normal(size=len(market.devices.makes)),
    }
    pay_by = {
        "advertiser_category": np.clip(0.9 * np.log(paid / 30.0), -1.3, 1.3),
        "country": np.clip(0.40 * np.log(country_paid / 30.0), -0.7, 0.7),
        "advertiser_bundle": 0.35 * rng.normal(size=N_ADVERTISERS),
        "region": 0.30 * rng.normal(size=len(places.regions)),
        "dev_make": 0.15 * rng.normal(size=len(market.devices.makes)),
    }
    gambling = np.array([float("casino" in name or "bet" in name) for name in taxonomy.categories] + [0.0])
    moved = [{k: np.append(v + 0.12 * rng.normal(size=len(v)), 0.0) for k, v in by.items()} for by in (buy_by, pay_by)]
    shape = (len(taxonomy.categories) + 1, len(places.countries) + 1)
    buy_cross, pay_cross = 0.40 * rng.normal(size=shape), 0.35 * rng.normal(size=shape)
    return Effects(
        buy=tables[0],
        pay=tables[1],
        first_day=tables[2],
        buy_by=moved[0],
        pay_by=moved[1],
        buy_cross=buy_cross,
        pay_cross=pay_cross,
        gambling=gambling,
        intercepts={},
    )


def _logit(p: Floats | np.float64) -> Floats:
    return np.asarray(np.log(p) - np.log1p(-p))


def _sigmoid(z: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-z)))


def _score(signals: Signals, weights: dict[str, float], by: dict[str, Floats], columns: Columns) -> Floats:
    score = sum((weight * signals[name] for name, weight in weights.items()), np.zeros(1))
    for name, effects in by.items():
        score = score + effects[cast(Text, columns[name]).codes]
    return score


def scores(columns: Columns, now: int, effects: Effects) -> dict[str, Floats]:
    """The linear scores before their intercepts: buy (logit), pay (log dollars), first (logit), whale (logit)."""
    s = read_signals(columns, now)
    category: Ints = cast(Text, columns["advertiser_category"]).codes
    crossed = category, cast(Text, columns["country"]).codes
    casino = effects.gambling[category]
    hunter = casino * (0.5 + s["whale"]) * s["fresh_buy"]
    buy = _score(s, effects.buy, effects.buy_by, columns) + effects.buy_cross[crossed]
    buy = buy + 0.30 * s["price"] * s["category_spend"] + 0.8 * hunter + 0.15 * casino * s["evening"]
    buy = buy - 0.35 * s["wifi"] * s["stranger"] + 0.20 * s["sessions"] * s["affinity"]
    pay = _score(s, effects.pay, effects.pay_by, columns) + effects.pay_cross[crossed]
    pay = pay + 0.30 * s["price"] * s["category_spend"] + 0.9 * hunter + 0.20 * s["ios"] * s["total_spend"]
    whale = 1.8 * s["whale"] + 0.5 * s["total_spend"] + 0.5 * s["price"] + 0.6 * casino
    return {"buy": buy, "pay": pay, "first": _score(s, effects.first_day, {}, columns), "whale": whale}


def tell_truth(columns: Columns, now: int, effects: Effects) -> Truth:
    """The truth of every row from its raw columns (see the formulas above)."""
    return _assemble(scores(columns, now, effects), effects.intercepts)


def _assemble(z: dict[str, Floats], at: dict[str, float]) -> Truth:
    p7 = 0.92 * _sigmoid(z["buy"] + at["buy"])
    p14 = p7 + (1 - p7) * at["late14"] * p7
    p28 = p14 + (1 - p14) * at["late28"] * p14
    spread = z["pay"] + at["pay"]
    growth = np.exp(0.15 * np.clip(spread, -2, 2))
    return Truth(
        p7=p7,
        q1=_sigmoid(z["first"] + at["first"]),
        p14=p14,
        p28=p28,
        mu=at["level"] + CAP * np.tanh(spread / CAP),
        whale=np.minimum(_sigmoid(z["whale"] - 4.9), 0.15),
        g14=at["growth14"] * growth,
        g28=at["growth28"] * growth,
    )


def calibrate(effects: Effects, columns: Columns, now: int) -> Effects:
    """Solve the intercepts on a pilot block so that its expectations meet the target facts."""
    z = scores(columns, now, effects)
    at = {"late14": 0.0, "late28": 0.0, "level": 0.0, "growth14": 0.0, "growth28": 0.0, "first": 0.0}
    at["buy"] = _root(lambda x: float(np.mean(0.92 * _sigmoid(z["buy"] + x))) - BUYER_RATE)
    p7 = 0.92 * _sigmoid(z["buy"] + at["buy"])
    at["pay"] = -float(np.average(z["pay"], weights=p7))
    at["first"] = _root(lambda x: float(np.average(_sigmoid(z["first"] + x), weights=p7)) - DAY_ONE_BUYERS)
    at["late14"] = LATE_BUYERS[0] * float(p7.sum() / ((1 - p7) * p7).sum())
    p14 = p7 + (1 - p7) * at["late14"] * p7
    at["late28"] = LATE_BUYERS[1] * float(p14.sum() / ((1 - p14) * p14).sum())
    at["level"] = float(np.log(MEAN_REVENUE / np.mean(_assemble(z, at).expected()["e_d7"])))
    return replace(effects, intercepts=at | _growths(z, at))


def _growths(z: dict[str, Floats], at: dict[str, float]) -> dict[str, float]:
    """Growth levels that, beside what late buyers bring, make the published ratios of d14 and d28 to d7."""
    still = _assemble(z, at).expected()
    unit = _assemble(z, at | {"growth14": 1.0, "growth28": 1.0})
    total = float(still["e_d7"].sum())
    weight = float((still["e_d7"] * unit.g14).sum()) / total
    late14 = float(still["e_d14"].sum()) / total - 1
    late28 = float(still["e_d28"].sum() - still["e_d14"].sum()) / total
    return {"growth14": (REVENUE_GROWTH[0] - late14) / weight, "growth28": (REVENUE_GROWTH[1] - late28) / weight}


def _root(excess: Callable[[float], float]) -> float:
    """The zero of an increasing function, by bisection on ±15."""
    low, high = -15.0, 15.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return (low + high) / 2
