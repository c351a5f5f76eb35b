"""Tests of training.evaluation.purchase_models: `lifetimes` against the papers' formulae and simulated customers."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest
from scipy import special

from app.errors import DataError, InputError
from tests.support.cdnow import real_file
from training.data.cdnow.raw import read_purchases
from training.evaluation.purchase_models import PurchaseModels, Rfm, summarise
from training.evaluation.ranking import Floats

TRUTH = {"r": 0.6, "alpha": 6.0, "a": 0.8, "b": 2.5}
SPEND = {"p": 6.0, "q": 4.0, "v": 15.0}


def simulate(n: int, seed: int, future: float) -> tuple[Rfm, Floats, Floats]:
    """Customers of the models' own world: what is known after 39 weeks, then purchases and dollars in the next days."""
    rng = np.random.default_rng(seed)
    rate, leave = rng.gamma(TRUTH["r"], 1.0 / TRUTH["alpha"], n), rng.beta(TRUTH["a"], TRUTH["b"], n)
    mean_scale = rng.gamma(SPEND["q"], 1.0 / SPEND["v"], n)
    age = rng.integers(180, 273, n).astype(np.float64)
    rows, later, money = [], np.zeros(n), np.zeros(n)
    for i in range(n):
        t, known = 0.0, [0.0]
        while rng.random() >= leave[i] or t == 0.0:
            t += rng.exponential(7.0 / rate[i])
            if t > age[i] + future:
                break
            if t <= age[i]:
                known.append(t)
            else:
                later[i] += 1
                money[i] += rng.gamma(SPEND["p"], 1.0 / mean_scale[i])
        rows += [(i, age[i] - day, rng.gamma(SPEND["p"], 1.0 / mean_scale[i])) for day in known]
    owner, days_before, dollars = (np.array(c) for c in zip(*rows, strict=True))
    return summarise(owner.astype(np.int64), days_before, dollars, n), later, money


@pytest.fixture(scope="module")
def world() -> tuple[Rfm, Floats, Floats]:
    """4,000 customers and their next 90 days."""
    return simulate(4000, 1, 90.0)


@pytest.fixture(scope="module")
def models(world: tuple[Rfm, Floats, Floats]) -> PurchaseModels:
    """Both models, fitted to them."""
    return PurchaseModels.fit(world[0])


def test_histories_are_summarised_by_hand() -> None:
    """Three purchases: the first counts for the age and the total, the others for frequency and money."""
    found = summarise(np.array([0, 0, 0, 1]), np.array([40.0, 10.0, 200.0, 7.0]), np.array([6.0, 2.0, 30.0, 5.0]), 2)
    assert found.frequency.tolist() == [2.0, 0.0]
    assert found.recency.tolist() == [190.0, 0.0]
    assert found.age.tolist() == [200.0, 7.0]
    assert found.monetary.tolist() == [4.0, 0.0]
    assert found.total.tolist() == [38.0, 5.0]
    assert found.features()[0].tolist() == [10.0, 2.0, 4.0, 200.0, 38.0]


def log_likelihood(rfm: Rfm, r: float, alpha: float, a: float, b: float) -> float:
    """Mean log-likelihood of BG/NBD, equation (6) of the paper, time in weeks."""
    x, recency, age = rfm.frequency, rfm.recency / 7.0, rfm.age / 7.0
    first = special.betaln(a, b + x) - special.betaln(a, b) + special.gammaln(r + x) - special.gammaln(r)
    alive = first + r * np.log(alpha) - (r + x) * np.log(alpha + age)
    gone = special.betaln(a + 1, b + np.maximum(x, 1) - 1) - special.betaln(a, b)
    gone = gone + special.gammaln(r + x) - special.gammaln(r) + r * np.log(alpha) - (r + x) * np.log(alpha + recency)
    return float(np.mean(np.where(x > 0, np.logaddexp(alive, gone), alive)))


def test_the_fit_is_a_maximum_of_the_published_likelihood(
    world: tuple[Rfm, Floats, Floats], models: PurchaseModels
) -> None:
    """No step of 2 % in any parameter is more likely, nor is the truth; and the fit is near the truth."""
    rfm, best = world[0], log_likelihood(world[0], **models.purchases)
    for name in TRUTH:
        for factor in (0.98, 1.02):
            moved = {**models.purchases, name: models.purchases[name] * factor}
            assert log_likelihood(rfm, **moved) < best + 1e-9
    assert log_likelihood(rfm, **TRUTH) < best
    assert models.purchases["r"] == pytest.approx(TRUTH["r"], rel=0.15)
    assert models.purchases["alpha"] == pytest.approx(TRUTH["alpha"], rel=0.25)
    assert models.spend["p"] / (models.spend["q"] - 1) * models.spend["v"] == pytest.approx(30.0, rel=0.05)


