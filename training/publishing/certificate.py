"""A compiled library and what defines its scores enter, the proof that they agree to the last bit leaves."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from app.errors import BundleCorrupt
from app.inference.compiled import CompiledModel

Floats = NDArray[np.float64]

N_RANDOM: Final = 2000
N_SPLITS: Final = 500
FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
ZERO_THRESHOLD: Final = float(np.float32(1e-35))  # LightGBM's kZeroThreshold, the edge of its bin of zeros


@dataclass(frozen=True)
class Oracle:
    """Who says what a library must answer.

    Parameters
    ----------
    name : str
        For the message of a mismatch.
    scores : callable
        X (n_rows, n_features) → raw scores (n_rows, n_targets), which the library's must equal to the last bit.
    splits : callable
        → feature and threshold of every split, each of shape (n_splits,).
    on_grid : bool
        Whether it reads X as float32: what is off that grid would be another row to it.
    near : callable, optional
        Scores of the library that trained the model, where those of `scores` are not its own.
    within : float
        By how much these may differ, relative.
    """

    name: str
    scores: Callable[[Floats], Floats]
    splits: Callable[[], tuple[NDArray[np.int64], Floats]]
    on_grid: bool = False
    near: Callable[[Floats], Floats] | None = None
    within: float = 0.0


def certify(library: CompiledModel, boosters: Sequence[lgb.Booster], X_training: Floats, seed: int) -> dict[str, Any]:
    """Compare a library with LightGBM; arguments as of `certify_by`.

    Parameters
    ----------
    library : CompiledModel
    boosters : sequence of lightgbm.Booster
        In the order of its targets.
    X_training : ndarray of shape (n_rows, n_features), float64
    seed : int
    """
    return certify_by(lightgbm_oracle(boosters), library, X_training, seed)


def certify_by(oracle: Oracle, library: CompiledModel, X_training: Floats, seed: int) -> dict[str, Any]:
    """Compare a library with its oracle, bit for bit, on training, edge and random rows.

    Edge rows are training rows with one value moved onto or one float32 step beside a split's threshold, and
    rows of zeros, negative zeros, missing values and the float32 range's ends. Infinities never reach X.

    Parameters
    ----------
    oracle : Oracle
    library : CompiledModel
    X_training : ndarray of shape (n_rows, n_features), float64
        May have no rows (recompilation): edges then start from random rows.
    seed : int
        Of the sampled splits and the random rows.

    Returns
    -------
    dict
        JSON: rows a kind, the hash of all inputs and of the library, `mismatches` and `max_abs_diff`, both 0; with
        `near` the largest relative difference from it.

    Raises
    ------
    BundleCorrupt
        Naming the kind of row, the row and the target that disagree.
    """
    rng = np.random.default_rng(seed)
    random = random_rows(rng, library.n_features)
    edge = _edge_rows(rng, oracle.splits(), X_training if len(X_training) else random)
    kinds = {
        "training": np.ascontiguousarray(X_training, dtype=np.float64),
        "edge": edge.astype(np.float32).astype(np.float64) if oracle.on_grid else edge,
        "random": random,
    }
    digest, apart = hashlib.sha256(), 0.0
    for kind, X in kinds.items():
        digest.update(X.tobytes())
        apart = max(apart, _compare(library, oracle, kind, X))
    return {
        "library_sha256": hashlib.sha256(library.path.read_bytes()).hexdigest(),
        "seed": seed,
        "n_features": library.n_features,
        "n_targets": library.n_targets,
        "rows": {kind: len(X) for kind, X in kinds.items()},
        "inputs_sha256": digest.hexdigest(),
        "mismatches": 0,
        "max_abs_diff": 0.0,
        **({"max_relative_diff": apart} if oracle.near is not None else {}),
    }


def lightgbm_oracle(boosters: Sequence[lgb.Booster]) -> Oracle:
    """What a library of boosters must answer, in the order of its targets."""
    return Oracle("LightGBM", lambda X: lightgbm_raw(boosters, X), lambda: _splits(boosters))


def lightgbm_raw(boosters: Sequence[lgb.Booster], X: Floats) -> Floats:
    """Return LightGBM's raw scores of shape (n_rows, n_targets)."""
    return np.column_stack([np.asarray(b.predict(X, raw_score=True)).reshape(len(X), -1) for b in boosters])


