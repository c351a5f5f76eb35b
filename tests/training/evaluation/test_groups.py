"""Tests of training.evaluation.groups."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.bootstrap import poisson_weights
from training.evaluation.groups import GroupSums


def test_sums_are_those_of_a_loop() -> None:
    """Every replicate's sum of every group and column equals a loop over rows, an empty group's is zero."""
    generator = np.random.default_rng(0)
    codes, columns = generator.integers(0, 3, 50), generator.normal(size=(50, 2))
    codes[codes == 1] = 2
    weights = poisson_weights(50, 7, seed=1)
    sums = GroupSums(codes, 3, columns, weights)
    slow = np.zeros((7, 3, 2))
    for r in range(7):
        for i in range(50):
            slow[r, codes[i]] += weights[r, i] * columns[i]
    np.testing.assert_allclose(sums.replicates, slow, atol=1e-12)
    assert sums.value[1].tolist() == [0.0, 0.0]
    assert sums.value[2] == pytest.approx(columns[codes == 2].sum(axis=0))


def test_ratios_and_shares() -> None:
    """A ratio is column by column, NaN without a denominator; shares of all groups sum to one in each replicate."""
    codes = np.array([0, 0, 1, 2])
    columns = np.array([[1.0, 2.0], [3.0, 2.0], [5.0, 10.0], [1.0, 0.0]])
    sums = GroupSums(codes, 3, columns, poisson_weights(4, 30, seed=0))
    assert [one.value for one in sums.ratios(0, 1)[:2]] == [1.0, 0.5]
    assert np.isnan(sums.ratios(0, 1)[2].value)
    shares = sums.shares(0)
    assert [one.value for one in shares] == [0.4, 0.5, 0.1]
    total = np.sum([one.replicates for one in shares], axis=0)
    assert total[np.isfinite(total)] == pytest.approx(1.0)
