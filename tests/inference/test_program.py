"""numpy's definition of the ensemble is the oracle of its compiled program: every bit must agree."""

from __future__ import annotations

import dataclasses
import itertools
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
from app.inference.ensemble import Ensemble, meta_feature_names
from app.inference.lowering import lower
from app.inference.program import EnsembleTwin
from app.inference.specification import (
    Calibration,
    Curve,
    EnsembleSpec,
    LibrarySpec,
    LinearSpec,
    MultiplierSpec,
    Output,
    Recalibration,
)
from tests.inference.conftest import N_FEATURES, make_rows
from training.publishing.codegen import compile_arithmetic, compiler

# Stands for trees: its scores are the last columns of what it reads, so that a test chooses them.
COPY = """
#include <stddef.h>
#include <stdint.h>
const int32_t pltv_n_features = WIDTH, pltv_n_targets = TARGETS;
int pltv_predict(const double *X, size_t n, double *out) {
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < TARGETS; j++) out[i * TARGETS + j] = X[i * WIDTH + WIDTH - 1 - j];
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
def base_stages(draw: st.DrawFn, form: str, horizons: tuple[int, ...], log_mean: Output) -> tuple[LibrarySpec, ...]:
    """The outputs that a form needs, in one library or several; later ones may read what earlier ones say."""
    heads = [Output(f"d{h}", "log") for h in horizons]
    if form == "experts":
        count = draw(st.integers(2, 4))
        del heads[draw(st.integers(0, len(heads) - 1))]
        heads += [Output(f"segment_{k}", "share") for k in range(count)]
        heads += [Output(f"expert_{k}", "log") for k in range(count)]
    outputs = draw(st.permutations([Output("gate", "logit"), *heads, log_mean]))
    cuts = sorted(draw(st.sets(st.integers(1, len(outputs) - 1), max_size=2)))
    width, base = len(outputs) + 1, list[LibrarySpec]()
    for i, (start, stop) in enumerate(itertools.pairwise([0, *cuts, len(outputs)])):
        known = [output.name for output in outputs[:start]]
        inputs = tuple(draw(st.lists(st.sampled_from(known), unique=True))) if known else ()
        base.append(LibrarySpec(f"base-{i}.so", width + len(inputs), tuple(outputs[start:stop]), inputs))
    return tuple(base)


@st.composite
def specifications(draw: st.DrawFn) -> EnsembleSpec:
    """Any number of horizons, strategy and form, with and without a meta-learner, every link, curves of one knot and of
    many.
    """
    horizons = tuple(sorted(draw(st.sets(st.integers(1, 30), min_size=1, max_size=4))))
    form = draw(st.sampled_from(["exp", "smeared", "increments", "experts"]))
    base = draw(base_stages(form, horizons, Output("log_mean", draw(st.sampled_from(["identity", "gated"])))))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    linear = tuple(_linear(rng, name, base[0].n_features) for name in draw(st.sampled_from([(), ("net",), ("a", "b")])))
    knots = st.integers(1, 9)

    def curve() -> Curve:
        n = draw(knots)
        return Curve(np.cumsum(rng.exponential(0.3, n)), rng.uniform(0.2, 2.0, n))

    calibration = Calibration(
        curve(), tuple(curve() for _ in horizons), rng.uniform(0.5, 2.0, (4, len(horizons))), curve()
    )
    undone = Recalibration(
        Curve(np.array([0.0, 0.4, 1.0]), np.array([0.0, 0.1, 0.9])) if draw(st.booleans()) else None,
        tuple(curve() for _ in horizons) if draw(st.booleans()) else (),
    )
    alpha = draw(st.sampled_from([1.0, 0.5, 1.7]))
    multiplier = MultiplierSpec("bundle", draw(st.sampled_from(horizons)), alpha, 0.1, 10.0, 1.3, {"com.rare": 0.7})
    spec = EnsembleSpec(
        horizons, base, None, calibration, rng.uniform(0.1, 3.0, len(horizons)), multiplier,
        draw(st.sampled_from(["two_stage", "free"])), form, linear, undone,
    )  # fmt: skip
    if not draw(st.booleans()):
        return spec
    heads = tuple(Output(f"d{h}", "log") for h in horizons)
    extra = (Output("log_mean", "identity"),) if draw(st.booleans()) else ()
    meta = LibrarySpec("meta.so", len(meta_feature_names(spec)), (*heads, *extra))
    return dataclasses.replace(spec, meta=meta)


def _linear(rng: np.random.Generator, name: str, n_features: int) -> LinearSpec:
    columns = tuple(rng.permutation(n_features)[: rng.integers(0, n_features + 1)].tolist())
    lo = rng.normal(-2.0, 1.0, len(columns))
    fill, weight = rng.normal(size=(2, len(columns)))
    return LinearSpec(name, float(rng.normal()), columns, fill, lo, lo + rng.exponential(2.0, len(columns)), weight)


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
    models = [library(one.n_features, len(one.outputs)) for one in spec.libraries]
    base, meta = models[: len(spec.base)], None if spec.meta is None else models[-1]
    twin = EnsembleTwin(interpreter, lower(spec), models)
    X, state = scores(seed, n_rows, spec.n_features), np.random.default_rng(seed).integers(0, 4, n_rows)
    advertisers = [("com.rare", None, "com.other")[i % 3] for i in range(n_rows)]
    expected = Ensemble(spec, base, meta).predict(X, state, advertisers)
    received = Ensemble(spec, base, meta, twin).predict(X, state, advertisers)
    for field in ("p_buyer", "ltv", "log_mean", "multiplier", "corrected"):
        assert getattr(received, field).tobytes() == getattr(expected, field).tobytes(), field


def test_real_trees(interpreter: Path, spec: EnsembleSpec, base_library: Path, meta_library: Path) -> None:
    """The same with compiled trees and missing values in X."""
    base, meta = CompiledModel(base_library, N_FEATURES, 4), CompiledModel(meta_library, 7, 4)
    X, state = make_rows(31, 200), np.arange(200) % 4
    expected = Ensemble(spec, [base], meta).predict(X, state)
    received = Ensemble(spec, [base], meta, EnsembleTwin(interpreter, lower(spec), [base, meta])).predict(X, state)
    assert received.ltv.tobytes() == expected.ltv.tobytes()
    assert 0 < received.corrected.sum() < 200
    np.testing.assert_array_equal(received.corrected, expected.corrected)


def test_a_dot_product_of_missing_values(interpreter: Path, spec: EnsembleSpec, base_library: Path) -> None:
    """Filled and cut in the same way, in every bit."""
    fill, weight, limit = np.array([0.3, -0.2, 9.0]), np.array([1.1, 0.7, -0.3]), np.full(3, 1.25)
    net = LinearSpec("log_mean", 0.1, (6, 0, 3), fill, -limit, limit, weight)
    plain = dataclasses.replace(spec, meta=None, linear=(net,))
    base = [CompiledModel(base_library, N_FEATURES, 4)]
    X, state = make_rows(32, 130), np.arange(130) % 4
    expected = Ensemble(plain, base, None).predict(X, state).log_mean
    received = Ensemble(plain, base, None, EnsembleTwin(interpreter, lower(plain), base)).predict(X, state).log_mean
    assert received.tobytes() == expected.tobytes()
    assert len(np.unique(received)) > 30


def test_another_shape_is_refused(
    interpreter: Path, spec: EnsembleSpec, base_library: Path, meta_library: Path
) -> None:
    """Before a byte is read; so is an X that is not contiguous."""
    base, meta = CompiledModel(base_library, N_FEATURES, 4), CompiledModel(meta_library, 7, 4)
    ensemble = Ensemble(spec, [base], meta, EnsembleTwin(interpreter, lower(spec), [base, meta]))
    for X in (np.zeros((3, N_FEATURES)), np.zeros((2, N_FEATURES - 1)), np.asfortranarray(np.zeros((2, N_FEATURES)))):
        with pytest.raises(ValueError, match="X: expected"):
            ensemble.predict(X, np.zeros(2, dtype=np.int64))
    assert len(ensemble.predict(np.zeros((0, N_FEATURES)), np.zeros(0, dtype=np.int64)).p_buyer) == 0


def test_a_library_of_another_interface_is_refused(spec: EnsembleSpec, base_library: Path) -> None:
    """Its structures are bare memory."""
    with pytest.raises(BundleIncompatible, match=r"expected interface 2, received none; recompile"):
        EnsembleTwin(base_library, lower(spec), [])
