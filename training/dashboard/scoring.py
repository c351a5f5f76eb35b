"""A bundle and rows enter; its answers, and a table of them to read, filter and download, leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from app.features.spec import HistoryState
from app.inference.ensemble import Predictions
from app.inference.predictor import Predictor
from training.dashboard.rows import Rows
from training.evaluation.rows import EvaluationRows, Scored
from training.learning.boosting import Floats
from training.samples import cohort

MISSING = "(missing)"


@dataclass(frozen=True)
class Loaded:
    """A bundle's directory and what was loaded from it."""

    path: Path
    predictor: Predictor

    @property
    def name(self) -> str:
        """That of its folder: of two bundles side by side no two have the same."""
        return self.path.name


@dataclass(frozen=True)
class Answered:
    """Rows, their X by the bundle's plan, shape (n, n_features), and its predictions."""

    bundle: Loaded
    rows: Rows
    X: Floats
    predictions: Predictions

    def scored(self) -> Scored:
        """As an evaluation reads them, under the bundle's name."""
        p = self.predictions
        return Scored(self.bundle.name, p.p_buyer, p.ltv, p.log_mean)


def load(path: Path, key: bytes | None = None) -> Loaded:
    """Check a bundle as the service would, and load it.

    Raises
    ------
    BundleError
        One line.
    """
    return Loaded(path, Predictor.load(path, key=key))


def answer(bundle: Loaded, rows: Rows) -> Answered:
    """Predict the rows, which were read by the bundle's own declaration."""
    predictor = bundle.predictor
    X = predictor.plan.transform(rows.sample.columns)
    return Answered(bundle, rows, X, predictor.ensemble.predict(X, rows.sample.columns.row_state))


def texts(answered: Answered) -> dict[str, list[str]]:
    """Every category of the request and the campaign, and the history state, row by row."""
    layout, columns = answered.bundle.predictor.layout, answered.rows.sample.columns
    names = [field.name for field in (*layout.texts, *layout.campaign_texts) if field.scope != "user"]
    found = {name: [MISSING if t is None else str(t) for t in cohort(layout, columns, name)] for name in names}
    states = [HistoryState(s).label for s in range(len(HistoryState))]
    return {**found, "history_state": [states[code] for code in columns.row_state.tolist()]}


def cohorts(answered: Answered) -> dict[str, list[str]]:
    """Groups to look at: the history state, the campaign's categories and those that the prior is made of."""
    predictor = answered.bundle.predictor
    campaign = [field.name for field in predictor.declaration.scope("campaign") if field.kind == "category"]
    prior = [name for level in predictor.prior.levels for name in level]
    known = texts(answered)
    return {name: known[name] for name in dict.fromkeys(["history_state", *prior, *campaign])}


def evaluation_rows(answered: Answered) -> EvaluationRows:
    """What the answers are judged by; only for rows with labels."""
    sample = answered.rows.sample
    groups = {name: np.array(labels, dtype=np.str_) for name, labels in cohorts(answered).items()}
    return EvaluationRows(sample.labels.revenue, sample.labels.buyer, sample.row_id, groups, answered.rows.oracle)


def table(answered: Answered) -> pa.Table:
    """One line a row: identity, hour, answers, what came true, and the categories.

    Returns
    -------
    pyarrow.Table
        `row_id`, `hour`, `p_buyer`, `ltv_d…` and `log_mean` in US dollars, `ordered` (the projection onto the order of
        the horizons changed the row), where known `revenue_d…` and `expected_d…` (the oracle), then the texts.
    """
    rows, predictions = answered.rows, answered.predictions
    horizons = answered.bundle.predictor.declaration.targets.horizons
    hours = [datetime.fromtimestamp(t, UTC) for t in rows.sample.columns.now.tolist()]
    found: dict[str, Any] = {
        "row_id": rows.sample.row_id.tolist(),
        "hour": pa.array(hours, pa.timestamp("s", "UTC")),
        "p_buyer": predictions.p_buyer,
        **{f"ltv_d{h}": np.ascontiguousarray(predictions.ltv[:, i]) for i, h in enumerate(horizons)},
        "log_mean": predictions.log_mean,
        "ordered": predictions.corrected,
    }
    if rows.labelled:
        found |= {f"revenue_d{h}": rows.sample.labels.revenue[:, i].copy() for i, h in enumerate(horizons)}
    if rows.oracle is not None:
        found |= {f"expected_d{h}": rows.oracle.ltv[:, i].copy() for i, h in enumerate(horizons)}
    return pa.table({**found, **texts(answered)})


def csv_of(lines: pa.Table) -> bytes:
    """The table as CSV."""
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(lines, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def totals(answered: Answered) -> Mapping[str, float]:
    """Of all rows: how many, the mean of each answer and, where known, of what came true; US dollars per install."""
    p, labels = answered.predictions, answered.rows.sample.labels
    horizons = answered.bundle.predictor.declaration.targets.horizons
    found = {"rows": float(len(answered.rows)), "p_buyer": float(p.p_buyer.mean())}
    found |= {f"ltv_d{h}": float(p.ltv[:, i].mean()) for i, h in enumerate(horizons)}
    if answered.rows.labelled:
        found["buyers"] = float(labels.buyer.mean())
        found |= {f"revenue_d{h}": float(labels.revenue[:, i].mean()) for i, h in enumerate(horizons)}
    return found
