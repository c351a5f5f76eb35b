"""Every strategy and form, from rows to a bundle that proves itself; LightGBM and numpy's formulas are the oracle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from sklearn.isotonic import isotonic_regression

import training.publishing.compilation
import training.publishing.publish
from app.errors import DeclarationError
from app.inference.predictor import Predictor
from training.config import TrainingConfig, load
from training.data.dataset import Dataset
from training.pipeline import build, prepare
from training.progress import Silent
from training.publishing.codegen import compile_features
from training.publishing.compilation import recompile
from training.publishing.golden_rows import golden_requests
from training.publishing.publish import Content, publish, staging
from training.publishing.references import fit_prior
from training.samples import Parts, Prepared, data_window

Values = dict[str, np.ndarray]
RARE = {"method": "histos"}
METHODS: dict[str, dict[str, Any]] = {
    "converting_only": {"strategy": "converting_only"},
    "direct": {"strategy": "direct", "regressors": {"form": "separate", "objective": "tweedie"}},
    "direct_increments": {"strategy": "direct", "regressors": {"form": "increments", "objective": "tweedie"}},
    "chain": {"regressors": {"form": "chain"}},
    "smeared": {"regressors": {"form": "smeared", "objective": "msle"}},
    "increments": {"regressors": {"form": "increments", "objective": "tweedie"}},
    "experts": {"regressors": {"form": "experts", "objective": "gamma", "experts": {"segments": 3, "whales": 0.1}}},
    "resampled": {"classifier": {"resampling": RARE}, "regressors": {"resampling": RARE}},
}


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`features.so`, the same C for every bundle, compiled for the first and copied for the others."""
    library = tmp_path_factory.mktemp("features") / "features.so"
    compile_features(library)
    with pytest.MonkeyPatch.context() as patch:
        for module in (training.publishing.publish, training.publishing.compilation):
            patch.setattr(module, "compile_features", lambda path: shutil.copy(library, path))
        yield


@dataclass(frozen=True)
class Market:
    """The tiny market, read and split once."""

    dataset: Dataset
    training: TrainingConfig
    parts: Parts
    prepared: Prepared
    golden: list[dict[str, Any]]


@pytest.fixture(scope="module")
def market(tiny_config: Path, tiny_data: Path) -> Market:
    declaration, training = load(tiny_config)
    dataset = Dataset(tiny_data, declaration)
    parts, prepared = prepare(dataset, training, Silent())
    return Market(dataset, training, parts, prepared, golden_requests(dataset, parts.split.validation[0]))


def configured(market: Market, change: dict[str, Any]) -> TrainingConfig:
    """The tiny configuration with some keys of its sections changed."""
    raw = market.training.model_dump(exclude_none=True)
    merged = {k: {**raw[k], **v} if isinstance(v, dict) else v for k, v in change.items()}
    return TrainingConfig.from_dict({**raw, **merged}, market.dataset.declaration)


