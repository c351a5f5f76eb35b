"""What is kept between clicks: bundles, rows, answers and evaluations, each computed once for what it depends on.

Everything kept is shared by all who look and is only read. The functions that Streamlit wraps take what they depend
on as texts, and what they need beside that under a name with an underscore, which it leaves out of the key.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import lightgbm as lgb
import streamlit as st

from app.inference.manifest import read_manifest
from training.dashboard import judging, rows, scoring
from training.dashboard.rows import Rows
from training.dashboard.scoring import Answered, Loaded
from training.data.dataset import Dataset
from training.evaluation.contributions import Contributions, explain, load_models
from training.evaluation.drift import Reference, drift
from training.examining import category_texts

KEPT = 8
"""Of each kind; the oldest gives way."""


@dataclass(frozen=True)
class Stored:
    """Some hours of a data set, and how many of their rows at most."""

    path: Path
    first: str
    last: str
    limit: int

    @property
    def key(self) -> str:
        """Changes with what was chosen and with the folder."""
        return f"{self.path.resolve()} {self.path.stat().st_mtime_ns} {self.first} {self.last} {self.limit}"

    def read(self, bundle: Loaded) -> Rows:
        """The rows, by the bundle's declaration."""
        return rows.read_rows(Dataset(self.path, bundle.predictor.declaration), self.first, self.last, self.limit)


@dataclass(frozen=True)
class Uploaded:
    """An uploaded parquet file of one hour, and how many of its rows at most."""

    content: bytes
    hour: datetime
    limit: int

    @property
    def key(self) -> str:
        """Changes with the content, the hour and the limit."""
        return f"{hashlib.sha256(self.content).hexdigest()} {self.hour.isoformat()} {self.limit}"

    def read(self, bundle: Loaded) -> Rows:
        """The rows, by the bundle's declaration."""
        return rows.read_upload(self.content, self.hour, bundle.predictor.declaration, self.limit)


Source = Stored | Uploaded


def bundle_at(path: Path, key: bytes | None) -> Loaded:
    """The bundle at a place, as it is there now."""
    found: Loaded = _bundle(str(path), read_manifest(path).digest, key)
    return found


def answers(bundle: Loaded, source: Source) -> Answered:
    """A bundle's answers to the rows of a source."""
    found: Answered = _answers(_of(bundle), source.key, bundle, source)
    return found


def boosters(bundle: Loaded) -> dict[str, lgb.Booster]:
    """LightGBM's own form of the bundle's models, to be explained."""
    found: dict[str, lgb.Booster] = _boosters(_of(bundle), bundle)
    return found


def evaluation(source: Source, first: Answered, *others: Answered) -> judging.Evaluation:
    """Figures of one bundle or several on the same rows."""
    names = " ".join(_of(one.bundle) for one in (first, *others))
    found: judging.Evaluation = _evaluation(names, source.key, first, others)
    return found


def pictures(source: Source, answered: Answered) -> dict[str, tuple[str, bytes]]:
    """The report's pictures of an evaluation."""
    found: dict[str, tuple[str, bytes]] = _pictures(_of(answered.bundle), source.key, evaluation(source, answered))
    return found


def explained(source: Source, answered: Answered, model: str) -> Contributions:
    """TreeSHAP of one model on a sample of the rows."""
    found: Contributions = _explained(_of(answered.bundle), source.key, model, answered, boosters(answered.bundle))
    return found


def drifted(source: Source, answered: Answered) -> list[dict[str, Any]] | None:
    """Drift of the rows since training; None where the bundle does not hold what it was trained on."""
    found: list[dict[str, Any]] | None = _drifted(_of(answered.bundle), source.key, answered)
    return found


def _of(bundle: Loaded) -> str:
    return f"{bundle.path.resolve()} {bundle.predictor.manifest.digest}"


def _load(path: str, digest: str, _key: bytes | None) -> Loaded:
    return scoring.load(Path(path), _key)


def _answer(bundle: str, source: str, _bundle: Loaded, _source: Source) -> Answered:
    return scoring.answer(_bundle, _source.read(_bundle))


def _load_boosters(bundle: str, _bundle: Loaded) -> dict[str, lgb.Booster]:
    return load_models(_bundle.path, _bundle.predictor.plan.names)


def _judge(bundles: str, source: str, _first: Answered, _others: tuple[Answered, ...]) -> judging.Evaluation:
    return judging.judge(_first, _others)


def _draw(bundle: str, source: str, _found: judging.Evaluation) -> dict[str, tuple[str, bytes]]:
    return judging.draw(_found)


def _explain(
    bundle: str, source: str, model: str, _answered: Answered, _boosters: dict[str, lgb.Booster]
) -> Contributions:
    names = _answered.bundle.predictor.plan.names
    (found,) = explain({model: _boosters[model]}, _answered.X, names, seed=0, num_threads=1)
    return found


def _drift(bundle: str, source: str, _answered: Answered) -> list[dict[str, Any]] | None:
    reference = Reference.load(_answered.bundle.path)
    if reference is None:
        return None
    plan = _answered.bundle.predictor.plan
    texts = category_texts(plan.layout, _answered.rows.sample)
    return drift(reference, _answered.X, plan.names, texts, replicates=judging.REPLICATES, seed=0)


_bundle = st.cache_resource(max_entries=KEPT, show_spinner="Checking and loading the bundle")(_load)
_answers = st.cache_resource(max_entries=KEPT, show_spinner="Reading and pricing the rows")(_answer)
_boosters = st.cache_resource(max_entries=KEPT, show_spinner="Reading the models")(_load_boosters)
_evaluation = st.cache_resource(max_entries=KEPT, show_spinner="Scoring with intervals")(_judge)
_pictures = st.cache_resource(max_entries=KEPT, show_spinner="Drawing")(_draw)
_explained = st.cache_resource(max_entries=KEPT, show_spinner="Explaining the rows")(_explain)
_drifted = st.cache_resource(max_entries=KEPT, show_spinner="Comparing with the training rows")(_drift)
