"""An interrupted training: the next one takes up what was finished and gives the bundle of one that was not broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import Tiny
from training import pipeline
from training.config import TrainingConfig
from training.learning.options import SelectionConfig
from training.pipeline import train
from training.scale import loading

STAGES = {
    "outline": loading,
    "build": loading,
    "read_held_out": loading,
    "select_features": pipeline,
    "fit_base": pipeline,
}
"""What each stage calls, and where it is looked up."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what the stages call, as they are called."""
    made: list[str] = []

    def spied(name: str, original: Any) -> Any:
        def spy(*args: Any) -> Any:
            made.append(name)
            return original(*args)

        spy.__name__ = name
        return spy

    for name, module in STAGES.items():
        monkeypatch.setattr(module, name, spied(name, getattr(module, name)))
    return made


def without_extras(tiny: Tiny) -> TrainingConfig:
    """No meta-learner and no baselines, which are not what is looked at here."""
    report = tiny.training.report.model_copy(update={"baseline_rounds": 0})
    return tiny.training.model_copy(update={"meta": None, "report": report})


def broken_at(stage: str, monkeypatch: pytest.MonkeyPatch, *args: Any, **options: Any) -> None:
    """Train until a stage is called, and be interrupted there."""

    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, stage, interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(*args, **options)


def test_an_interrupted_training_takes_up_its_finished_stages(
    tiny: Tiny, tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken in the learners, then after them: each run does what is not done, and the bundle is the same."""
    selection = SelectionConfig(rounds=4, rows=2000, most_correlation=0.9, importance_kept=0.95)
    config = without_extras(tiny).model_copy(update={"selection": selection})
    whole = train(tiny.declaration, config, tiny.data, tmp_path / "whole" / "tiny")
    assert set(calls) == set(STAGES)
    what = tiny.declaration, config, tiny.data, tmp_path / "tiny"
    processed = tmp_path / "processed"
    broken_at("fit_base", monkeypatch, *what, processed=processed)
    calls.clear()
    broken_at("assemble_ensemble", monkeypatch, *what, processed=processed)
    assert calls == ["fit_base"]
    calls.clear()
    again = train(*what, processed=processed)
    assert calls == []
    assert again.manifest.feature_names == whole.manifest.feature_names
    files = [name for name in whole.manifest.files if name.startswith(("models/", "encoders", "golden", "ensemble"))]
    assert len(files) > 5
    for name in files:
        if not name.endswith(".npz"):  # an archive carries the time
            assert again.manifest.files[name].sha256 == whole.manifest.files[name].sha256, name


def test_other_learners_learn_on_the_same_features(
    tiny: Tiny, tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the learners are told is in the key of the models, and not in that of the rows and features."""
    config, processed = without_extras(tiny), tmp_path / "processed"
    for rounds in (2, 3):
        calls.clear()
        other = config.model_copy(update={"classifier": config.classifier.model_copy(update={"rounds": rounds})})
        what = tiny.declaration, other, tiny.data, tmp_path / "tiny"
        broken_at("assemble_ensemble", monkeypatch, *what, processed=processed)
    assert calls == ["fit_base"]