@pytest.fixture(scope="module", params=METHODS)
def bundle(request: pytest.FixtureRequest, market: Market, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of one method."""
    place: Path = tmp_path_factory.mktemp("methods") / request.param
    config, declaration = configured(market, METHODS[request.param]), market.dataset.declaration
    with staging(place) as directory:
        prepared, made = build(directory, market.parts, market.prepared, declaration, config, Silent())
        prior, window = fit_prior(made.predictions, {}, (), 1.0), data_window(market.parts.split)
        content = Content(declaration, prepared.plan, made.ensemble.spec, prior, market.golden, 1, window, {})
        publish(directory, place, content, made.ensemble, made.proofs, None)
        made.ensemble.close()
    return place


def test_the_bundle_answers_what_its_boosters_say(bundle: Path, market: Market) -> None:
    """Loading it verifies hashes, certificate and golden rows; then every number of 200 rows is that of LightGBM's
    scores, the method's formula, the curves and isotonic regression.
    """
    predictor = Predictor.load(bundle)
    columns = market.parts.calibration.columns
    X, state = predictor.plan.transform(columns)[:200], columns.row_state[:200]
    got = predictor.ensemble.predict(X, state)
    p, ltv, log_mean = by_hand(bundle, X, state)
    np.testing.assert_allclose(got.p_buyer, p, rtol=1e-9)
    np.testing.assert_allclose(got.ltv, ltv, rtol=1e-9)
    np.testing.assert_allclose(got.log_mean, log_mean, rtol=1e-9)
    assert (got.ltv[:, 1] > 0).all()
    assert len(np.unique(got.ltv[:, 1])) > 50
    predictor.close()


@pytest.mark.parametrize("bundle", ["chain", "experts"], indirect=True)
def test_a_bundle_is_recompiled_from_its_texts(bundle: Path) -> None:
    """A booster of several outputs, and one that reads another's answer, come back as they were."""
    before = (bundle / "golden.jsonl").read_bytes()
    recompile(bundle)
    Predictor.load(bundle).close()
    assert (bundle / "golden.jsonl").read_bytes() == before


def by_hand(bundle: Path, X: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """p_buyer, ltv and log_mean of rows, from the bundle's texts and `ensemble.json`."""
    spec = json.loads((bundle / "ensemble.json").read_text())
    scores: Values = {}
    for library in spec["base"]:
        own = np.column_stack([X, *(scores[name].astype(np.float32) for name in library["inputs"])])
        scores |= _scores(bundle, library, own)
    p, dollars, shares = _dollars(spec, scores)
    plain = np.stack(dollars)
    expected = plain * p if spec["strategy"] == "two_stage" else plain
    extra = [scores["log_mean"]]
    features = np.column_stack([p, *np.log1p(plain), *(plain * p), *shares, *extra]).astype(np.float32)
    meta = _scores(bundle, spec["meta"], features.astype(np.float64))
    heads = np.stack([meta[f"d{h}"] for h in spec["horizons"]])
    mixed, calibration = expected * np.exp(heads), spec["calibration"]
    factor = [np.interp(np.log1p(x), c["x"], c["factor"]) for x, c in zip(mixed, calibration["ltv"], strict=True)]
    priced = (mixed * np.stack(factor) * np.array(calibration["state"])[state].T).T
    weights = spec["projection"]["weights"]
    ordered = np.array([isotonic_regression(row, sample_weight=weights) for row in priced])
    z = np.interp(np.maximum(meta["log_mean"], 0.0), calibration["log_mean"]["x"], calibration["log_mean"]["y"])
    return np.interp(p, calibration["p_buyer"]["x"], calibration["p_buyer"]["y"]), ordered, np.expm1(z)


def _scores(bundle: Path, library: dict[str, Any], X: np.ndarray) -> Values:
    """Raw scores by name; a multiclass booster's text carries the name of its first class."""
    names, found = [o["name"] for o in library["outputs"]], Values()
    while len(found) < len(names):
        path = bundle / "models" / f"{Path(library['library']).stem}.{names[len(found)]}.txt"
        raw = np.asarray(lgb.Booster(model_file=path).predict(X, raw_score=True)).reshape(len(X), -1)
        found |= dict(zip(names[len(found) :], raw.T, strict=False))
    return found


def _dollars(spec: dict[str, Any], scores: Values) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    p = 1.0 / (1.0 + np.exp(-scores["gate"]))
    heads, shares = [scores.get(f"d{h}", np.zeros(len(p))) for h in spec["horizons"]], list[np.ndarray]()
    if spec["form"] == "smeared":
        dollars = [np.maximum(np.expm1(f), 0.0) for f in heads]
    elif spec["form"] == "increments":
        dollars = list(np.cumsum(np.exp(heads), axis=0))
    elif spec["form"] == "experts":
        segments = np.exp([v for name, v in scores.items() if name.startswith("segment_")])
        experts = np.exp([v for name, v in scores.items() if name.startswith("expert_")])
        weighed = segments / segments.sum(axis=0)
        shares, dollars = list(weighed), [(weighed * experts).sum(axis=0) * np.exp(f) for f in heads]
    else:
        dollars = [np.exp(f) for f in heads]
    undo = spec["recalibration"]
    if undo["p_buyer"]:
        p = np.interp(p, undo["p_buyer"]["x"], undo["p_buyer"]["y"])
    if undo["ltv"]:
        factors = [np.interp(np.log1p(d), c["x"], c["factor"]) for d, c in zip(dollars, undo["ltv"], strict=True)]
        dollars = [d * f for d, f in zip(dollars, factors, strict=True)]
    return p, dollars, shares


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategy": "one_stage"}, "training.strategy: .*'two_stage', 'converting_only' or 'direct'"),
        ({"strategy": "direct"}, "strategy direct expects regressors.form separate or increments, received 'ratios'"),
        ({"strategy": "direct", "regressors": {"form": "separate"}}, "direct expects regressors.objective tweedie"),
        (
            {"strategy": "converting_only", "regressors": {"form": "chain"}},
            "expects regressors.form ratios or separate",
        ),
        ({"regressors": {"form": "increments"}}, "form increments expects objective tweedie, received 'lognormal'"),
        ({"regressors": {"form": "smeared"}}, "form smeared expects objective msle, received 'lognormal'"),
        ({"regressors": {"form": "experts"}}, "form experts expects objective gamma, received 'lognormal'"),
        ({"regressors": {"form": "chain", "objective": "quantile"}}, "form chain expects .* received 'quantile'"),
        ({"regressors": {"form": "chain", "resampling": RARE}}, "resampling expects form ratios or separate"),
        ({"regressors": {"experts": {"segments": 3}}}, "experts expects form experts, received 'ratios'"),
        ({"regressors": {"form": "experts", "objective": "gamma", "experts": {"segments": 1}}}, "experts.segments"),
        ({"classifier": {"resampling": RARE, "negatives_kept": 0.5}}, "resampling goes with neither negatives_kept"),
    ],
)
def test_what_does_not_go_together_is_one_line(market: Market, change: dict[str, Any], message: str) -> None:
    """The key, what was expected and what came."""
    with pytest.raises(DeclarationError, match=message) as caught:
        configured(market, change)
    assert str(caught.value).startswith("training")
    assert "\n" not in str(caught.value)
