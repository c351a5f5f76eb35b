"""Screening: constants and twins, with scipy as the oracle of rank correlation."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import rankdata

from training.learning.screening import distinct, rank_correlation, varies


def test_constants_go_and_missing_now_and_then_stays() -> None:
    """Constants of any size go, all missing too; a constant that is sometimes missing and a far-off wiggle stay."""
    n = 50
    wiggle = 1e6 + np.arange(n)
    X = np.column_stack(
        [np.full(n, 7.0), np.full(n, np.nan), np.full(n, 3.4e38), np.where(np.arange(n) % 2 == 0, 1.0, np.nan),
         wiggle, np.zeros(n), np.full(n, 0.1), np.where(np.arange(n) == 3, 1e-30, 0.0)]
    )  # fmt: skip
    assert varies(X, 0.0).tolist() == [False, False, False, True, True, False, False, True]


def test_the_threshold_has_no_unit() -> None:
    """Var x / E x² decides, so cents and dollars agree; here it is 1/101 for 10 ± 1."""
    x = np.where(np.arange(100) % 2 == 0, 9.0, 11.0)
    X = np.column_stack([x, 100.0 * x, 1e-6 * x])
    assert varies(X, 1 / 101 - 1e-6).all()
    assert not varies(X, 1 / 101 + 1e-6).any()


@given(
    hnp.arrays(
        np.float64, st.tuples(st.integers(3, 30), st.integers(1, 5)), elements=st.sampled_from([0, 1, 2, 9, np.nan])
    )
)
@settings(max_examples=80)
def test_rank_correlation_is_spearmans(X: np.ndarray) -> None:
    """Pearson's correlation of scipy's mean ranks, missing as the lowest value; 0 where a feature is constant."""
    found = rank_correlation(X)
    ranks = [rankdata(np.where(np.isnan(x), -1e9, x)) for x in X.T]
    for i, a in enumerate(ranks):
        for j, b in enumerate(ranks):
            expected = 0.0 if np.ptp(a) == 0 or np.ptp(b) == 0 else np.corrcoef(a, b)[0, 1]
            np.testing.assert_allclose(found[i, j], expected, atol=1e-9)


def test_of_two_that_are_alike_the_stronger_stays() -> None:
    """Any rising map of a feature, or a falling one, is the feature again; a loosely related one is not."""
    x = np.random.default_rng(0).normal(size=400)
    X = np.column_stack([x, np.exp(x), -(x**3), x + np.random.default_rng(1).normal(size=400)])
    assert distinct(X, np.array([1.0, 3.0, 2.0, 0.5]), 0.95).tolist() == [False, True, False, True]
    assert distinct(X, np.ones(4), 0.95).tolist() == [True, False, False, True]
    assert distinct(X, np.ones(4), 1.0).all()


def test_a_chain_of_neighbours_is_not_swallowed_whole() -> None:
    """A feature goes only for a kept one that is like it, not for one that itself went."""
    rng = np.random.default_rng(2)
    x, noise = rng.normal(size=2000), rng.normal(size=(2000, 2))
    X = np.column_stack([x, x + 0.45 * noise[:, 0], x + 0.45 * noise[:, 0] + 0.5 * noise[:, 1]])
    alike = np.abs(rank_correlation(X)) > 0.88
    assert alike[0, 1]
    assert alike[1, 2]
    assert not alike[0, 2]
    assert distinct(X, np.array([3.0, 2.0, 1.0]), 0.88).tolist() == [True, False, True]
