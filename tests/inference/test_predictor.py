"""A bundle proves itself before it answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import BundleCorrupt, BundleError, BundleIncompatible
from app.features.parsing import assemble, request_from_json
from app.inference.predictor import Predictor
from tests.inference.tiny_bundle import edit_manifest, elsewhere, make_requests


def test_answers_alone_as_in_a_batch(published: Path) -> None:
    """Requests in one batch have the bits that each has alone."""
    predictor = Predictor.load(published)
    requests = make_requests(30, seed=8)
    together = predictor.predict(assemble(predictor.layout, [request_from_json(predictor.layout, r) for r in requests]))
    alone = [predictor.answer(r) for r in requests]
    for field in ("p_buyer", "ltv", "log_mean", "corrected"):
        assert np.concatenate([getattr(a, field) for a in alone]).tobytes() == getattr(together, field).tobytes()
    predictor.close()


def test_knows_what_it_is(published: Path) -> None:
    """Manifest, declaration, plan and prior come with it."""
    predictor = Predictor.load(published)
    assert predictor.manifest.name == "shop-1"
    assert predictor.manifest.feature_names == predictor.plan.names
    assert predictor.declaration.label_unit == "visit"
    assert predictor.prior.lookup() == (0.1, 1.0, 2.0, 3.0, 0.5)
    predictor.close()
    with pytest.raises(ValueError, match="was closed"):
        predictor.answer(make_requests(1)[0])


def _edit(path: Path, change: Callable[[Any], None], **manifest: Any) -> None:
    obj = json.loads(path.read_text())
    change(obj)
    path.write_text(json.dumps(obj))
    edit_manifest(path.parent, **manifest)


def _edit_golden(path: Path, row: int, change: Callable[[Any], None], **manifest: Any) -> None:
    lines = path.read_text().splitlines()
    obj = json.loads(lines[row])
    change(obj)
    lines[row] = json.dumps(obj)
    path.write_text("\n".join(lines) + "\n")
    edit_manifest(path.parent, **manifest)


def _nudge(relative: float) -> Callable[[Any], None]:
    def change(obj: Any) -> None:
        obj["expected"][0]["ltv"][1] *= 1 + relative

    return change


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("certificate.json", lambda c: c["libraries"]["base.so"].update(mismatches=3), "with 3 mismatches"),
        ("certificate.json", lambda c: c["libraries"].pop("meta.so"), r"no certificate of meta\.so"),
        (
            "certificate.json",
            lambda c: c["libraries"].update({"meta.so": c["libraries"]["base.so"]}),
            r"certificate\.json: meta\.so: expected sha256",
        ),
        ("ensemble.json", lambda e: e["base"][0].update(n_features=3), r"base\.n_features: expected \d+, received 3"),
        ("ensemble.json", lambda e: e["meta"].update(n_features=3), r"meta\.n_features: expected 7, received 3"),
        ("prior.json", lambda p: p["tables"][0].update({"": [0.5]}), "values a cohort: expected 5, received 1"),
    ],
)
def test_refuses_parts_that_disagree(bundle_copy: Path, file: str, change: Callable[[Any], None], message: str) -> None:
    """Even a bundle whose hashes hold must hold together."""
    _edit(bundle_copy / file, change)
    with pytest.raises(BundleCorrupt, match=message):
        Predictor.load(bundle_copy)


def test_refuses_other_features(bundle_copy: Path) -> None:
    """Encoders that are not those of the manifest are named by their fingerprints."""
    edit_manifest(bundle_copy, feature_fingerprint="0" * 64)
    with pytest.raises(BundleIncompatible, match=r"features: expected fingerprint 0{64}, received"):
        Predictor.load(bundle_copy)


def test_refuses_a_golden_row_that_disagrees(bundle_copy: Path) -> None:
    """One changed bit in one field of one row is found and named."""
    _edit_golden(bundle_copy / "golden.jsonl", 4, _nudge(3e-16))
    with pytest.raises(BundleCorrupt, match=r"golden\.jsonl: row 5, campaign 0, ltv: expected .*, received"):
        Predictor.load(bundle_copy)
    Predictor.load(bundle_copy, golden=False).close()


def test_another_processor_may_differ_in_the_last_bits(bundle_copy: Path) -> None:
    """On a platform other than the one that answered the golden rows 1e-12 passes, and 1e-11 does not."""
    platform = elsewhere(simd="OTHER")
    _edit_golden(bundle_copy / "golden.jsonl", 4, _nudge(5e-13), platform=platform)
    Predictor.load(bundle_copy).close()
    _edit_golden(bundle_copy / "golden.jsonl", 4, _nudge(1e-11), platform=platform)
    with pytest.raises(BundleCorrupt, match="row 5"):
        Predictor.load(bundle_copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g["expected"].append(g["expected"][0]), "row 2: expected 2 campaigns, received 1"),
        (lambda g: g["expected"][0].pop("p_buyer"), "row 2, campaign 0, p_buyer: expected None"),
        (lambda g: g.pop("input"), "row 2: KeyError"),
    ],
)
def test_refuses_a_golden_row_of_another_shape(bundle_copy: Path, change: Callable[[Any], None], message: str) -> None:
    """A row that says too little or too much is a corrupt bundle."""
    _edit_golden(bundle_copy / "golden.jsonl", 1, change)
    with pytest.raises(BundleError, match=message):
        Predictor.load(bundle_copy)
