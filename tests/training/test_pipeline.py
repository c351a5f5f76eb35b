"""The pipeline: a bundle that proves itself, the same again from the same data, and honest preparation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.errors import DataError
from app.features.spec import HistoryState
from app.inference.predictor import Predictor
from tests.training.conftest import Tiny
from training.config import MaturityConfig
from training.data.dataset import Dataset
from training.pipeline import train
from training.samples import gate_horizon, read_sample, time_folds


def test_the_bundle_loads_and_answers_its_golden_rows(tiny: Tiny) -> None:
    """Hashes, certificate and golden rows agree; nothing is left beside the bundle."""
    predictor = Predictor.load(tiny.trained.bundle)
    assert predictor.manifest.name == "tiny"
    assert predictor.ensemble.meta is not None
    predictor.close()
    assert [p.name for p in tiny.trained.bundle.parent.iterdir()] == ["tiny"]


def test_golden_rows_hold_every_state_and_shape(tiny: Tiny) -> None:
    """At least 64 requests: each history state, several campaigns, empty and absent maps."""
    lines = [json.loads(line) for line in (tiny.trained.bundle / "golden.jsonl").read_text().splitlines()]
    assert len(lines) >= 64
    assert {line["input"]["state"] for line in lines} == {state.label for state in HistoryState}
    assert max(len(line["input"]["campaigns"]) for line in lines) > 1
    assert any([] in line["input"]["history"].values() for line in lines if line["input"]["history"])


def test_report_model_card_and_metrics_are_in_the_bundle(tiny: Tiny) -> None:
    """JSON, Markdown and the card; the manifest carries the headline, the oracle among the predictors."""
    bundle = tiny.trained.bundle
    report = json.loads((bundle / "report.json").read_text())
    assert report["predictors"][0] == "pltv"
    assert report["predictors"][-1] == "oracle"
    assert report["order_violations"]["pltv"] == 0
    assert set(report["simulated_states"]) == {"unavailable", "withheld"}
    assert report["stacking"]["squared_log_error_with"] > 0
    card = (bundle / "MODEL_CARD.md").read_text()
    assert "meta-learner ships" in card
    assert "Strategy `two_stage`, horizons by `ratios` of `lognormal`." in card
    assert not (bundle / "plots").exists()  # not asked for
    assert set(tiny.trained.manifest.metrics["ltv"]) == {"d1", "d7", "d14"}


def test_the_same_data_and_seed_give_the_same_bundle(tiny: Tiny, tmp_path: Path) -> None:
    """Every file but those that carry the time is equal, byte for byte."""
    again = train(tiny.declaration, tiny.training, tiny.data, tmp_path / "tiny")
    for name, entry in tiny.trained.manifest.files.items():
        if not name.startswith(("plots/", "report.md", "MODEL_CARD")) and not name.endswith((".so", ".npz")):
            if name == "certificate.json":
                continue
            assert again.manifest.files[name].sha256 == entry.sha256, name


def test_without_a_gain_the_meta_learner_leaves_no_trace(tiny: Tiny, tmp_path: Path) -> None:
    """`ship: auto` on labels that say nothing more: no library, no model text, no certificate of it."""
    assert tiny.training.meta is not None
    auto = tiny.training.model_copy(
        update={"meta": tiny.training.meta.model_copy(update={"ship": "auto", "rounds": 1})}
    )
    trained = train(tiny.declaration, auto, tiny.data, tmp_path / "plain")
    assert not trained.evaluation["stacking"]["earned"]
    assert "meta.so" not in trained.manifest.files
    assert not list((trained.bundle / "models").glob("meta.*"))
    assert set(json.loads((trained.bundle / "certificate.json").read_text())["libraries"]) == {"base.so"}
    Predictor.load(trained.bundle).close()


def test_labels_that_are_not_mature_are_refused_in_one_line(tiny: Tiny, tmp_path: Path) -> None:
    """Labels read the next day hold no mature D7: nothing is trained, nothing is left behind."""
    config = tiny.training.model_copy(update={"maturity": MaturityConfig.model_validate({"as_of": "2025-10-02"})})
    with pytest.raises(DataError, match="expected a mature buyer in the training part"):
        train(tiny.declaration, config, tiny.data, tmp_path / "models" / "none")
    assert not (tmp_path / "models").exists()


def test_immature_labels_and_refunds_are_cleaned(tiny: Tiny) -> None:
    """A horizon counts once its days have passed; revenue below zero becomes 0 and is counted."""
    dataset = Dataset(tiny.data, tiny.declaration)
    sample = read_sample(dataset, dataset.partitions, "2025-10-09T00:00:00", lambda _: None)
    assert np.isfinite(sample.labels.revenue[:, :2]).all()
    assert np.isnan(sample.labels.revenue[:, 2]).all()
    assert np.isfinite(sample.labels.buyer).all()
    assert sample.refunds == 0
    assert gate_horizon(tiny.declaration) == 1
    named = replace(tiny.declaration, targets=replace(tiny.declaration.targets, gate="converted", log_mean=14))
    assert gate_horizon(named) == 2


def test_folds_are_cut_in_time_and_hours_stay_whole() -> None:
    """Fold numbers rise with time, no hour is in two folds; too few hours are dealt out by position."""
    now = np.repeat(np.arange(12) * 3600.0, np.arange(1, 13))
    fold = time_folds(now, 4)
    assert (np.diff(fold) >= 0).all()
    assert set(fold.tolist()) == {0, 1, 2, 3}
    assert all(len(set(fold[now == hour].tolist())) == 1 for hour in np.unique(now))
    assert set(time_folds(np.zeros(10), 4).tolist()) == {0, 1, 2, 3}
