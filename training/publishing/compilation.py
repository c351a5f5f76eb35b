"""Boosters enter, a library leaves: merge → C → compiler. Also for a published bundle, on another machine."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import lightgbm as lgb
import numpy as np

from app.errors import BundleCorrupt
from app.inference import bundle
from app.inference.compiled import CompiledModel
from app.inference.golden import renew
from app.inference.manifest import Manifest
from app.inference.predictor import Predictor
from app.inference.specification import EnsembleSpec, LibrarySpec
from training.learning.tree_sums import TreeSum
from training.publishing.certificate import certify_by, lightgbm_oracle
from training.publishing.codegen import build, compile_arithmetic, compile_features, generate, n_units, shares
from training.publishing.importing import imported, oracle_of
from training.publishing.merging import Merged, merge


def compile_library(boosters: Sequence[lgb.Booster], path: Path, *, units: int | None = None) -> None:
    """Compile boosters over the same X into one shared library.

    Parameters
    ----------
    boosters : sequence of lightgbm.Booster
        Their raw scores are the library's targets, in this order (`merging.merge`).
    path : Path
        The library, written in one step.
    units : int, optional
        Functions to cut the trees into; by default as many as keep each within an instruction cache.

    Raises
    ------
    BundleError
        For a booster that can not be compiled exactly, or without a C compiler.
    """
    merged = merge(boosters)
    if not shares(merged, n_units(merged.model) if units is None else units):
        merged = merge(boosters, share=False)
    compile_merged(merged, path, units=units)


def compile_merged(merged: Merged, path: Path, *, units: int | None = None) -> None:
    """Compile trees that are ready for the code generator into one shared library; arguments as of `compile_library`.

    Raises
    ------
    BundleError
        Without a C compiler, or when it fails.
    """
    units = n_units(merged.model) if units is None else units
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".compile-") as scratch:
        directory = Path(scratch)
        generate(merged, directory, units)
        build(directory, directory / path.name)
        (directory / path.name).replace(path)


def model_file(library: str, output: str) -> str:
    """Return where a bundle keeps the LightGBM text of one output: `models/base.gate.txt`; of several, the first."""
    return f"{bundle.MODELS}/{Path(library).stem}.{output}.txt"


def save_models(directory: Path, library: LibrarySpec, boosters: Sequence[lgb.Booster]) -> None:
    """Write LightGBM's text of each output of a library, from which `recompile` starts."""
    (directory / bundle.MODELS).mkdir(exist_ok=True)
    at = 0
    for booster in boosters:
        booster.save_model(directory / model_file(library.library, library.outputs[at].name))
        at += booster.num_model_per_iteration()


def trees_file(library: str) -> str:
    """Return where a bundle keeps the trees of a forest or XGBoost: `models/forest.trees.json`."""
    return f"{bundle.MODELS}/{Path(library).stem}.trees.json"


def save_trees(directory: Path, library: LibrarySpec, trees: TreeSum) -> None:
    """Write the plain trees of a library, from which `recompile` starts."""
    (directory / bundle.MODELS).mkdir(exist_ok=True)
    (directory / trees_file(library.library)).write_text(json.dumps(trees.to_json(), allow_nan=False))


def recompile(path: Path, *, key: bytes | None = None, seed: int = 0) -> Manifest:
    """Compile a bundle's models anew for this machine, certify them, and replace the bundle.

    Its golden answers must come out within 1e-12 relative; this machine's then take their place.

    Parameters
    ----------
    path : Path
        The bundle, of any platform.
    key : bytes or None
        Checks the old signature and makes the new one.
    seed : int
        Of the certificate's rows.

    Raises
    ------
    BundleError
        The old bundle stays as it was.
    """
    manifest = bundle.check_content(path, key=key)
    path = path.resolve()
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".recompile-") as scratch:
        staging = Path(scratch) / path.name
        shutil.copytree(path, staging)
        spec = EnsembleSpec.from_json(json.loads((staging / bundle.ENSEMBLE).read_bytes()))
        proofs = {library.library: _rebuild(staging, library, seed) for library in spec.libraries}
        (staging / bundle.CERTIFICATE).write_text(json.dumps({"libraries": proofs}, indent=1) + "\n")
        if (staging / bundle.FEATURES).exists():
            compile_features(staging / bundle.FEATURES)
        compile_arithmetic(staging / bundle.ARITHMETIC)
        _renew_golden(staging, bundle.seal(staging, manifest, key), key)
        return bundle.write(staging, path, manifest, key)


def _rebuild(staging: Path, library: LibrarySpec, seed: int) -> dict[str, object]:
    path, trees = staging / library.library, _load_trees(staging / trees_file(library.library))
    if trees is not None:
        compile_merged(imported(trees), path)
        oracle = oracle_of(trees)
    else:
        boosters = load_models(staging, library)
        compile_library(boosters, path)
        oracle = lightgbm_oracle(boosters)
    compiled = CompiledModel(path, library.n_features, len(library.outputs))
    try:
        return certify_by(oracle, compiled, np.empty((0, library.n_features)), seed)
    finally:
        compiled.close()


def _load_trees(path: Path) -> TreeSum | None:
    """What `save_trees` wrote; None of a library of boosters."""
    if not path.exists():
        return None
    try:
        return TreeSum.from_json(json.loads(path.read_bytes()))
    except (ValueError, BundleCorrupt) as error:
        raise BundleCorrupt(f"{path.name}: not the trees of a model ({error})") from error


def load_models(directory: Path, library: LibrarySpec) -> list[lgb.Booster]:
    """Read what `save_models` wrote.

    Raises
    ------
    BundleCorrupt
        Of a text that is none.
    """
    boosters, at = [], 0
    while at < len(library.outputs):
        boosters.append(_load(directory, model_file(library.library, library.outputs[at].name)))
        at += boosters[-1].num_model_per_iteration()
    return boosters


def _load(staging: Path, name: str) -> lgb.Booster:
    try:
        return lgb.Booster(model_file=staging / name)
    except lgb.basic.LightGBMError as error:
        raise BundleCorrupt(f"{name}: not a LightGBM model ({error})") from error


def _renew_golden(staging: Path, manifest: Manifest, key: bytes | None) -> None:
    predictor = Predictor.load(staging, key=key, golden=False)
    try:
        renew(staging / bundle.GOLDEN, predictor.answer)
    finally:
        predictor.close()
