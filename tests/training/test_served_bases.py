"""The whole stack, from rows to a bundle: every base learner's own library is an oracle of what the service answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import BundleCorrupt, DeclarationError
from app.inference import bundle
from app.inference.predictor import Predictor
from tests.inference.tiny_bundle import edit_manifest
from tests.training.conftest import TREES
from training.config import TrainingConfig, load
from training.data.dataset import Dataset
from training.learning.selection import Comparison
from training.pipeline import Trained, train
from training.publishing.assembling import Assembled, assemble_ensemble
from training.publishing.compilation import recompile

Floats = NDArray[np.float64]

STACK = {
    "meta": {**TREES, "ship": "always", "log_loss": "huber", "huber_delta": 0.5},
    "bases": {"linear": {"alpha": 0.01}, "forest": {"trees": 6}, "xgboost": {**TREES, "rounds": 12}},
    "report": {"replicates": 5, "baseline_rounds": 0, "pictures": False},
}


@dataclass(frozen=True)
class Served:
    """A published stack, its learners as they were fitted, and rows of the market."""

    trained: Trained
    assembled: Assembled
    inputs: tuple[Any, ...]  # of `assemble_ensemble`
    predictor: Predictor
    X: Floats
    state: NDArray[np.int64]


@pytest.fixture(scope="module")
def served(tiny_config: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    declaration, training = load(tiny_config)
    config = TrainingConfig.from_dict({**training.model_dump(exclude_none=True), **STACK}, declaration)
    kept: list[tuple[Assembled, tuple[Any, ...]]] = []

    def assemble(*what: Any) -> Assembled:
        kept.append((assemble_ensemble(*what), what))
        return kept[0][0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.pipeline.assemble_ensemble", assemble)
        trained = train(declaration, config, tiny_data, tmp_path_factory.mktemp("stacked") / "bundle")
    predictor = Predictor.load(trained.bundle)
    dataset = Dataset(tiny_data, declaration)
    rows = next(iter(dataset.read(dataset.partitions[-1:], targets=False)))
    yield Served(trained, *kept[0], predictor, predictor.plan.transform(rows.columns), rows.columns.row_state)
    predictor.close()


def sigmoid(x: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def meta_input(served: Served) -> tuple[Floats, Floats, Floats]:
    """p, E[y | buy] and the meta-learner's X, of each library's own predictions."""
    base = served.assembled.base
    raw = np.column_stack([b.predict(served.X, raw_score=True) for b in base.libraries[0].boosters])
    grown = {one.base.name: one.base.grown_scores(served.X) for one in base.trees}
    linear = base.linear[0].linear
    by_rows = []
    for row in served.X:
        x = [linear.fill[k] if np.isnan(row[j]) else row[j] for k, j in enumerate(linear.columns)]
        by_rows.append(linear.intercept + sum(linear.weight * np.clip(x, linear.lo, linear.hi)))
    p, conditional = sigmoid(raw[:, 0]), np.exp(raw[:, 1:4])
    columns = [p, *np.log1p(conditional).T, *(p[:, None] * conditional).T, raw[:, 4], grown["forest"], grown["xgboost"]]
    return p, conditional, np.column_stack([*columns, by_rows]).astype(np.float32).astype(np.float64)


def test_the_bundle_holds_and_proves_every_learner(served: Served) -> None:
    """A library, plain trees and a certificate each, in no bit away from what grew it; the dot product is data."""
    spec, certificate = served.predictor.ensemble.spec, served.assembled.proofs
    assert [library.library for library in spec.libraries] == ["base.so", "forest.so", "xgboost.so", "meta.so"]
    assert [one.name for one in spec.linear] == ["linear"]
    assert len(spec.linear[0].columns) > 0
    told = f"base learners of other kinds: forest (6 trees), xgboost (12 trees), linear ({len(spec.linear[0].columns)} "
    assert told in (served.trained.bundle / "MODEL_CARD.md").read_text()
    for name in ("forest", "xgboost"):
        assert (served.trained.bundle / "models" / f"{name}.trees.json").is_file()
        proof = certificate[f"{name}.so"]
        assert (proof["mismatches"], proof["max_abs_diff"], proof["max_relative_diff"]) == (0, 0.0, 0.0)


def test_predictions_are_those_of_the_learners_own_libraries(served: Served) -> None:
    """scikit-learn, XGBoost, LightGBM and a loop over features give the service's answers, up to rounding."""
    p, conditional, F = meta_input(served)
    assert served.assembled.meta is not None
    heads = np.column_stack([b.predict(F, raw_score=True) for b in served.assembled.meta.boosters])
    ltv, log_mean = p[:, None] * conditional * np.exp(heads[:, :3]), np.maximum(heads[:, 3], 0.0)
    spec = served.predictor.ensemble.spec
    c = spec.calibration
    for h, curve in enumerate(c.ltv):
        ltv[:, h] *= np.interp(np.log1p(ltv[:, h]), curve.x, curve.y) * c.state[served.state, h]
    answers = served.predictor.ensemble.predict(served.X, served.state)
    ordered = ~answers.corrected
    np.testing.assert_allclose(answers.ltv[ordered], ltv[ordered], rtol=1e-9)
    np.testing.assert_allclose(answers.p_buyer, np.interp(p, c.p_buyer.x, c.p_buyer.y), rtol=1e-9)
    np.testing.assert_allclose(
        answers.log_mean, np.expm1(np.interp(log_mean, c.log_mean.x, c.log_mean.y)), rtol=1e-9, atol=1e-12
    )


