"""Forms and strategies: `math` on single rows is the oracle."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from app.inference.compiled import CompiledModel
from app.inference.ensemble import Ensemble, blend, meta_feature_names, meta_features
from app.inference.forms import MOST, link, softmax
from app.inference.specification import Curve, EnsembleSpec, LibrarySpec, LinearSpec, Output, Recalibration
from tests.inference.conftest import HEADS, N_FEATURES, make_rows

GATE, LOG_MEAN = Output("gate", "logit"), Output("log_mean", "gated")


def arranged(spec: EnsembleSpec, form: str, outputs: tuple[Output, ...], strategy: str = "two_stage") -> EnsembleSpec:
    """The specification with one base library of these outputs, and no meta-learner."""
    base = (LibrarySpec("base.so", N_FEATURES, outputs),)
    return dataclasses.replace(spec, base=base, meta=None, form=form, strategy=strategy)


def test_increments_add_up(spec: EnsembleSpec) -> None:
    """Each horizon adds its own dollars to those before it."""
    found = link(
        np.array([[0.0, *map(math.log, (2.0, 3.0, 0.5)), 0.0]]), arranged(spec, "increments", (GATE, *HEADS, LOG_MEAN))
    )
    assert found.conditional[:, 0].tolist() == pytest.approx([2.0, 5.0, 5.5])
    assert found.expected[:, 0].tolist() == pytest.approx([1.0, 2.5, 2.75])


def test_smeared_logs_come_back_as_dollars(spec: EnsembleSpec) -> None:
    """e^f - 1, and nothing below nothing."""
    raw = np.array([[0.0, math.log(3.0), 1e-9, -2.0, 0.0], [0.0, 1e6, -1e6, 0.0, 0.0]])
    found = link(raw, arranged(spec, "smeared", (GATE, *HEADS, LOG_MEAN)))
    assert found.conditional[:, 0].tolist() == [pytest.approx(2.0), pytest.approx(1e-9, rel=1e-6), 0.0]
    assert found.conditional[:, 1].tolist() == [pytest.approx(math.expm1(50.0)), 0.0, 0.0]


def test_experts_are_weighed_by_their_shares(spec: EnsembleSpec) -> None:
    """Σ π_k·e^{g_k} of one horizon, times a ratio for the others; the shares are features of the meta-learner."""
    outputs = (
        Output("expert_0", "log"), Output("segment_1", "share"), GATE, Output("d1", "log"), LOG_MEAN,
        Output("d14", "log"), Output("expert_1", "log"), Output("segment_0", "share"),
    )  # fmt: skip
    mixture = arranged(spec, "experts", outputs)
    raw = np.array([[math.log(4.0), 1.0 + math.log(3.0), 0.0, math.log(0.5), 0.0, math.log(2.0), math.log(40.0), 1.0]])
    found = link(raw, mixture)
    assert found.shares[:, 0].tolist() == pytest.approx([0.25, 0.75])
    assert found.conditional[:, 0].tolist() == pytest.approx([15.5, 31.0, 62.0])
    names = meta_feature_names(mixture)
    assert names[7:] == ("segment_0", "segment_1", "log_mean")
    assert meta_features(raw, mixture)[0, 7:9].tolist() == pytest.approx([0.25, 0.75])
    assert link(np.full((1, 8), 1e6), mixture).conditional.max() == MOST


def test_shares_of_any_scores_sum_to_one() -> None:
    """Equal scores share alike, however large; one far above takes all."""
    assert [float(x[0]) for x in softmax([np.array([900.0])] * 4)] == [0.25] * 4
    assert [float(x[0]) for x in softmax([np.array([-1e6]), np.array([1e6])])] == [0.0, 1.0]


def test_a_price_free_of_the_gate(spec: EnsembleSpec) -> None:
    """Dollars are e^f whatever the gate says; the probability, and E[log1p y], still are the gate's."""
    raw = np.array([[math.log(3.0), 0.0, math.log(2.0), math.log(4.0), 2.0]])
    mix = blend(raw, None, arranged(spec, "exp", (GATE, *HEADS, LOG_MEAN), "free"))
    assert mix.ltv[:, 0].tolist() == pytest.approx([1.0, 2.0, 4.0])
    assert (mix.p_buyer[0], mix.log_mean[0]) == pytest.approx((0.75, 1.5))


def test_resampled_stages_are_undone_first(spec: EnsembleSpec) -> None:
    """The gate by its curve, dollars by a factor of their logarithm, before either is multiplied."""
    halved, doubled = Curve(np.array([0.0, 1.0]), np.array([0.0, 0.5])), Curve.constant(2.0)
    undo = Recalibration(halved, (Curve.constant(), doubled, Curve(np.log1p([1.0, 3.0]), np.array([1.0, 3.0]))))
    resampled = dataclasses.replace(arranged(spec, "exp", (GATE, *HEADS, LOG_MEAN)), recalibration=undo)
    found = link(np.array([[0.0, 0.0, 0.0, math.log(3.0), 0.0]]), resampled)
    assert float(found.p[0]) == 0.25
    assert found.conditional[:, 0].tolist() == pytest.approx([1.0, 2.0, 9.0])
    assert found.expected[:, 0].tolist() == pytest.approx([0.25, 0.5, 2.25])


def test_a_library_reads_what_one_before_it_said(spec: EnsembleSpec, base_library: Path, meta_library: Path) -> None:
    """X, then the scores rounded to float32; the columns of the raw scores follow the specification."""
    first, second = CompiledModel(meta_library, 7, 4), CompiledModel(base_library, 8, 4)
    outputs = [Output(name, "identity") for name in ("a", "b", "c")]
    base = (
        LibrarySpec("one.so", 7, (GATE, *HEADS)),
        LibrarySpec("two.so", 8, (Output("log_mean", "identity"), *outputs), ("d7",)),
    )
    net = LinearSpec(
        "net", 0.5, (2, 0), np.array([7.0, 1.0]), np.zeros(2), np.array([1.0, 2.0]), np.array([10.0, -1.0])
    )
    chained = dataclasses.replace(spec, base=base, meta=None, linear=(net,))
    X = make_rows(41, 50, 7)
    raw = Ensemble(chained, [first, second], None).base.predict_raw(X)
    scores = first.predict_raw(X)
    own = np.ascontiguousarray(np.column_stack([X, scores[:, 2].astype(np.float32)]))
    assert np.array_equal(raw[:, :8], np.column_stack([scores, second.predict_raw(own)]))
    for x, total in zip(X.tolist(), raw[:, 8].tolist(), strict=True):
        third = 7.0 if math.isnan(x[2]) else x[2]
        one = 1.0 if math.isnan(x[0]) else x[0]
        assert total == 0.5 + 10.0 * min(max(third, 0.0), 1.0) - min(max(one, 0.0), 2.0)
    assert len({*raw[:, 8].tolist()}) > 10