def test_expected_purchases_are_the_published_formula(
    world: tuple[Rfm, Floats, Floats], models: PurchaseModels
) -> None:
    """Equation (10) of the paper, with scipy's hypergeometric function."""
    rfm, t = world[0], 90.0 / 7.0
    r, alpha, a, b = (models.purchases[k] for k in ("r", "alpha", "a", "b"))
    x, recency, age = rfm.frequency, rfm.recency / 7.0, rfm.age / 7.0
    hypergeometric = special.hyp2f1(r + x, b + x, a + b + x - 1, t / (alpha + age + t))
    top = (a + b + x - 1) / (a - 1) * (1 - ((alpha + age) / (alpha + age + t)) ** (r + x) * hypergeometric)
    gone = a / (b + np.maximum(x, 1) - 1) * ((alpha + age) / (alpha + recency)) ** (r + x)
    np.testing.assert_allclose(models.expected_purchases(rfm, 90.0), top / (1 + (x > 0) * gone), rtol=1e-6)


def test_expected_spend_is_the_published_mean(world: tuple[Rfm, Floats, Floats], models: PurchaseModels) -> None:
    """p·(v + x·m) / (p·x + q − 1): for nobody known, that is p·v / (q − 1)."""
    rfm, (p, q, v) = world[0], (models.spend[k] for k in ("p", "q", "v"))
    expected = p * (v + rfm.frequency * rfm.monetary) / (p * rfm.frequency + q - 1)
    np.testing.assert_allclose(models.expected_spend(rfm), expected, rtol=1e-9)


def test_revenue_is_forecast_in_the_models_own_world(world: tuple[Rfm, Floats, Floats], models: PurchaseModels) -> None:
    """Purchases and dollars of the next 90 days come out, over all and where history is long, within four errors."""
    rfm, later, money = world
    predicted = models.expected_revenue(rfm, (30, 90))
    assert (predicted[:, 0] < predicted[:, 1]).all()
    for rows in (np.ones(len(later), dtype=bool), rfm.frequency >= 3):
        for forecast, came in ((models.expected_purchases(rfm, 90.0), later), (predicted[:, 1], money)):
            gap = (forecast - came)[rows]
            assert abs(gap.mean()) < 4.0 * gap.std() / len(gap) ** 0.5


def test_purchases_of_nothing_do_not_break_the_fit(world: tuple[Rfm, Floats, Floats]) -> None:
    """Customers whose every later purchase was free are left out of the spending model, and are predicted."""
    rfm = world[0]
    monetary = np.where(np.arange(len(rfm.monetary)) % 50 == 0, 0.0, rfm.monetary)
    free = Rfm(rfm.frequency, rfm.recency, rfm.age, monetary, rfm.total)
    found = PurchaseModels.fit(free).expected_revenue(free, (90,))
    assert np.isfinite(found).all()
    assert (found >= 0.0).all()


def test_customers_who_are_all_alike_are_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], world: tuple[Rfm, Floats, Floats]
) -> None:
    """One rate for all leaves the spread of rates at infinity; nothing is printed of the search for it."""
    rfm = summarise(np.arange(2000) // 4, np.tile([210.0, 140.0, 70.0, 0.0], 500), np.full(2000, 9.0), 500)
    with pytest.raises(DataError, match=r"^BG/NBD: expected histories"):
        PurchaseModels.fit(rfm)
    assert capsys.readouterr().out == ""


def test_without_the_extra_one_line_says_what_to_run(
    world: tuple[Rfm, Floats, Floats], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The models need a package that only this benchmark needs."""
    original = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "lifetimes":
            raise ImportError("no lifetimes")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match=r"scripts/setup\.sh cdnow"):
        PurchaseModels.fit(world[0])


def test_cdnow_gives_about_the_published_parameters() -> None:
    """r .243, α 4.414, a .793, b 2.426 and p 6.25, q 3.74, v 15.44 are the papers', on a tenth of these customers."""
    purchases = read_purchases(real_file())
    before = purchases.day <= 10_134  # 30 September 1997
    days = (10_134 - purchases.day[before]).astype(np.float64)
    rfm = summarise(purchases.customer[before], days, purchases.dollars[before], len(purchases.customers))
    found = PurchaseModels.fit(rfm)
    published = {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}, {"p": 6.25, "q": 3.74, "v": 15.44}
    for ours, theirs in zip((found.purchases, found.spend), published, strict=True):
        assert ours == pytest.approx(theirs, rel=0.15)
