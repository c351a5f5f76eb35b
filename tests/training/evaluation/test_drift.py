"""Tests of training.evaluation.drift."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.errors import BundleCorrupt
from training.evaluation.drift import FILE, Reference, drift, psi
from training.evaluation.ranking import Floats

NAMES = ("steady", "moved", "lost", "constant", "never")


def sample(seed: int, n: int = 4000) -> Floats:
    """A normal, another, a third with a tenth missing, a constant, and a column that is always missing."""
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(n, 5))
    X[generator.random(n) < 0.1, 2] = np.nan
    X[:, 3], X[:, 4] = 1.0 / 3.0, np.nan
    return X


def texts(seed: int, shares: list[float], n: int = 4000) -> dict[str, np.ndarray]:
    """Countries with some missing."""
    drawn = np.random.default_rng(seed).choice(["us", "de", "br", ""], size=n, p=shares).astype(object)
    drawn[drawn == ""] = None
    return {"country": drawn}


def test_psi_is_the_loop() -> None:
    """PSI equals Σ (q − p)·ln(q/p) written as a loop, is symmetric, and zero for equal shares."""
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.4, 0.2])
    slow = sum((b - a) * float(np.log(b / a)) for a, b in zip(p, q, strict=True))
    assert float(psi(p, q)) == pytest.approx(slow)
    assert float(psi(q, p)) == pytest.approx(slow)
    assert float(psi(p, p)) == 0.0
    assert np.isfinite(psi(np.array([1.0, 0.0]), np.array([0.0, 1.0])))


def test_drift_finds_what_moved(tmp_path: Path) -> None:
    """A shifted column, one that is sent no more and a category in other shares stand out; the others are stable."""
    reference = Reference.fit(sample(0), NAMES, texts(0, [0.5, 0.3, 0.1, 0.1]))
    reference.save(tmp_path)
    loaded = Reference.load(tmp_path)
    assert loaded is not None
    later = sample(1)
    later[:, 1] += 1.0
    later[:, 2] = np.nan
    found = drift(loaded, later, NAMES, texts(1, [0.1, 0.3, 0.5, 0.1]), replicates=50, seed=0)
    verdict = {one["feature"]: one["verdict"] for one in found}
    assert verdict == {
        "lost": "shifted", "moved": "shifted", "country": "shifted",
        "steady": "stable", "constant": "stable", "never": "stable",
    }  # fmt: skip
    assert found[0]["feature"] == "lost"
    assert found[0]["missing_now"] == 1.0
    assert found[0]["missing_then"] == pytest.approx(0.1, abs=0.02)
    assert all(one["psi"]["low"] <= one["psi"]["value"] <= one["psi"]["high"] for one in found)


def test_the_same_rows_have_not_drifted_after_the_file(tmp_path: Path) -> None:
    """Values that lie on the edges, as an encoded category's do, stay in their bins when the file is read back."""
    X = np.random.default_rng(2).choice([1.0 / 3.0, 1.0 / 7.0, 2.0 / 3.0], size=(900, 1))
    Reference.fit(X, ("rate",), {}).save(tmp_path)
    loaded = Reference.load(tmp_path)
    assert loaded is not None
    assert drift(loaded, X, ("rate",), {}, replicates=10, seed=0)[0]["psi"]["value"] < 1e-9


def test_a_bundle_without_or_with_a_broken_file(tmp_path: Path) -> None:
    """No file is no reference; one that is something else is a corrupt bundle, in one line."""
    assert Reference.load(tmp_path) is None
    (tmp_path / FILE).write_text('{"rows": 1}')
    with pytest.raises(BundleCorrupt, match=FILE):
        Reference.load(tmp_path)
