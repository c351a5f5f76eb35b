"""Tests of training.dashboard.comparing."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from app.errors import DataError
from training.dashboard.comparing import agreement, by_group, check, furthest, log_ratio, pairs, shared_top
from training.dashboard.distributions import OTHERS
from training.dashboard.scoring import Answered


def test_a_bundle_agrees_with_itself(answered: Answered) -> None:
    """Same mean, same order, every row close, the same dearest tenth, at every horizon."""
    for one in agreement(answered, answered):
        assert one.mean_first == one.mean_second
        assert one.spearman == pytest.approx(1.0)
        assert (one.close, one.shared_top) == (1.0, 1.0)
    assert [one.horizon for one in agreement(answered, answered)] == [1, 7, 14]


def test_doubled_prices_keep_the_order_and_nothing_else(answered: Answered, doubled: Answered) -> None:
    """Rank correlation 1 and the same dearest tenth; no row is close, and all ratios are 2."""
    for one in agreement(answered, doubled):
        assert one.mean_second == pytest.approx(2.0 * one.mean_first)
        assert one.spearman == pytest.approx(1.0)
        assert (one.close, one.shared_top) == (0.0, 1.0)
    a, b = answered.predictions.ltv[:, 1], doubled.predictions.ltv[:, 1]
    np.testing.assert_allclose(np.exp(log_ratio(a, b)), 2.0)


def test_the_dearest_tenth_is_counted_row_by_row() -> None:
    """Of twenty rows the dearest are two; one of them is shared. Of equal prices the earlier rows are taken."""
    a = np.arange(20.0)
    b = np.where(a == 19.0, -1.0, a)
    assert shared_top(a, b) == 0.5
    assert shared_top(np.ones(20), np.ones(20)) == 1.0
    assert log_ratio(np.zeros(1), np.zeros(1))[0] == 0.0


def test_dots_are_rows(answered: Answered, doubled: Answered) -> None:
    """Each dot has its row's prices by both, its identity, and whether it bought."""
    dots = pairs(answered, doubled, 2)
    assert len(dots) == 700
    place = {identity: i for i, identity in enumerate(answered.rows.sample.row_id.tolist())}
    for dot in dots[:50]:
        i = place[dot["row_id"]]
        assert dot["first"] == answered.predictions.ltv[i, 2]
        assert dot["second"] == doubled.predictions.ltv[i, 2]
        assert dot["bought"] == ("bought" if answered.rows.sample.labels.buyer[i] else "did not buy")


def test_groups_have_means_by_both(answered: Answered, doubled: Answered) -> None:
    """The largest by name, the others together; rows add up."""
    groups = [str(i % 5) if i < 690 else f"rare {i}" for i in range(700)]
    lines = by_group(answered, doubled, 1, groups, 5)
    assert [line["group"] for line in lines] == ["0", "1", "2", "3", "4", OTHERS]
    assert sum(line["rows"] for line in lines) == 700
    assert lines[3]["first"] == pytest.approx(float(answered.predictions.ltv[3:690:5, 1].mean()))
    assert lines[3]["ratio"] == pytest.approx(2.0)
    assert len(by_group(answered, doubled, 1, ["all"] * 700, 5)) == 1


def test_rows_furthest_apart_come_first(answered: Answered, doubled: Answered) -> None:
    """For doubled prices they are the dearest ones."""
    prices = answered.predictions.ltv[:, 1].tolist()
    dearest = sorted(range(700), key=lambda i: -prices[i])[:15]
    assert [prices[i] for i in furthest(answered, doubled, 1, 15)] == [prices[i] for i in dearest]


def test_other_rows_and_other_horizons_are_refused(answered: Answered, doubled: Answered) -> None:
    """One line that names the bundle."""
    check(answered, doubled)
    sample = dataclasses.replace(doubled.rows.sample, row_id=doubled.rows.sample.row_id[::-1])
    others = dataclasses.replace(doubled, rows=dataclasses.replace(doubled.rows, sample=sample))
    with pytest.raises(DataError, match=r"^double: expected the same rows as first, received others$"):
        check(answered, others)
    declaration = doubled.bundle.predictor.declaration
    targets = dataclasses.replace(declaration.targets, horizons=(1, 7))
    shorter: Any = type("Shorter", (), {"declaration": dataclasses.replace(declaration, targets=targets)})()
    bundle = dataclasses.replace(doubled.bundle, predictor=shorter)
    with pytest.raises(DataError, match=r"^double: expected horizons \[1, 7, 14\], received \[1, 7\]$"):
        check(answered, dataclasses.replace(doubled, bundle=bundle))
