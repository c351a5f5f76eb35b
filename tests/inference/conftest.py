"""Small real boosters and their compiled libraries, made once a session."""

from __future__ import annotations

import shutil
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest
from numpy.typing import NDArray

from app.inference import bundle
from app.inference.specification import Calibration, Curve, EnsembleSpec, LibrarySpec, MultiplierSpec, Output
from training.publishing.compilation import compile_library

N_FEATURES = 8
HORIZONS = (1, 7, 14)
HEADS = tuple(Output(f"d{h}", "log") for h in HORIZONS)


def make_rows(seed: int, n_rows: int, n_features: int = N_FEATURES) -> NDArray[np.float64]:
    """Rows on the float32 grid; a fifth of the values is missing."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_features)) * 3
    X[rng.random(X.shape) < 0.2] = np.nan
    X[:, 3] = np.round(X[:, 3])
    return X.astype(np.float32).astype(np.float64)


def train(objective: str, X: NDArray[np.float64], y: NDArray[np.float64], **parameters: object) -> lgb.Booster:
    """A booster of 20 trees with 15 leaves."""
    options = {
        "objective": objective,
        "num_leaves": 15,
        "num_threads": 1,
        "verbose": -1,
        "seed": 1,
        **parameters,
    }
    return lgb.train(options, lgb.Dataset(X, y), 20)


@pytest.fixture(scope="session")
def base_boosters() -> list[lgb.Booster]:
    """A gate and three horizons; the last feature is constant, so that no tree uses it."""
    X = make_rows(0, 1500)
    X[:, -1] = 1.0
    rng = np.random.default_rng(1)
    score = np.nan_to_num(X[:, 0]) / 3 + np.isnan(X[:, 1]) + rng.normal(size=len(X))
    spend = np.exp(np.clip(score, -3, 3))
    labels = [("tweedie", spend), ("tweedie", spend * 1.5), ("gamma", spend * 1.7)]
    return [train("binary", X, (score > 0.5).astype(np.float64)), *(train(objective, X, y) for objective, y in labels)]


@pytest.fixture(scope="session")
def base_library(base_boosters: list[lgb.Booster], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base boosters, merged and compiled."""
    path = tmp_path_factory.mktemp("base") / "base.so"
    compile_library(base_boosters, path)
    return path


@pytest.fixture(scope="session")
def meta_boosters() -> list[lgb.Booster]:
    """Three corrections and a log-mean over the seven meta-features."""
    X = np.abs(make_rows(2, 800, 7))
    rng = np.random.default_rng(3)
    y = np.nan_to_num(X[:, 4]) / 4 + rng.normal(size=len(X)) / 4
    corrections = [train("regression", X, y * scale) for scale in (0.3, 0.2, 0.1)]
    return [*corrections, train("regression", X, y)]


@pytest.fixture(scope="session")
def meta_library(meta_boosters: list[lgb.Booster], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The meta boosters, merged and compiled."""
    path = tmp_path_factory.mktemp("meta") / "meta.so"
    compile_library(meta_boosters, path)
    return path


@pytest.fixture(scope="session")
def spec() -> EnsembleSpec:
    """A specification with a meta-learner and a calibration that changes every number."""
    rng = np.random.default_rng(4)
    calibration = Calibration(
        p_buyer=Curve(np.array([0.0, 0.3, 0.7, 1.0]), np.array([0.0, 0.2, 0.75, 0.9])),
        ltv=tuple(Curve(np.array([0.0, 0.5, 1.0, 3.0]), rng.uniform(0.5, 1.5, 4)) for _ in HORIZONS),
        state=rng.uniform(0.8, 1.2, (4, 3)),
        log_mean=Curve(np.array([0.0, 1.0, 4.0]), np.array([0.0, 1.1, 3.7])),
    )
    return EnsembleSpec(
        horizons=HORIZONS,
        base=(LibrarySpec("base.so", N_FEATURES, (Output("gate", "logit"), *HEADS)),),
        meta=LibrarySpec("meta.so", 7, (*HEADS, Output("log_mean", "identity"))),
        calibration=calibration,
        weights=np.array([1.0, 0.7, 0.4]),
        multiplier=MultiplierSpec("bundle", 7, 0.5, 0.25, 4.0, 1.23, {"com.rare": 0.5, "com.dear": 80.0}),
    )


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole bundle, written once; tests change copies of it."""
    from tests.inference.tiny_bundle import build_bundle  # needs the constants above

    root = tmp_path_factory.mktemp("models")
    bundle.write(root / ".staging", root / "shop-1", build_bundle(root / ".staging"))
    return root / "shop-1"


@pytest.fixture
def bundle_copy(published: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may spoil."""
    return Path(shutil.copytree(published, tmp_path / "shop-1"))
