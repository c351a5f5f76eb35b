"""Two bundles of the tiny market: the good one, and a stump of it that knows little."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.training.conftest import Tiny
from training import pipeline
from training.config import load
from training.data.synthetic import generate
from training.evaluation.variants import changed, read_yaml

STUMP = {"classifier": {"rounds": 1}, "log_mean": {"rounds": 1}, "regressors": {"rounds": 1}, "meta": None}


@pytest.fixture(scope="session")
def stump(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tree a model, trained and published like any bundle but for its report, which takes longest."""
    folder = tmp_path_factory.mktemp("stump")
    config = folder / "stump.yaml"
    config.write_text(yaml.safe_dump(changed(read_yaml(tiny.config), {"training": STUMP})), encoding="utf-8")

    def judged(*_: Any) -> dict[str, Any]:
        return tiny.trained.evaluation

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "judge", judged)
        return pipeline.train(*load(config), tiny.data, folder / "stump").bundle


@pytest.fixture(scope="session")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12,000 rows of the next day."""
    out = tmp_path_factory.mktemp("later") / "day"
    generate(12_000, out, seed=4, hours=6, start=datetime.date(2025, 10, 2))
    return out


@pytest.fixture
def models(tiny: Tiny, stump: Path, tmp_path: Path) -> Path:
    """A folder of both, nothing in use."""
    folder = tmp_path / "models"
    shutil.copytree(tiny.trained.bundle, folder / "good")
    shutil.copytree(stump, folder / "stump")
    return folder
