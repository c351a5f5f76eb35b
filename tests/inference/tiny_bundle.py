"""A whole bundle, small: a web shop's declaration, real boosters, real libraries."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np

from app.features.columns import Columns
from app.features.layout import Layout
from app.features.matrix import FeaturePlan
from app.features.parsing import assemble, request_from_json
from app.features.spec import Declaration
from app.inference import bundle
from app.inference.compiled import CompiledModel
from app.inference.ensemble import Ensemble, Predictions, meta_feature_names, meta_features
from app.inference.golden import golden_line, write_golden
from app.inference.manifest import Manifest, current_platform
from app.inference.prior import Prior
from app.inference.specification import Calibration, EnsembleSpec, LibrarySpec, MultiplierSpec, Output
from tests.inference.conftest import HEADS, HORIZONS, train
from training.publishing.certificate import certify, lightgbm_raw
from training.publishing.codegen import compile_arithmetic
from training.publishing.compilation import compile_library, save_models

N_ROWS, N_GOLDEN, NOW = 400, 12, 1_759_500_000
DECLARATION: dict[str, Any] = {
    "name": "shop",
    "label_unit": "visit",
    "row_id": "row_id",
    "partition": "hour",
    "targets": {
        "horizons": list(HORIZONS),
        "revenue": "revenue_d{horizon}",
        "gate": "buyer",
        "log_mean": 7,
        "excluded": [],
    },
    "request": {
        "browser": {"kind": "category", "wire": "device.browser"},
        "price": {"kind": "number", "wire": "device.ext.price"},
    },
    "campaign": {"shelf": {"kind": "category"}},
    "user": {
        "age_days": {"kind": "number"},
        "spend": {"kind": "histogram", "yields": ["count", "sum", "max", "entropy"]},
        "visits": {"kind": "timestamps", "yields": ["count", "latest"]},
    },
    "lookups": {"shelf": ["spend", "visits"]},
    "encodings": {"browser": ["rate"], "shelf": ["rate", "value"]},
}


def make_requests(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Golden requests of one campaign each, a fifth of them without a history."""
    rng = np.random.default_rng(seed)
    requests = []
    for _ in range(n):
        shelves = rng.choice(["toys", "books", "tools", "food"], size=int(rng.integers(0, 4)), replace=False)
        history = {
            "age_days": float(rng.integers(1, 400)),
            "spend": {str(s): round(float(rng.exponential(20)), 2) for s in shelves},
            "visits": {str(s): NOW - int(rng.integers(3600, 10**6)) for s in shelves},
        }
        lost = rng.random() < 0.2
        requests.append(
            {
                "now": NOW // 3600 * 3600,
                "request": {"browser": str(rng.choice(["a", "b", "c"])), "price": float(rng.integers(100, 900))},
                "campaigns": [{"shelf": str(rng.choice(["toys", "books"]))}],
                "history": None if lost else history,
                "state": "unavailable" if lost else "present",
            }
        )
    return requests


def build_bundle(directory: Path) -> Manifest:
    """Train, compile, certify, record and describe a bundle in `directory`; returns what `bundle.write` takes."""
    declaration = Declaration.from_dict(DECLARATION)
    layout, requests = Layout(declaration), make_requests(N_ROWS)
    columns = assemble(layout, [request_from_json(layout, r) for r in requests])
    y, gate = _labels(requests)
    plan = FeaturePlan.fit(declaration, columns, gate, y)
    X = plan.transform(columns)
    base = [train("binary", X, gate), *(train("tweedie", X, y * scale) for scale in (1.0, 1.4, 1.3))]
    spec = _specification(len(plan.names))
    assert spec.meta is not None
    X_meta = meta_features(lightgbm_raw(base, X), spec)
    meta = [train("regression", X_meta, np.log1p(y) / k) for k in (9.0, 8.0, 7.0, 1.0)]
    directory.mkdir()
    plan.save(directory)
    proofs = {
        spec.base[0].library: _publish(directory, spec.base[0], base, X),
        spec.meta.library: _publish(directory, spec.meta, meta, X_meta),
    }
    _write_json(directory / bundle.DECLARATION, declaration.to_json())
    _write_json(directory / bundle.ENSEMBLE, spec.to_json())
    _write_json(directory / bundle.CERTIFICATE, {"libraries": proofs})
    _write_json(directory / bundle.PRIOR, Prior(((),), ({"": (0.1, 1.0, 2.0, 3.0, 0.5)},)).to_json())
    _record_golden(directory, plan, spec, requests[:N_GOLDEN])
    compile_arithmetic(directory / bundle.ARITHMETIC)
    return _manifest(declaration, plan)


