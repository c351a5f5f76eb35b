"""numpy's definition of the ensemble is the oracle of its compiled program: every bit must agree."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.errors import BundleIncompatible
from app.inference.compiled import CompiledModel
from app.inference.ensemble import Ensemble
from app.inference.program import EnsembleTwin, lower
from app.inference.specification import Calibration, Curve, EnsembleSpec, LibrarySpec, MultiplierSpec, Output
from tests.inference.conftest import N_FEATURES, make_rows
from training.publishing.codegen import compile_arithmetic, compiler

# Stands for trees: the scores are the first columns of its X, so that a test chooses them.
COPY = """
#include <stddef.h>
#include <stdint.h>
const int32_t pltv_n_features = WIDTH, pltv_n_targets = TARGETS;
int pltv_predict(const double *X, size_t n, double *out) {
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < TARGETS; j++) out[i * TARGETS + j] = X[i * WIDTH + j];
  return 0;
}
"""

Libraries = Callable[[int, int], CompiledModel]


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ensemble.so`."""
    path = tmp_path_factory.mktemp("program") / "ensemble.so"
    compile_arithmetic(path)
    return path


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Libraries:
    """Libraries that copy, by width and number of targets."""
    root, made = tmp_path_factory.mktemp("copies"), dict[tuple[int, int], CompiledModel]()

    def make(width: int, targets: int) -> CompiledModel:
        if (width, targets) not in made:
            source, path = root / f"{width}-{targets}.c", root / f"{width}-{targets}.so"
            source.write_text(COPY)
            sizes = [f"-DWIDTH={width}", f"-DTARGETS={targets}"]
            subprocess.run([*compiler(), "-shared", "-fPIC", *sizes, "-o", str(path), str(source)], check=True)
            made[width, targets] = CompiledModel(path, width, targets)
        return made[width, targets]

    return make


@st.composite
def specifications(draw: st.DrawFn) -> EnsembleSpec:
    """Any number of horizons, with and without a meta-learner, every link, curves of one knot and of many."""
    horizons = tuple(sorted(draw(st.sets(st.integers(1, 30), min_size=1, max_size=4))))
    heads = tuple(Output(f"d{h}", "log") for h in horizons)
    link = draw(st.sampled_from(["identity", "gated"]))
    outputs = (Output("gate", "logit"), *heads, Output("log_mean", link))
    base = LibrarySpec("base.so", len(outputs), outputs)
    meta = None
    if draw(st.booleans()):
        width = 2 + 2 * len(horizons)
        extra = (Output("log_mean", "identity"),) if draw(st.booleans()) else ()
        meta = LibrarySpec("meta.so", width, (*heads, *extra))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    knots = st.integers(1, 9)
    curves = [
        Curve(np.cumsum(rng.exponential(0.3, n)), rng.uniform(0.2, 2.0, n)) for n in (draw(knots) for _ in range(6))
    ]
    calibration = Calibration(
        curves[0], tuple(curves[1 : 1 + len(horizons)]), rng.uniform(0.5, 2.0, (4, len(horizons))), curves[5]
    )
    alpha = draw(st.sampled_from([1.0, 0.5, 1.7]))
    multiplier = MultiplierSpec("bundle", draw(st.sampled_from(horizons)), alpha, 0.1, 10.0, 1.3, {"com.rare": 0.7})
    return EnsembleSpec(horizons, base, meta, calibration, rng.uniform(0.1, 3.0, len(horizons)), multiplier)


def scores(seed: int, n_rows: int, width: int) -> NDArray[np.float64]:
    """Raw scores: ordinary ones, zeros of both signs, and some that no double can exponentiate."""
    rng = np.random.default_rng(seed)
    X = rng.normal(0.0, 3.0, (n_rows, width))
    X[rng.random(X.shape) < 0.1] = rng.choice([0.0, -0.0, 1e-300, -800.0, 49.9, 50.0, 1e6, -1e6])
    return np.ascontiguousarray(X)


@settings(deadline=None)
@given(specifications(), st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 63, 64, 65, 130]))
def test_the_program_has_the_bits_of_its_definition(
    interpreter: Path, library: Libraries, spec: EnsembleSpec, seed: int, n_rows: int
) -> None:
    """Every column of every row, whatever the ensemble and however the rows fall into blocks."""
    base = library(spec.base.n_features, len(spec.base.outputs))
    meta = None if spec.meta is None else library(spec.meta.n_features, len(spec.meta.outputs))
    models = [base] if meta is None else [base, meta]
    twin = EnsembleTwin(interpreter, lower(spec), models)
    X, state = scores(seed, n_rows, spec.base.n_features), np.random.default_rng(seed).integers(0, 4, n_rows)
    advertisers = [("com.rare", None, "com.other")[i % 3] for i in range(n_rows)]
    expected = Ensemble(spec, base, meta).predict(X, state, advertisers)
    received = Ensemble(spec, base, meta, twin).predict(X, state, advertisers)
    for field in ("p_buyer", "ltv", "log_mean", "multiplier", "corrected"):
        assert getattr(received, field).tobytes() == getattr(expected, field).tobytes(), field


def test_real_trees(interpreter: Path, spec: EnsembleSpec, base_library: Path, meta_library: Path) -> None:
    """The same with compiled trees and missing values in X."""
    base, meta = CompiledModel(base_library, N_FEATURES, 4), CompiledModel(meta_library, 7, 4)
    X, state = make_rows(31, 200), np.arange(200) % 4
    expected = Ensemble(spec, base, meta).predict(X, state)
    received = Ensemble(spec, base, meta, EnsembleTwin(interpreter, lower(spec), [base, meta])).predict(X, state)
    assert received.ltv.tobytes() == expected.ltv.tobytes()
    assert 0 < received.corrected.sum() < 200
    np.testing.assert_array_equal(received.corrected, expected.corrected)


def test_another_shape_is_refused(
    interpreter: Path, spec: EnsembleSpec, base_library: Path, meta_library: Path
) -> None:
    """Before a byte is read; so is an X that is not contiguous."""
    base, meta = CompiledModel(base_library, N_FEATURES, 4), CompiledModel(meta_library, 7, 4)
    ensemble = Ensemble(spec, base, meta, EnsembleTwin(interpreter, lower(spec), [base, meta]))
    for X in (np.zeros((3, N_FEATURES)), np.zeros((2, N_FEATURES - 1)), np.asfortranarray(np.zeros((2, N_FEATURES)))):
        with pytest.raises(ValueError, match="X: expected"):
            ensemble.predict(X, np.zeros(2, dtype=np.int64))
    assert len(ensemble.predict(np.zeros((0, N_FEATURES)), np.zeros(0, dtype=np.int64)).p_buyer) == 0


def test_a_library_of_another_interface_is_refused(spec: EnsembleSpec, base_library: Path) -> None:
    """Its structures are bare memory."""
    with pytest.raises(BundleIncompatible, match=r"expected interface 1, received none; recompile"):
        EnsembleTwin(base_library, lower(spec), [])
