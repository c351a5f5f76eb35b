"""Trained models and what they were judged by enter; a sealed bundle in its place leaves."""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import lightgbm as lgb

from app.errors import InputError
from app.features.layout import Layout
from app.features.matrix import FeaturePlan
from app.features.parsing import assemble, request_from_json
from app.features.spec import Declaration
from app.inference import bundle
from app.inference.compiled import CompiledModel
from app.inference.ensemble import Ensemble
from app.inference.golden import golden_line, write_golden
from app.inference.manifest import MANIFEST, Manifest
from app.inference.predictor import Predictor
from app.inference.prior import Prior
from app.inference.specification import EnsembleSpec, LibrarySpec
from training.learning.bases import Base
from training.learning.boosting import Floats
from training.places import made, unmade
from training.publishing.certificate import certify, certify_by
from training.publishing.codegen import compile_arithmetic, compile_features
from training.publishing.compilation import compile_library, compile_merged, save_models, save_trees
from training.publishing.importing import imported, oracle_of

LIBRARIES = ("lightgbm", "numpy", "pyarrow", "scikit-learn", "tl2cgen", "treelite", "xgboost-cpu")
CERTIFIED_ROWS = 4000


@dataclass(frozen=True)
class Content:
    """What a bundle is made of, beside the libraries, the report and the model card.

    Parameters
    ----------
    declaration : Declaration
    plan : FeaturePlan
    spec : EnsembleSpec
    prior : Prior
    golden : sequence of mapping
        Raw requests (`golden_rows.golden_requests`).
    seed : int
    data_window : mapping
    metrics : mapping
    """

    declaration: Declaration
    plan: FeaturePlan
    spec: EnsembleSpec
    prior: Prior
    golden: Sequence[Mapping[str, Any]]
    seed: int
    data_window: Mapping[str, Any]
    metrics: Mapping[str, Any]


@contextmanager
def staging(final: Path) -> Iterator[Path]:
    """A directory beside the bundle's place, gone afterwards with the folders made for it unless it was moved there.

    Raises
    ------
    InputError
        Where nothing can be written, or what is at `final` is no bundle, which nobody asked to remove.
    """
    check_place(final)
    missing: list[Path] = []
    try:
        missing = made(final.parent)
        directory = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}.staging-"))
    except OSError as error:
        unmade(missing)
        raise InputError(f"can not be written ({error.strerror})", str(final.parent)) from error
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        unmade(missing)


def check_place(final: Path) -> None:
    """Check that a bundle may be put there: what is replaced is removed, so only a bundle or an empty folder may be.

    Raises
    ------
    InputError
    """
    if final.is_dir():
        if not (final / MANIFEST).is_file() and any(final.iterdir()):
            raise InputError(
                "expected a new place or a bundle to replace, received a folder of something else", str(final)
            )
    elif final.exists():
        raise InputError("expected a new place or a bundle to replace, received a file", str(final))


def publish_library(
    directory: Path, library: LibrarySpec, boosters: Sequence[lgb.Booster], X: Floats, seed: int
) -> tuple[CompiledModel, dict[str, Any]]:
    """Compile boosters into the bundle, save their text, and certify the one against the other.

    Parameters
    ----------
    directory : Path
    library : LibrarySpec
    boosters : sequence of lightgbm.Booster
    X : ndarray of shape (n, n_features)
        Rows to certify on; the first `CERTIFIED_ROWS` are used.
    seed : int

    Returns
    -------
    compiled : CompiledModel
    proof : dict
        The library's part of the certificate.
    """
    save_models(directory, library, boosters)
    compile_library(boosters, directory / library.library)
    compiled = CompiledModel(directory / library.library, library.n_features, len(library.outputs))
    return compiled, certify(compiled, boosters, X[:CERTIFIED_ROWS], seed)


def publish_trees(
    directory: Path, library: LibrarySpec, base: Base, X: Floats, seed: int
) -> tuple[CompiledModel, dict[str, Any]]:
    """Compile a forest or XGBoost; arguments and results as of `publish_library`.

    Certified against its plain trees in every bit, and against the library that grew them.
    """
    save_trees(directory, library, base.trees)
    compile_merged(imported(base.trees), directory / library.library)
    compiled = CompiledModel(directory / library.library, library.n_features, len(library.outputs))
    return compiled, certify_by(oracle_of(base.trees, base.grown_scores), compiled, X[:CERTIFIED_ROWS], seed)


def publish(
    directory: Path, final: Path, content: Content, ensemble: Ensemble, proofs: Mapping[str, Any], key: bytes | None
) -> Manifest:
    """Write everything else into `directory`, seal it, prove it by loading it, and move it to `final`.

    Raises
    ------
    BundleError
        When the bundle does not answer its own golden rows, or can not be moved; `final` is then as it was.
    """
    (directory / bundle.DECLARATION).write_text(_json(content.declaration.to_json()))
    content.plan.save(directory)
    (directory / bundle.ENSEMBLE).write_text(_json(content.spec.to_json()))
    (directory / bundle.PRIOR).write_text(_json(content.prior.to_json()))
    (directory / bundle.CERTIFICATE).write_text(_json({"libraries": dict(proofs)}))
    # Answered by numpy here, replayed by the compiled twins below and wherever the bundle is loaded.
    write_golden(directory / bundle.GOLDEN, _golden_lines(content, ensemble))
    compile_features(directory / bundle.FEATURES)
    compile_arithmetic(directory / bundle.ARITHMETIC)
    manifest = _manifest(content, final.name)
    bundle.seal(directory, manifest, key)
    Predictor.load(directory, key=key).close()
    return bundle.write(directory, final, manifest, key)


def versions() -> dict[str, str]:
    """Of Python and the libraries that a bundle's numbers depend on."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in LIBRARIES}}


def _golden_lines(content: Content, ensemble: Ensemble) -> Iterator[str]:
    layout = Layout(content.declaration)
    for request in content.golden:
        # Through JSON first: what is answered must be what will be read back.
        parsed = json.loads(json.dumps(request))
        columns = assemble(layout, [request_from_json(layout, parsed)])
        yield golden_line(parsed, ensemble.predict(content.plan.transform(columns), columns.row_state))


def _manifest(content: Content, name: str) -> Manifest:
    declaration = content.declaration
    return Manifest(
        name=name,
        declaration_fingerprint=declaration.fingerprint,
        feature_fingerprint=content.plan.fingerprint,
        feature_names=content.plan.names,
        horizons=declaration.targets.horizons,
        label_unit=declaration.label_unit,
        currency=declaration.currency,
        versions=versions(),
        seed=content.seed,
        data_window=content.data_window,
        metrics=content.metrics,
    )


def _json(obj: Any) -> str:
    return json.dumps(obj, indent=1) + "\n"
