"""The bundle as one object: columns enter, predictions leave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.errors import BundleCorrupt, BundleIncompatible
from app.features.columns import Columns
from app.features.matrix import FeaturePlan
from app.features.parsing import assemble, request_from_json
from app.features.spec import Declaration
from app.inference import bundle
from app.inference.compiled import CompiledModel
from app.inference.ensemble import Ensemble, Predictions, meta_feature_names
from app.inference.golden import OTHER_PROCESSOR, replay
from app.inference.lowering import lower
from app.inference.manifest import Manifest, current_platform
from app.inference.prior import Prior
from app.inference.program import EnsembleTwin
from app.inference.specification import EnsembleSpec, LibrarySpec


class Predictor:
    """A loaded bundle. Make it with `load`.

    Attributes
    ----------
    manifest : Manifest
    declaration : Declaration
    layout : Layout
    plan : FeaturePlan
    ensemble : Ensemble
    prior : Prior
    """

    def __init__(
        self,
        manifest: Manifest,
        declaration: Declaration,
        plan: FeaturePlan,
        ensemble: Ensemble,
        prior: Prior,
    ) -> None:
        self.manifest = manifest
        self.declaration = declaration
        self.layout = plan.layout
        self.plan = plan
        self.ensemble = ensemble
        self.prior = prior

    @classmethod
    def load(cls, path: Path, *, key: bytes | None = None, golden: bool = True) -> Predictor:
        """Check a bundle, load it, and replay its golden rows.

        Parameters
        ----------
        path : Path
            The bundle's directory.
        key : bytes or None
            Where set, the bundle's signature must be that of this key.
        golden : bool
            Whether to replay the golden rows: to the last bit on the platform that made them, within 1e-12
            relative on another.

        Raises
        ------
        BundleCorrupt, BundleIncompatible
            One line; nothing stays loaded.
        """
        manifest = bundle.check(path, key=key)
        declaration = Declaration.from_json(_json(path / bundle.DECLARATION))
        plan = _load_plan(path, declaration, manifest)
        spec = EnsembleSpec.from_json(_json(path / bundle.ENSEMBLE))
        prior = Prior.from_json(_json(path / bundle.PRIOR))
        _check_parts(spec, plan, prior, declaration)
        _check_certificate(_json(path / bundle.CERTIFICATE), spec, manifest)
        predictor = cls(manifest, declaration, plan, _load_ensemble(path, spec), prior)
        if golden:
            predictor._replay(path / bundle.GOLDEN)
        return predictor

    def predict(self, columns: Columns) -> Predictions:
        """Predict every row (campaign) of a batch of columns."""
        return self.ensemble.predict(self.plan.transform(columns), columns.row_state)

    def answer(self, request: Mapping[str, Any]) -> Predictions:
        """Predict the campaigns of one golden request."""
        return self.predict(assemble(self.layout, [request_from_json(self.layout, dict(request))]))

    def close(self) -> None:
        """Release the libraries, once the calls under way have returned."""
        self.ensemble.close()

    def _replay(self, path: Path) -> None:
        same = dict(self.manifest.platform) == current_platform()
        try:
            replay(path, self.answer, 0.0 if same else OTHER_PROCESSOR)
        except BaseException:
            self.close()
            raise


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BundleCorrupt(f"{path.name}: can not be read ({error})") from error


def _load_plan(path: Path, declaration: Declaration, manifest: Manifest) -> FeaturePlan:
    plan = FeaturePlan.load(declaration, path)
    if plan.fingerprint != manifest.feature_fingerprint:
        expected, received = manifest.feature_fingerprint, plan.fingerprint
        raise BundleIncompatible(f"{path}: features: expected fingerprint {expected}, received {received}")
    return plan


def _check_parts(spec: EnsembleSpec, plan: FeaturePlan, prior: Prior, declaration: Declaration) -> None:
    """The parts of a bundle must speak of the same columns and horizons."""
    horizons = declaration.targets.horizons
    _same(f"{bundle.ENSEMBLE}: horizons", list(horizons), list(spec.horizons))
    _same(f"{bundle.ENSEMBLE}: base.n_features", len(plan.names), spec.n_features)
    if spec.meta is not None:
        _same(f"{bundle.ENSEMBLE}: meta.n_features", len(meta_feature_names(spec)), spec.meta.n_features)
    _same(f"{bundle.PRIOR}: values a cohort", 2 + len(horizons), prior.n_values)


def _same(what: str, expected: object, received: object) -> None:
    if expected != received:
        raise BundleCorrupt(f"{what}: expected {expected}, received {received}")


def _check_certificate(certificate: Any, spec: EnsembleSpec, manifest: Manifest) -> None:
    """Each library must have a certificate of its own bytes, without a difference."""
    for library in spec.libraries:
        try:
            proof = certificate["libraries"][library.library]
            found = (proof["library_sha256"], proof["mismatches"], proof["max_abs_diff"])
        except (KeyError, TypeError) as error:
            raise BundleCorrupt(f"{bundle.CERTIFICATE}: no certificate of {library.library}") from error
        entry = manifest.files.get(library.library)
        if entry is None:
            raise BundleCorrupt(f"{library.library} is missing from the manifest")
        if found != (entry.sha256, 0, 0.0):
            raise BundleCorrupt(
                f"{bundle.CERTIFICATE}: {library.library}: expected sha256 {entry.sha256} "
                f"without a difference, received {found[0]} with {found[1]} mismatches"
            )


def _load_ensemble(path: Path, spec: EnsembleSpec) -> Ensemble:
    models = [_load_library(path, library) for library in spec.libraries]
    base, meta = models[: len(spec.base)], None if spec.meta is None else models[-1]
    compiled = path / bundle.ARITHMETIC
    return Ensemble(spec, base, meta, EnsembleTwin(compiled, lower(spec), models) if compiled.exists() else None)


def _load_library(path: Path, library: LibrarySpec) -> CompiledModel:
    return CompiledModel(path / library.library, library.n_features, len(library.outputs))
