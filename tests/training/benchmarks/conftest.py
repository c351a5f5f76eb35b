"""Made-up CDNOW customers and a bundle trained on them, with a handful of trees."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.support.cdnow import made_up
from training.config import load
from training.data.cdnow import prepare
from training.pipeline import train

CONFIG = Path(__file__).parents[3] / "config" / "cdnow.yaml"


@dataclass(frozen=True)
class Shop:
    """Where the raw file, the prepared customers and the bundle lie."""

    raw: Path
    data: Path
    bundle: Path


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """1,200 customers; the shipped declaration, fewer trees."""
    folder = tmp_path_factory.mktemp("shop")
    raw = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    training = raw["training"]
    for name in ("classifier", "regressors", "log_mean"):
        training[name] |= {"rounds": 8, "learning_rate": 0.2}
    training["folds"] = 2
    training["report"] |= {"replicates": 10, "baseline_rounds": 4, "pictures": False}
    config = folder / "cdnow.yaml"
    config.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    found = Shop(made_up(folder / "raw.txt", 1200, seed=4), folder / "data", folder / "models" / "shop")
    prepare(found.raw, found.data)
    train(*load(config), found.data, found.bundle)
    return found
