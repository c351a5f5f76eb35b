"""Tests of training.evaluation.metrics."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import sklearn.metrics

from tests.training.evaluation.market import market, repeat
from training.evaluation import metrics
from training.evaluation.ranking import Floats

Oracle = Callable[[Floats, Floats], float]
ORACLES: dict[str, Oracle] = {
    "msle": lambda y, f: sklearn.metrics.mean_squared_log_error(y, f),
    "rmsle": lambda y, f: sklearn.metrics.root_mean_squared_log_error(y, f),
    "mae": lambda y, f: sklearn.metrics.mean_absolute_error(y, f),
    "rmse": lambda y, f: sklearn.metrics.root_mean_squared_error(y, f),
    "r2": lambda y, f: sklearn.metrics.r2_score(y, f),
    "mape_payers": lambda y, f: sklearn.metrics.mean_absolute_percentage_error(y[y > 0], f[y > 0]),
    "nrmse": lambda y, f: math.sqrt(sum((b - a) ** 2 for a, b in zip(y, f, strict=True)) / len(y)) / y.mean(),
    "nmae": lambda y, f: sum(abs(b - a) for a, b in zip(y, f, strict=True)) / float(y.sum()),
    "bias": lambda y, f: math.fsum(f) / math.fsum(y),
}


def _rows(n: int, seed: int) -> tuple[Floats, Floats]:
    _, rows = market(n, seed)
    assert rows.oracle is not None
    return rows.y[:, 1], rows.oracle.ltv[:, 1]


@pytest.mark.parametrize("name", ORACLES)
def test_metric_equals_its_oracle(name: str) -> None:
    """Each amount metric equals scikit-learn's or a loop's."""
    y, y_hat = _rows(700, 1)
    assert getattr(metrics, name)(y, y_hat) == pytest.approx(ORACLES[name](y, y_hat))


@pytest.mark.parametrize("name", [*ORACLES, "decile_mape"])
def test_an_integer_weight_is_that_many_rows(name: str) -> None:
    """Weighted metrics equal the plain ones on repeated rows."""
    y, y_hat = _rows(300, 2)
    counts = np.random.default_rng(0).integers(0, 4, 300)
    long_y, long_y_hat = repeat(counts.tolist(), y, y_hat)
    metric = getattr(metrics, name)
    assert metric(y, y_hat, counts.astype(np.float64)) == pytest.approx(metric(long_y, long_y_hat))


def test_decile_mape_is_the_loop() -> None:
    """Mean over tenths by prediction of |mean ŷ − mean y| / mean y."""
    y, y_hat = _rows(2000, 3)
    parts = np.split(np.argsort(-y_hat), 10)
    slow = np.mean([abs(y_hat[part].mean() - y[part].mean()) / y[part].mean() for part in parts])
    assert metrics.decile_mape(y, y_hat) == pytest.approx(slow)


def test_scale_changes_amounts_and_not_order() -> None:
    """Twice the prediction has twice the bias and the same order metrics."""
    y, y_hat = _rows(500, 4)
    assert metrics.bias(y, 2.0 * y_hat) == pytest.approx(2.0 * metrics.bias(y, y_hat))
    for same in (metrics.gini, metrics.spearman, metrics.missed_whales, metrics.mutual_gini):
        assert same(y, 2.0 * y_hat) == pytest.approx(same(y, y_hat))


def test_realised_bias_caps_the_whale() -> None:
    """Revenue above the payers' 99.9th percentile does not count; zeros do not move the percentile."""
    y = np.concatenate([np.zeros(5000), np.ones(2000), [1e9]])
    assert metrics.cap_of_payers(y) < 10.0
    assert metrics.realised_bias(y, np.full(7001, 2000 / 7001)) == pytest.approx(1.0, abs=0.01)


def test_order_violations_counts_rows() -> None:
    """A row that falls anywhere, by a last bit too, is one violation; equality is none."""
    ltv = np.array([[1.0, 1.0, 2.0], [1.0, np.nextafter(1.0, 0.0), 2.0], [3.0, 2.0, 1.0]])
    assert metrics.order_violations(ltv) == 2


def test_lift_table_adds_up() -> None:
    """Tenths hold all rows and all revenue, best first."""
    y, y_hat = _rows(1000, 5)
    table = metrics.lift_table(y, y_hat)
    assert [bin_["rows"] for bin_ in table] == [100] * 10
    assert table[-1]["cumulative_share"] == pytest.approx(1.0)
    assert table[0]["realised"] == pytest.approx(y[np.argsort(-y_hat)[:100]].mean())
    assert table[0]["lift"] == pytest.approx(table[0]["realised"] / y.mean())


def test_undefined_is_nan() -> None:
    """Without revenue the ratios to revenue are NaN, never an error."""
    y, y_hat = np.zeros(5), np.ones(5)
    for undefined in (metrics.nrmse, metrics.nmae, metrics.mape_payers, metrics.bias, metrics.realised_bias):
        assert np.isnan(undefined(y, y_hat))
    for without in (metrics.r2, metrics.decile_mape, metrics.normalised_gini, metrics.missed_whales):
        assert np.isnan(without(y, y_hat))