def edit_manifest(path: Path, key: bytes | None = None, **changes: Any) -> None:
    """Change entries of a sealed manifest, hash every file anew, and sign it again where there is a key."""
    bundle.seal(path, bundle.read_manifest(path), key)
    changed = dataclasses.replace(bundle.read_manifest(path), signature=None, **changes)
    changed = dataclasses.replace(changed, digest=changed.digested())
    signature = changed.signed_with(key) if key is not None else None
    _write_json(path / "manifest.json", dataclasses.replace(changed, signature=signature).to_json())


def elsewhere(**changes: str) -> dict[str, str]:
    """This platform, but for what is given."""
    return {**current_platform(), **changes}


def _labels(requests: list[dict[str, Any]]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(1)
    spend = np.array([sum((r["history"] or {"spend": {}})["spend"].values()) for r in requests])
    y = spend * rng.exponential(1, len(spend)) * (rng.random(len(spend)) < 0.6)
    return y, (y > 0).astype(np.float64)


def _specification(n_features: int) -> EnsembleSpec:
    outputs = (*HEADS, Output("log_mean", "identity"))
    spec = EnsembleSpec(
        horizons=HORIZONS,
        base=(LibrarySpec("base.so", n_features, (Output("gate", "logit"), *HEADS)),),
        meta=LibrarySpec("meta.so", 7, outputs),
        calibration=Calibration.identity(len(HORIZONS)),
        weights=np.ones(3),
        multiplier=MultiplierSpec("shelf", 7, 0.5, 0.25, 4.0, 10.0, {"toys": 12.0}),
    )
    assert len(meta_feature_names(spec)) == 7
    return spec


def _publish(
    directory: Path, library: LibrarySpec, boosters: list[lgb.Booster], X: np.ndarray[Any, Any]
) -> Mapping[str, Any]:
    compile_library(boosters, directory / library.library)
    save_models(directory, library, boosters)
    compiled = CompiledModel(directory / library.library, library.n_features, len(boosters))
    proof = certify(compiled, boosters, X, seed=3)
    compiled.close()
    return proof


def _record_golden(directory: Path, plan: FeaturePlan, spec: EnsembleSpec, requests: list[dict[str, Any]]) -> None:
    assert spec.meta is not None
    libraries = [CompiledModel(directory / s.library, s.n_features, len(s.outputs)) for s in spec.libraries]
    ensemble = Ensemble(spec, libraries[:1], libraries[1])
    columns = [assemble(plan.layout, [request_from_json(plan.layout, r)]) for r in requests]
    answers = [_answer(plan, ensemble, c) for c in columns]
    write_golden(directory / bundle.GOLDEN, [golden_line(r, a) for r, a in zip(requests, answers, strict=True)])
    ensemble.close()


def _answer(plan: FeaturePlan, ensemble: Ensemble, columns: Columns) -> Predictions:
    return ensemble.predict(plan.transform(columns), columns.row_state)


def _manifest(declaration: Declaration, plan: FeaturePlan) -> Manifest:
    return Manifest(
        name="shop-1",
        declaration_fingerprint=declaration.fingerprint,
        feature_fingerprint=plan.fingerprint,
        feature_names=plan.names,
        horizons=HORIZONS,
        label_unit=declaration.label_unit,
        currency=declaration.currency,
        versions={"lightgbm": lgb.__version__},
        seed=3,
        data_window={"train": ["2025-10-01T00", "2025-10-02T23"]},
        metrics={"auc": 0.7},
    )


def _write_json(path: Path, obj: Any) -> None:
    path.write_text(json.dumps(obj) + "\n")