def test_alone_and_in_a_batch_compiled_and_by_numpy_the_same_bits(served: Served) -> None:
    """Compiled steps and their definition agree in every bit, for rows together and one by one."""
    ensemble = served.predictor.ensemble
    assert ensemble.twin is not None
    together = ensemble.price(served.X, served.state)
    for i in range(0, len(served.X), 97):
        np.testing.assert_array_equal(ensemble.price(served.X[i : i + 1], served.state[i : i + 1])[0], together[i])
    twin, ensemble.twin = ensemble.twin, None
    np.testing.assert_array_equal(ensemble.price(served.X, served.state), together)
    ensemble.twin = twin


def test_the_meta_learner_was_taught_by_what_is_served(served: Served) -> None:
    """Its features by name, and out-of-fold scores that are near those of the models of all rows, and not the same."""
    base = served.assembled.base
    assert base.out_of_fold.shape[1] == len(served.predictor.ensemble.spec.outputs)
    for one in base.trees:
        assert np.isfinite(one.out_of_fold).all()
    meta = next((served.trained.bundle / "models").glob("meta.d7.txt"))
    assert lgb.Booster(model_file=meta).num_feature() == 1 + 3 + 3 + 4


def test_what_does_not_win_leaves_nothing_behind(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `ship: auto` a stack that is no better takes its base learners along: no library, no model, no output."""
    even = Comparison(1.0, 1.0, 0.0, 1.0, 1.0, 0.0)
    monkeypatch.setattr("training.publishing.assembling.compare", lambda *_: even)
    _, base, rows, calibration, declaration, config = served.inputs
    auto = config.model_copy(update={"meta": config.meta.model_copy(update={"ship": "auto"})})
    assembled = assemble_ensemble(tmp_path, base, rows, calibration, declaration, auto)
    assert [library.library for library in assembled.ensemble.spec.libraries] == ["base.so"]
    assert (assembled.ensemble.spec.linear, assembled.base.trees, assembled.meta) == ((), (), None)
    assert list(assembled.proofs) == ["base.so"]
    assert {path.name.split(".")[0] for path in tmp_path.rglob("*") if path.is_file()} == {"base"}
    assembled.ensemble.close()


def test_another_machine_compiles_the_stack_from_the_bundle(served: Served) -> None:
    """Without scikit-learn's and XGBoost's objects: golden rows come out as they were; damaged trees are one line."""
    path, golden = served.trained.bundle, (served.trained.bundle / bundle.GOLDEN).read_bytes()
    recompile(path)
    assert (path / bundle.GOLDEN).read_bytes() == golden
    trees = path / "models" / "forest.trees.json"
    whole = trees.read_text()
    trees.write_text(json.dumps({**json.loads(whole), "trees": [{}]}))
    edit_manifest(path)
    with pytest.raises(BundleCorrupt, match=r"^forest\.trees\.json: .*KeyError"):
        recompile(path)


def test_bad_settings_are_one_line(tiny_config: Path) -> None:
    """Each names its key; base learners without a reader are refused."""
    declaration, training = load(tiny_config)
    raw = {**training.model_dump(exclude_none=True), **STACK}
    for changed, message in (
        ({"bases": {"forest": {"trees": 0}}}, r"training\.bases\.forest\.trees: .*, received 0"),
        ({"bases": {"xgboost": {"rounds": 3}}}, r"training\.bases\.xgboost\.leaves: is missing"),
        ({"bases": {"linear": {"alpha": -1}}}, r"training\.bases\.linear\.alpha: .*, received -1"),
        ({"bases": {"ridge": {}}}, r"training\.bases\.ridge: no such key"),
        ({"bases": {"linear": None, "forest": None, "xgboost": None}}, r"training\.bases: .* must be there"),
        ({"meta": None}, "training: bases expects meta, which reads their scores"),
        ({"meta": {**TREES, "log_loss": "mae"}}, r"training\.meta\.log_loss: .*, received 'mae'"),
    ):
        with pytest.raises(DeclarationError, match=f"^{message}$") as caught:
            TrainingConfig.from_dict({**raw, **changed}, declaration)
        assert "\n" not in str(caught.value)