def random_rows(rng: np.random.Generator, n_features: int) -> Floats:
    """Return rows on the float32 grid over twelve orders of magnitude, a fifth of them missing."""
    shape = (N_RANDOM, n_features)
    values = rng.normal(size=shape) * 10.0 ** rng.uniform(-6, 6, size=shape)
    values[rng.random(shape) < 0.2] = np.nan
    return values.astype(np.float32).astype(np.float64)


def edge_rows(rng: np.random.Generator, boosters: Sequence[lgb.Booster], X: Floats) -> Floats:
    """Return rows at the places where compiled trees could part from LightGBM's."""
    return _edge_rows(rng, _splits(boosters), X)


def _edge_rows(rng: np.random.Generator, splits: tuple[NDArray[np.int64], Floats], X: Floats) -> Floats:
    n_features = X.shape[1]
    constants = np.array([0.0, -0.0, np.nan, FLOAT32_MAX, -FLOAT32_MAX])
    flat = np.repeat(constants[:, None], n_features, axis=1)
    one_missing = X[rng.integers(len(X), size=n_features)].copy()
    np.fill_diagonal(one_missing, np.nan)
    return np.concatenate([flat, one_missing, _threshold_rows(rng, splits, X)])


def _threshold_rows(rng: np.random.Generator, splits: tuple[NDArray[np.int64], Floats], X: Floats) -> Floats:
    features, thresholds = splits[0][finite := np.abs(splits[1]) < FLOAT32_MAX], splits[1][finite]
    chosen = rng.permutation(len(features))[:N_SPLITS]
    features, at = features[chosen], thresholds[chosen]
    grid = at.astype(np.float32)
    below, above = np.nextafter(grid, np.float32(-np.inf)), np.nextafter(grid, np.float32(np.inf))
    moves = [at, grid.astype(np.float64), below.astype(np.float64), above.astype(np.float64)]
    rows = X[np.repeat(rng.integers(len(X), size=len(features)), len(moves))].copy()
    values = np.stack(moves, axis=1).ravel()
    # LightGBM reads what is no larger than its zero threshold as 0 before it decides (c_api.cpp); trees do not.
    values[np.abs(values) <= ZERO_THRESHOLD] = 0.0
    rows[np.arange(len(rows)), np.repeat(features, len(moves))] = values
    return rows


def _splits(boosters: Sequence[lgb.Booster]) -> tuple[NDArray[np.int64], Floats]:
    """Return feature and threshold of every split, read from LightGBM's own text."""
    text = "\n".join(booster.model_to_string() for booster in boosters)
    features = np.array(_numbers(text, "split_feature"), dtype=np.float64).astype(np.int64)
    thresholds = np.array(_numbers(text, "threshold"), dtype=np.float64)
    return features, thresholds


def _numbers(text: str, name: str) -> list[float]:
    lines = re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)
    return [float(number) for line in lines for number in line.split()]


def _compare(library: CompiledModel, oracle: Oracle, kind: str, X: Floats) -> float:
    """Refuse any difference; return the largest relative one from `near`."""
    if not len(X):
        return 0.0
    expected, received = oracle.scores(X), library.predict_raw(X)
    differs = expected.view(np.int64) != received.view(np.int64)
    if differs.any():
        row, target = (int(i) for i in np.argwhere(differs)[0])
        raise BundleCorrupt(
            f"{library.path.name}: {int(differs.sum())} mismatches on {kind} rows, the first at row {row}, "
            f"target {target}: {oracle.name} {float(expected[row, target])!r}, "
            f"compiled {float(received[row, target])!r}"
        )
    return _apart(library, oracle, kind, X, received)


def _apart(library: CompiledModel, oracle: Oracle, kind: str, X: Floats, received: Floats) -> float:
    if oracle.near is None:
        return 0.0
    near = oracle.near(X)
    relative = np.abs(received - near) / np.maximum(np.abs(near), np.finfo(np.float32).tiny)
    worst = float(relative.max())
    if worst > oracle.within:
        row, target = (int(i) for i in np.unravel_index(int(relative.argmax()), relative.shape))
        raise BundleCorrupt(
            f"{library.path.name}: {kind} row {row}, target {target}: expected {float(near[row, target])!r} within "
            f"{oracle.within} relative, compiled {float(received[row, target])!r}"
        )
    return worst
