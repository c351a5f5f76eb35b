"""Tests of training.evaluation.baselines."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from tests.training.evaluation.market import HORIZONS, SIGMA, market
from training.evaluation import metrics
from training.evaluation.baselines import Baseline, Ziln, _expected_log1p, fit_baselines
from training.evaluation.ranking import Floats
from training.evaluation.rows import EvaluationRows

PARAMS = {"num_boost_round": 60, "num_leaves": 15, "learning_rate": 0.1}


def _fit(X: Floats, rows: EvaluationRows, y: Floats) -> list[Baseline]:
    labels = {h: y[:, c] for c, h in enumerate(HORIZONS)}
    return fit_baselines(X, labels, rows.buyer, horizons=HORIZONS, seed=1, num_threads=1, params=PARAMS)


@pytest.fixture(scope="module")
def fitted() -> dict[str, Baseline]:
    """The five baselines on 6,000 rows of the known market."""
    X, rows = market(6000, 21)
    return {baseline.name: baseline for baseline in _fit(X, rows, rows.y)}


@pytest.fixture(scope="module")
def later() -> tuple[Floats, EvaluationRows]:
    """Another 6,000 rows."""
    return market(6000, 22)


def test_all_five_answer(fitted: dict[str, Baseline], later: tuple[Floats, EvaluationRows]) -> None:
    """Every baseline gives finite, non-negative answers of the declared shapes, the same ones again."""
    X, _ = later
    assert list(fitted) == ["constant", "tweedie", "log1p_l2", "two_stage", "ziln"]
    for baseline in fitted.values():
        answer, again = baseline.predict(X), baseline.predict(X)
        assert answer.ltv.shape == (6000, 3)
        assert answer.log_mean.shape == (6000,)
        for array in (answer.ltv, answer.log_mean):
            assert np.isfinite(array).all()
            assert (array >= 0.0).all()
        np.testing.assert_array_equal(answer.ltv, again.ltv)


def test_constant_is_the_training_mean(fitted: dict[str, Baseline]) -> None:
    """The constant answers the training means of buyers, revenue and log1p revenue."""
    _, rows = market(6000, 21)
    answer = fitted["constant"].predict(np.zeros((2, 3)))
    np.testing.assert_allclose(answer.ltv[1], rows.y.mean(axis=0))
    assert answer.p_buyer is not None
    assert answer.p_buyer[0] == pytest.approx(rows.buyer.mean())
    assert answer.log_mean[0] == pytest.approx(np.expm1(np.log1p(rows.y[:, 1]).mean()))


@pytest.mark.parametrize("name", ["tweedie", "log1p_l2", "two_stage", "ziln"])
def test_baselines_find_the_signal(
    name: str, fitted: dict[str, Baseline], later: tuple[Floats, EvaluationRows]
) -> None:
    """On a market made for them the baselines order well, and those that model the mean sum to it."""
    X, rows = later
    assert rows.oracle is not None
    answer, expected = fitted[name].predict(X), rows.oracle.ltv[:, 1]
    assert metrics.normalised_gini(expected, answer.ltv[:, 1]) > 0.85
    assert metrics.bias(expected, answer.ltv[:, 1]) == pytest.approx(1.0, abs=0.25)


def test_the_log_answer_wins_on_logs(fitted: dict[str, Baseline], later: tuple[Floats, EvaluationRows]) -> None:
    """expm1 of the log booster has less MSLE than its own smeared mean and than the Tweedie mean."""
    X, rows = later
    y, log_l2 = rows.y[:, 1], fitted["log1p_l2"].predict(X)
    ours = metrics.msle(y, log_l2.log_mean)
    assert ours < metrics.msle(y, log_l2.ltv[:, 1])
    assert ours < metrics.msle(y, fitted["tweedie"].predict(X).log_mean)


def test_ziln_finds_sigma(fitted: dict[str, Baseline], later: tuple[Floats, EvaluationRows]) -> None:
    """The gamma booster on squared residuals is the variance of log revenue, in the mean."""
    ziln = fitted["ziln"]
    assert isinstance(ziln, Ziln)
    s2 = np.asarray(ziln.variances[1].predict(later[0]))
    assert s2.mean() == pytest.approx(SIGMA**2, rel=0.25)


@pytest.mark.parametrize(("mu", "s"), [(-2.0, 0.5), (1.0, 1.0), (3.0, 2.0)])
def test_expected_log1p_is_the_integral(mu: float, s: float) -> None:
    """Gauss-Hermite equals adaptive quadrature of log1p under the log-normal."""
    density = stats.norm(mu, s).pdf
    slow, _ = integrate.quad(lambda z: np.logaddexp(0.0, z) * density(z), mu - 12 * s, mu + 12 * s)
    assert _expected_log1p(np.array([mu]), np.array([s]))[0] == pytest.approx(slow, abs=2e-3)


def test_immature_labels_are_left_out() -> None:
    """Rows whose label is NaN at a horizon do not teach that horizon."""
    X, rows = market(2000, 23)
    y = rows.y.copy()
    y[:500, 2] = np.nan
    constant, tweedie, *_ = _fit(X, rows, y)
    assert constant.predict(X[:1]).ltv[0, 2] == pytest.approx(rows.y[500:, 2].mean())
    kept = _fit(X, rows, rows.y)[1].predict(X).ltv
    np.testing.assert_array_equal(tweedie.predict(X).ltv[:, 1], kept[:, 1])
    assert (tweedie.predict(X).ltv[:, 2] != kept[:, 2]).any()


def test_the_log_horizon_must_exist() -> None:
    """A log horizon that is not predicted is refused."""
    X, rows = market(50, 24)
    with pytest.raises(ValueError, match="28"):
        fit_baselines(X, {1: rows.y[:, 0]}, rows.buyer, horizons=[1], seed=0, num_threads=1, log_horizon=28)
