"""Rows that are never in memory together give what the same rows give in memory, to the last bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.features.columns import Columns
from app.features.layout import Layout
from app.features.matrix import FeaturePlan
from app.features.spec import Declaration
from tests.training.conftest import Tiny
from training.config import SamplingConfig, TrainingConfig
from training.data.dataset import Dataset
from training.data.masking import draw_mask, mask_history
from training.learning.boosting import Floats, Matrix, Runtime
from training.learning.options import BoosterConfig
from training.samples import Prepared, Sample, gate_horizon, read_sample, time_folds
from training.scale import finished, loading, pieces
from training.scale.finished import Finished
from training.scale.loading import Loader, TrainingRows, identity
from training.scale.workers import LocalWorkers


@pytest.fixture(scope="module")
def dataset(tiny: Tiny) -> Dataset:
    return Dataset(tiny.data, tiny.declaration)


def silent(_: int) -> None:
    """Nobody watches."""


def loaded(
    dataset: Dataset, config: TrainingConfig, directory: Path, as_of: object = None
) -> tuple[TrainingRows, Prepared]:
    """All hours as the training part."""
    loader = Loader(dataset, config, LocalWorkers(2), Finished(directory, *identity(dataset, config)))
    rows = loader.training(dataset.partitions, as_of, silent)
    return rows, loader.features(rows, as_of, silent)


def in_memory(sample: Sample, declaration: Declaration, config: TrainingConfig) -> tuple[FeaturePlan, Columns, Floats]:
    """The oracle: all rows at once, by the definition of the features."""
    rows, states = draw_mask(len(sample), config.history_mask, config.seed)
    columns = mask_history(sample.columns, Layout(declaration), rows, states)
    fold = time_folds(columns.now, config.folds)
    gate, revenue = sample.labels.buyer, np.nan_to_num(sample.labels.revenue[:, gate_horizon(declaration)])
    plan = FeaturePlan.fit(declaration, columns, gate, revenue)
    return plan, columns, plan.transform_out_of_fold(columns, gate, revenue, fold)


@pytest.mark.parametrize("folds", [2, 5, 12])
def test_plan_and_features_are_those_of_all_rows_in_memory(
    dataset: Dataset, tiny: Tiny, tmp_path: Path, folds: int
) -> None:
    """Fitted state, X in every bit, states, folds and labels; with more folds than hours, which cut hours, too."""
    config = tiny.training.model_copy(update={"folds": folds})
    sample = read_sample(dataset, dataset.partitions, None, silent)
    plan, columns, X = in_memory(sample, tiny.declaration, config)
    rows, found = loaded(dataset, config, tmp_path)
    assert found.plan.fingerprint == plan.fingerprint
    assert np.asarray(found.X).tobytes() == X.tobytes()
    np.testing.assert_array_equal(found.state, columns.row_state)
    np.testing.assert_array_equal(found.fold, time_folds(columns.now, folds))
    np.testing.assert_array_equal(found.labels.revenue, sample.labels.revenue)
    assert rows.kept.row_id.tolist() == sample.row_id.tolist()


def test_a_rank_of_an_encoding_is_fitted_after_it(dataset: Dataset, tiny: Tiny, tmp_path: Path) -> None:
    """Rows are read once more where what is ranked has to be fitted first."""
    raw = {**tiny.declaration.raw, "ranks": {**tiny.declaration.ranks, "features": ["bcat.sum", "country.rate"]}}
    declaration = Declaration.from_dict(raw)
    ranked = Dataset(dataset.path, declaration)
    plan, _, X = in_memory(read_sample(ranked, ranked.partitions, None, silent), declaration, tiny.training)
    _, found = loaded(ranked, tiny.training, tmp_path)
    assert "country.rate.rank" in found.plan.names
    assert found.plan.fingerprint == plan.fingerprint
    assert np.asarray(found.X).tobytes() == X.tobytes()


def test_a_booster_from_disk_is_the_booster_from_memory(dataset: Dataset, tiny: Tiny, tmp_path: Path) -> None:
    """LightGBM bins a `Sequence` of files as it bins the array: the same trees, and the same scores of blocks."""
    _, found = loaded(dataset, tiny.training, tmp_path)
    config = BoosterConfig(rounds=10, leaves=8, learning_rate=0.1, min_leaf=20)
    boosters = [
        Matrix(X, Runtime(3, 1)).fit({"objective": "binary"}, found.labels.buyer, found.fold == 0, config)
        for X in (found.X, np.asarray(found.X))
    ]
    assert boosters[0].model_to_string() == boosters[1].model_to_string()
    matrix = Matrix(found.X, Runtime(3, 1))
    np.testing.assert_array_equal(matrix.scores(boosters[0]), boosters[0].predict(np.asarray(found.X), raw_score=True))


def test_hours_whose_gate_is_not_mature_train_nothing(dataset: Dataset, tiny: Tiny, tmp_path: Path) -> None:
    """They are left out as if they were not there: in the features, the mask and the folds."""
    as_of = "2025-10-08T05:00:00"  # the D7 labels of the first six hours have come to their end
    rows, found = loaded(dataset, tiny.training, tmp_path, as_of)
    assert [p.partition for p in rows.pieces] == list(dataset.partitions[:6])
    sample = read_sample(dataset, dataset.partitions[:6], as_of, silent)
    plan, _, X = in_memory(sample, tiny.declaration, tiny.training)
    assert found.plan.fingerprint == plan.fingerprint
    assert np.asarray(found.X).tobytes() == X.tobytes()


def test_a_share_of_the_rows_is_the_same_share_every_time(dataset: Dataset, tiny: Tiny, tmp_path: Path) -> None:
    """`train_frac` draws rows of every hour, by seed and hour; calibration and validation are cut by `heldout_rows`."""
    config = tiny.training.model_copy(update={"sampling": SamplingConfig(train_frac=0.5, heldout_rows=1000)})
    rows, found = loaded(dataset, config, tmp_path)
    assert 0.45 < len(found.labels) / dataset.rows < 0.55
    assert len(rows.pieces) == len(dataset.partitions)
    sample = read_sample(dataset, dataset.partitions, None, silent)
    drawn = np.concatenate([p.drawn() for p in rows.pieces])
    plan, _, X = in_memory(sample.take(dataset.layout, drawn), tiny.declaration, config)
    assert found.plan.fingerprint == plan.fingerprint
    assert np.asarray(found.X).tobytes() == X.tobytes()
    loader = Loader(dataset, config, LocalWorkers(1), Finished(tmp_path / "other"))
    held_out = loader.held_out("validation", dataset.partitions[-4:], None, silent)
    assert 850 < len(held_out) < 1150
    assert len(np.unique(held_out.columns.now)) == 4


def test_features_are_built_once(dataset: Dataset, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on disk is read; a partition that is missing or cut short is built again, and only that one."""
    rows, found = loaded(dataset, tiny.training, tmp_path)
    before = np.asarray(found.X)
    shards = sorted(tmp_path.glob("*/features-*/*.f32"))
    assert len(shards) == len(dataset.partitions)
    shards[2].unlink()
    shards[5].write_bytes(shards[5].read_bytes()[:-4])
    built: list[str] = []
    original = pieces.build

    def spy(piece: Any, what: Any) -> int:
        built.append(piece.partition.name)
        return original(piece, what)

    monkeypatch.setattr(loading, "build", spy)
    _, again = loaded(dataset, tiny.training, tmp_path)
    assert sorted(built) == [rows.pieces[2].partition.name, rows.pieces[5].partition.name]
    assert np.asarray(again.X).tobytes() == before.tobytes()


