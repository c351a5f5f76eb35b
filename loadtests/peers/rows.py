"""The peers' job. A bundle and bodies enter; boosters, ready rows and the right answers leave.

`own` is the bundle's boosters as they are and the X that the service computes of the same requests. `narrow` is easier
still: four of the boosters learned anew, with as many trees of as many leaves, on the 96 features that they use most;
what they learn is what the bundle's own say. In both a missing value is its column's median, so that JSON can carry a
row as plain numbers, and no history is read, nothing calibrated, nothing put in order.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from app.inference.predictor import Predictor
from app.inference.specification import EnsembleSpec
from loadtests.benchmarks.processes import ROOT
from loadtests.benchmarks.scenarios.models import matrix
from loadtests.payloads import Body
from training.publishing.compilation import load_models

Floats = NDArray[np.float64]

CASES: Final = ("own", "narrow")
N_ROWS: Final = 2_000
NARROW: Final = 96
NARROW_BOOSTERS: Final = 4
_TRAINING_ROWS: Final = 10_000
_DIGITS: Final = 6  # as a caller would write a number; 96 of them are a body of about 800 bytes
_PARAMETERS: Final = {
    "objective": "regression", "learning_rate": 0.08, "min_data_in_leaf": 20, "feature_fraction": 0.4,
    "deterministic": True, "seed": 7, "num_threads": 1, "verbosity": -1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Job:
    """What every peer is given.

    Parameters
    ----------
    directory : Path
        `NAME.txt` of LightGBM and `NAME.so` of tl2cgen for every line NAME of `names.txt`.
    X : ndarray of shape (n_rows, n_features), float64
        Rows to send in turn, without a missing value.
    scores : ndarray of shape (n_rows, n_boosters), float64
        `Booster.predict` of each row.
    """

    directory: Path
    X: Floats
    scores: Floats


def job(bundle: Path, bodies: Sequence[Body], kept: Path, case: str) -> Job:
    """Make the peers' job, or read what an earlier run made of the same bundle and sources.

    Parameters
    ----------
    bundle : Path
    bodies : sequence of dict
        `/predict` bodies with their history.
    kept : Path
        Where it is kept, by the hash of what it was made of.
    case : str
        One of `CASES`.
    """
    place = kept / f"peers-{case}-{_fingerprint(bundle, len(bodies))}"
    if not (place / "X.npy").exists():
        for old in kept.glob(f"peers-{case}-*/"):
            shutil.rmtree(old)
        place.mkdir(parents=True)
        _make(bundle, bodies, place, case)
    X = np.load(place / "X.npy")
    names = (place / "names.txt").read_text().split()
    return Job(place, X, scores_of([lgb.Booster(model_file=place / f"{name}.txt") for name in names], X))


def scores_of(boosters: Sequence[lgb.Booster], X: Floats, *, raw: bool = False) -> Floats:
    """(n_rows, n_boosters): what LightGBM itself says."""
    return np.column_stack([booster.predict(X, raw_score=raw, num_threads=1) for booster in boosters])


def base_of(bundle: Path, spec: EnsembleSpec) -> dict[str, lgb.Booster]:
    """The boosters of the base models by name.

    Raises
    ------
    RuntimeError
        Where they read each other's answers, or are more than LightGBM's: ready rows are not all that they need.
    """
    library, names = spec.base[0], [output.name for output in spec.base[0].outputs]
    if len(spec.base) > 1 or spec.linear:
        raise RuntimeError(f"{bundle}: expected one library of base models, received {len(spec.base)}")
    return dict(zip(names, load_models(bundle, library), strict=True))


def learn(X: Floats, y: Floats, like: lgb.Booster) -> lgb.Booster:
    """A booster of the shape of another: as many trees, of as many leaves as its largest.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features), float64
    y : ndarray of shape (n_rows,), float64
    like : lightgbm.Booster
    """
    parameters = {**_PARAMETERS, "num_leaves": leaves(like)}
    return lgb.train(parameters, lgb.Dataset(X, y), num_boost_round=like.num_trees())


def leaves(booster: lgb.Booster) -> int:
    """Leaves of the largest tree, at least two."""
    return max(2, *(int(tree["num_leaves"]) for tree in booster.dump_model()["tree_info"]))


def ready(X: Floats) -> Floats:
    """A matrix as a caller has it at hand: a missing value is its column's median, numbers have six digits."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)  # a column that nobody has is all 0
        medians = np.nan_to_num(np.nanmedian(X, axis=0))
    written = np.char.mod(f"%.{_DIGITS}g", np.where(np.isnan(X), medians, X))
    return written.astype(np.float64)


def most_used(boosters: Sequence[lgb.Booster], width: int) -> NDArray[np.intp]:
    """Columns by how many splits use them: the first `width`, in the order of the matrix."""
    splits = np.sum([booster.feature_importance("split") for booster in boosters], axis=0)
    return np.sort(np.argsort(-splits, kind="stable")[:width])


def _make(bundle: Path, bodies: Sequence[Body], place: Path, case: str) -> None:
    predictor = Predictor.load(bundle, golden=False)
    found = base_of(bundle, predictor.ensemble.spec)
    names, own = list(found), list(found.values())
    X = matrix(predictor, list(bodies), min(_TRAINING_ROWS, len(bodies)))
    predictor.close()
    if case == "own":
        rows, boosters = ready(X[:N_ROWS]), own
    else:
        names, own = names[:NARROW_BOOSTERS], own[:NARROW_BOOSTERS]
        rows = ready(X[:, most_used(own, NARROW)])
        boosters = [learn(rows, y, booster) for y, booster in zip(scores_of(own, X, raw=True).T, own, strict=True)]
    for name, booster in zip(names, boosters, strict=True):
        booster.save_model(place / f"{name}.txt")
    (place / "names.txt").write_text("\n".join(names) + "\n")
    _compile(place)
    _save(place / "X.npy", rows[:N_ROWS])


def _compile(place: Path) -> None:
    """Let tl2cgen say what it says to a file."""
    with (place / "compiling.log").open("wb") as log:
        command = [sys.executable, "-m", "loadtests.peers.compiling", str(place)]
        subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, check=True)


def _save(path: Path, X: Floats) -> None:
    """In one step: this file says that the rest is there."""
    part = path.with_suffix(".part.npy")
    np.save(part, X)
    part.replace(path)


def _fingerprint(bundle: Path, n: int) -> str:
    parts = [path.read_bytes() for path in sorted((bundle / "models").glob("base.*.txt"))]
    return hashlib.sha256(b"".join(parts) + Path(__file__).read_bytes() + str(n).encode()).hexdigest()[:12]
