"""Every switch of the configuration at once, from rows to a bundle that proves itself and answers the same offline."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from app.errors import DeclarationError
from app.features.matrix import FeaturePlan
from app.inference.predictor import Predictor
from tests.training.conftest import TREES
from training.config import TrainingConfig, load
from training.data.dataset import Dataset
from training.pipeline import SELECTION, Trained, train

SWITCHED = {
    "classifier": {**TREES, "negatives_kept": 0.5, "positive_weight": 2.0},
    "regressors": {**TREES, "objective": "order_penalised", "resampling": {"method": "histos", "mode": "samples"}},
    "meta": {**TREES, "ship": "always", "log_loss": "huber"},
    "calibration": {"probability": "beta"},
    "selection": {"importance_kept": 0.9, "rounds": 8, "elimination": {"drop": 0.3, "tolerance": 0.02}},
}


@pytest.fixture(scope="module")
def switched(tiny_config: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    declaration, training = load(tiny_config)
    config = TrainingConfig.from_dict({**training.model_dump(exclude_none=True), **SWITCHED}, declaration)
    return train(declaration, config, tiny_data, tmp_path_factory.mktemp("switched") / "bundle")


def test_the_bundle_proves_itself_with_fewer_features(switched: Trained, tiny_config: Path) -> None:
    """Hashes, certificate and golden rows agree; the plan is what the selection kept, in the declaration's order."""
    predictor = Predictor.load(switched.bundle)
    selection = json.loads((switched.bundle / SELECTION).read_text())
    whole = FeaturePlan.unfitted(load(tiny_config)[0]).names
    assert predictor.plan.names == tuple(selection["kept"])
    assert [n for n in whole if n in predictor.plan.names] == selection["kept"]
    assert set(selection["kept"]) | set(selection["dropped"]) == set(whole)
    assert len(selection["kept"]) < len(whole) / 2
    assert len(predictor.plan.aggregates.names) < len(FeaturePlan.unfitted(predictor.declaration).aggregates.names)
    predictor.close()


def test_rows_of_a_data_set_get_ordered_calibrated_answers(switched: Trained, tiny_data: Path) -> None:
    """Columns of the whole layout go in; probabilities sum to the buyers' number, no row is out of order."""
    predictor = Predictor.load(switched.bundle)
    dataset = Dataset(tiny_data, predictor.declaration)
    p_sum = buyers = 0.0
    for rows in dataset.read(dataset.partitions, targets=True):
        answers = predictor.ensemble.predict(predictor.plan.transform(rows.columns), rows.columns.row_state)
        assert (np.diff(answers.ltv, axis=1) >= 0).all()
        assert rows.targets is not None
        p_sum += float(answers.p_buyer.sum())
        buyers += float(rows.targets[predictor.declaration.targets.gate].sum())
    assert 0.8 < p_sum / buyers < 1.25
    assert switched.evaluation["order_violations"]["pltv"] == 0
    predictor.close()


def test_bad_switches_are_one_line(tiny_config: Path) -> None:
    """An impossible share or an unknown method names its key."""
    declaration, training = load(tiny_config)
    raw = training.model_dump(exclude_none=True)
    for section, value, expected in (
        ("selection", {"importance_kept": 0.0}, "training.selection.importance_kept"),
        ("selection", {"elimination": {"patience": 0}}, "training.selection.elimination.patience"),
        ("calibration", {"probability": "platt"}, "training.calibration.probability"),
        ("classifier", {**TREES, "negatives_kept": 1.5}, "training.classifier.negatives_kept"),
        ("regressors", {**TREES, "resampling": {"method": "smote"}}, "training.regressors.resampling.method"),
        ("regressors", {**TREES, "objective": "mape"}, "training.regressors.objective"),
    ):
        with pytest.raises(DeclarationError, match=f"^{expected.replace('.', '[.]')}: ") as caught:
            TrainingConfig.from_dict({**raw, section: value}, declaration)
        assert "\n" not in str(caught.value)
