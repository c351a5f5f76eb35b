"""Tests of training.validation and of what it makes of an embargo."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.features.matrix import FeaturePlan
from app.inference.manifest import read_manifest
from tests.training.conftest import Tiny
from training import samples
from training.config import MaturityConfig, SplitConfig
from training.data.dataset import Dataset, Partition
from training.data.splits import temporal_split
from training.data.synthetic import generate
from training.evaluation.drift import Reference
from training.examining import training_reference
from training.pipeline import train
from training.samples import Sample, read_sample


def test_an_embargo_trains_what_could_have_been_deployed(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels teach and calibrate only where they were mature when validation began; all of its own labels judge."""
    mature: dict[str, set[bool]] = {}

    def reading(dataset: Dataset, partitions: Sequence[Partition], *rest: Any) -> Sample:
        found = read_sample(dataset, partitions, *rest)
        known = np.isfinite(found.labels.revenue[:, -1])
        mature.setdefault(partitions[0].name.removeprefix("datetime=2025-")[:5], set()).update(known.tolist())
        return found

    monkeypatch.setattr(samples, "read_sample", reading)
    data = tmp_path / "months"
    data.mkdir()
    for i, (day, hours) in enumerate({"10-01": 6, "10-24": 3, "10-28": 3, "11-10": 3}.items()):
        generate(1200 * hours, tmp_path / day, seed=i, start=date.fromisoformat(f"2025-{day}"), hours=hours)
        for hour in (tmp_path / day).iterdir():
            hour.rename(data / hour.name)
    split = SplitConfig.model_validate({"train_until": "2025-10-20", "calibration_until": "2025-11-10"})
    report = tiny.training.report.model_copy(update={"baseline_rounds": 0})
    changes = {"split": split, "maturity": MaturityConfig(embargo=True), "report": report}
    trained = train(tiny.declaration, tiny.training.model_copy(update=changes), data, tmp_path / "deployable")
    # On 10 November day 14 of the 24 October is known, that of the 28 October is not.
    assert mature == {"10-01": {True}, "10-24": {True}, "10-28": {False}, "11-10": {True}}
    rows = trained.evaluation["rows"]
    assert trained.evaluation["mature_rows"] == {"d1": rows, "d7": rows, "d14": rows}
    assert trained.evaluation["split"] == trained.manifest.metrics["split"] == "deployable"
    text = (trained.bundle / "report.md").read_text()
    assert "(deployable split)" in text
    assert trained.evaluation["baselines"] == []


def test_the_reference_is_of_the_training_rows(tiny: Tiny) -> None:
    """`drift.json` holds every feature and category, of the rows that trained, with features as they are served."""
    loaded = Reference.load(tiny.trained.bundle)
    assert loaded is not None
    manifest = read_manifest(tiny.trained.bundle)
    assert loaded.rows == manifest.data_window["train"]["rows"]
    assert set(loaded.numbers) == set(manifest.feature_names)
    dataset = Dataset(tiny.data, tiny.declaration)
    part = temporal_split(dataset.partitions, tiny.training.split.options()).train
    sample = read_sample(dataset, part, None, lambda _: None)
    fresh = training_reference(sample, FeaturePlan.load(tiny.declaration, tiny.trained.bundle))
    assert fresh.categories["country"].shares == pytest.approx(loaded.categories["country"].shares, abs=1e-5)
    name = manifest.feature_names[0]
    np.testing.assert_array_equal(fresh.numbers[name].edges, loaded.numbers[name].edges)