def test_declaration_settings_and_code_are_in_the_key(
    dataset: Dataset, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of any of them finds nothing of what was there, and leaves it alone."""
    loaded(dataset, tiny.training, tmp_path)
    other = Declaration.from_dict({**tiny.declaration.raw, "encoder": {"min_count": 5}})
    changed = [
        (Dataset(dataset.path, other), tiny.training),
        (dataset, tiny.training.model_copy(update={"seed": 99})),
        (dataset, tiny.training.model_copy(update={"history_mask": 0.3})),
        (dataset, tiny.training.model_copy(update={"folds": 3})),
    ]
    for data, config in changed:
        loaded(data, config, tmp_path)
    assert len(list(tmp_path.iterdir())) == 5
    assert len({p.parent for p in tmp_path.glob("*/features-*/*.f32")}) == 5
    before = {p: p.read_bytes() for p in tmp_path.glob("*/features-*/*.f32")}
    monkeypatch.setattr(finished, "code", lambda paths: "another version")
    loaded(dataset, tiny.training, tmp_path)
    assert len(list(tmp_path.iterdir())) == 6
    assert all(p.read_bytes() == content for p, content in before.items())


def test_a_file_that_changed_is_read_anew(tiny: Tiny, dataset: Dataset, tmp_path: Path) -> None:
    """Another size or time of change of any file is another key."""
    first = identity(dataset, tiny.training)
    assert first == identity(Dataset(tiny.data, tiny.declaration), tiny.training)
    touched = replace(dataset.partitions[0], files=(tmp_path / "part-0.parquet",))
    (tmp_path / "part-0.parquet").write_bytes(dataset.partitions[0].files[0].read_bytes())
    other = Dataset(tiny.data, tiny.declaration)
    other.partitions = (touched, *other.partitions[1:])
    assert identity(other, tiny.training) != first


def test_features_come_from_the_compiled_plan_or_else_from_numpy(dataset: Dataset, tiny: Tiny, tmp_path: Path) -> None:
    """The twin is compiled beside the features and gives their bits; a worker on which it does not load has numpy."""
    _, found = loaded(dataset, tiny.training, tmp_path)
    before = np.asarray(found.X).tobytes()
    (library,) = tmp_path.glob("*/features.so")
    source = pieces.Source(dataset, None, tiny.training.history_mask, tiny.training.seed)
    fresh = FeaturePlan(tiny.declaration, found.plan.user_encoder, found.plan.row_encoder, found.plan.ranks)
    assert pieces.Building(source, {0: fresh}, {}, tmp_path, library).compiled(0).twin is not None
    library.unlink()
    library.write_bytes(b"of another platform")
    for shard in tmp_path.glob("*/features-*/*.f32"):
        shard.unlink()
    _, again = loaded(dataset, tiny.training, tmp_path)
    assert np.asarray(again.X).tobytes() == before
    plain = FeaturePlan(tiny.declaration, found.plan.user_encoder, found.plan.row_encoder, found.plan.ranks)
    assert pieces.Building(source, {0: plain}, {}, tmp_path, library).compiled(0).twin is None
