"""CDNOW: a bundle and the customers that it was held out from enter; it beside the field's models leaves.

The protocol is `docs/cdnow.md`. All are judged on the customers of the last hours, which taught nobody a label. What
each may learn from: the bundle and the boosters from histories and labels of the other customers, BG/NBD and
Gamma-Gamma from the histories of all customers and from no label, which is how they are used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from app.errors import DataError
from app.inference.predictor import Predictor
from training.data.cdnow.histories import Histories, read_histories
from training.data.dataset import Dataset, Partition
from training.evaluation.baselines import fit_baselines
from training.evaluation.purchase_models import PurchaseModels, Rfm, summarise
from training.evaluation.ranking import Floats
from training.evaluation.report import evaluate
from training.evaluation.rows import Scored
from training.learning.labels import Labels
from training.progress import Stages
from training.samples import read_sample
from training.validation import evaluation_rows, score, score_baseline

METRICS: Final = ("mae", "rmse", "normalised_gini", "spearman", "decile_mape", "bias_realised")
BOOSTERS: Final = ("tweedie", "ziln")
PARAMS: Final[Mapping[str, Any]] = {
    "num_boost_round": 100,
    "num_leaves": 4,
    "learning_rate": 0.05,
    "min_data_in_leaf": 40,
}
"""Of the boosters on recency, frequency and money: of 4 to 31 leaves and 60 to 200 rounds the best on the customers who
teach, by four splits among them."""


@dataclass(frozen=True)
class _Peers:
    """The peers' answers for the customers who judge, and what was fitted."""

    scored: list[Scored]
    models: PurchaseModels
    scale: Floats


def compare(
    predictor: Predictor, dataset: Dataset, *, replicates: int, seed: int, threads: int, stages: Stages
) -> dict[str, Any]:
    """Judge a bundle and its peers on the same customers.

    Parameters
    ----------
    predictor : Predictor
        Trained on these partitions.
    dataset : Dataset
        What `training.data.cdnow.prepare` wrote.
    replicates, seed : int
        Of the bootstrap; the seed is the boosters' as well.
    threads : int
        Of LightGBM.
    stages : Stages

    Returns
    -------
    dict
        Ready for JSON: `protocol`, `models`, `amounts` (predictor → horizon → metric → value, low, high) and
        `verdicts` (the bundle against each peer, by paired replicates).

    Raises
    ------
    DataError
        The partitions are not those that the bundle was trained on.
    """
    declaration = predictor.declaration
    horizons = declaration.targets.horizons
    learning, judging = _sides(dataset, predictor.manifest.data_window)
    with stages.stage("read customers", dataset.rows) as advance:
        taught, judged = (read_sample(dataset, part, None, advance) for part in (learning, judging))
    with stages.stage("fit the peers"):
        peers = _fit_peers(
            read_histories(learning), read_histories(judging), taught.labels, horizons, seed=seed, threads=threads
        )
    with stages.stage("score with intervals"):
        X = predictor.plan.transform(judged.columns)
        ours = score(predictor.ensemble, X, judged.columns.row_state)
        found = evaluate(
            evaluation_rows(judged, declaration, (), dataset.path),
            [ours, *peers.scored],
            horizons,
            bootstrap_replicates=replicates,
            seed=seed,
            log_horizon=declaration.targets.log_mean,
        )
    return {
        "benchmark": "CDNOW",
        "bundle": predictor.manifest.name,
        "protocol": {
            "customers_learning": len(taught),
            "customers_judging": len(judged),
            "payers_judging": {f"d{h}": int((judged.labels.revenue[:, i] > 0).sum()) for i, h in enumerate(horizons)},
            "bootstrap": found["bootstrap"],
            "boosters_on_rfm": dict(PARAMS),
        },
        "models": {
            "bgnbd": {**peers.models.purchases, "time": "weeks"},
            "gamma_gamma": peers.models.spend,
            "scale": {f"d{h}": float(s) for h, s in zip(horizons, peers.scale, strict=True)},
        },
        "amounts": {
            who: {day: {name: figures[name] for name in METRICS} for day, figures in days.items()}
            for who, days in found["amounts"].items()
        },
        "order_violations": found["order_violations"],
        "verdicts": found["verdicts"],
    }


def _sides(
    dataset: Dataset, window: Mapping[str, Mapping[str, Any]]
) -> tuple[tuple[Partition, ...], tuple[Partition, ...]]:
    """Hours whose customers taught the bundle, its calibration among them, and hours whose customers judge it."""
    parts = []
    for name, part in window.items():
        chosen = tuple(p for p in dataset.partitions if part["first"] <= p.name <= part["last"])
        if (rows := sum(p.rows for p in chosen)) != part["rows"]:
            expected = f"expected the customers that the bundle was trained on, {part['rows']} in its {name} part"
            raise DataError(f"{dataset.path}: {expected}, received {rows}")
        parts.append(chosen)
    train, calibration, validation = parts
    return (*train, *calibration), validation


def _fit_peers(
    taught: Histories, judged: Histories, labels: Labels, horizons: Sequence[int], *, seed: int, threads: int
) -> _Peers:
    known, theirs = (summarise(h.owner, h.days_before, h.dollars, len(h.customer_id)) for h in (taught, judged))
    models = PurchaseModels.fit(_both(known, theirs))
    expected = models.expected_revenue(theirs, tuple(horizons))
    # The same model told one number a horizon of what came: that is what a calendar effect can be read from.
    scale = labels.revenue.sum(axis=0) / models.expected_revenue(known, tuple(horizons)).sum(axis=0)
    scored = [Scored("bgnbd_gg", None, expected, None), Scored("bgnbd_gg_scaled", None, expected * scale, None)]
    boosters = fit_baselines(
        known.features(),
        {h: labels.revenue[:, i] for i, h in enumerate(horizons)},
        labels.buyer,
        horizons=horizons,
        seed=seed,
        num_threads=threads,
        params=PARAMS,
        log_horizon=horizons[-1],
    )
    X, named = theirs.features(), {one.name: one for one in boosters}
    scored += [score_baseline(named[name], X) for name in (*BOOSTERS, "constant")]
    return _Peers(scored, models, np.asarray(scale))


def _both(a: Rfm, b: Rfm) -> Rfm:
    return Rfm(*(np.concatenate([getattr(a, n), getattr(b, n)]) for n in Rfm.__dataclass_fields__))
