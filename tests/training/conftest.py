"""A tiny market and the bundle trained on it, made once for the tests that need a whole one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from app.features.spec import Declaration
from training.config import TrainingConfig, load
from training.data.synthetic import generate
from training.pipeline import Trained, train

SMADEX = Path(__file__).parents[2] / "config" / "smadex.yaml"
TREES = {"rounds": 8, "leaves": 4, "learning_rate": 0.2, "min_leaf": 20}


@dataclass(frozen=True)
class Tiny:
    """Where the tiny market, its configuration and its bundle lie, and what `train` returned."""

    data: Path
    config: Path
    declaration: Declaration
    training: TrainingConfig
    trained: Trained


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped declaration with a handful of trees."""
    raw = yaml.safe_load(SMADEX.read_text(encoding="utf-8"))
    raw["training"] |= {
        "folds": 2,
        "threads": 1,
        "classifier": TREES,
        "regressors": {**TREES, "ratio_rounds": 3},
        "log_mean": TREES,
        "meta": {**TREES, "ship": "always"},
    }
    raw["training"]["report"] |= {"replicates": 10, "baseline_rounds": 4, "pictures": False}
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6,000 rows of ten hours."""
    out = tmp_path_factory.mktemp("market") / "day"
    generate(6000, out, seed=3, hours=10)
    return out


@pytest.fixture(scope="session")
def tiny(tiny_config: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The bundle of the tiny market."""
    declaration, training = load(tiny_config)
    trained = train(declaration, training, tiny_data, tmp_path_factory.mktemp("models") / "tiny")
    return Tiny(tiny_data, tiny_config, declaration, training, trained)
