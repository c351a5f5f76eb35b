"""A configuration enters; its validation error and the microseconds of its compiled ensemble leave.

The day that bundles are judged on is kept out: a search sees the hours before it alone, cut in the same shares anew.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from sklearn.metrics import mean_tweedie_deviance

from app.features.spec import Declaration
from app.inference import bundle
from app.inference.ensemble import Ensemble
from app.inference.lowering import lower
from app.inference.program import EnsembleTwin
from training.config import SplitConfig, TrainingConfig
from training.data.dataset import Dataset
from training.data.sampling import spread
from training.data.splits import temporal_split
from training.evaluation.metrics import log_loss, msle
from training.learning.boosting import Floats
from training.pipeline import build, prepare
from training.progress import Silent
from training.publishing.codegen import compile_arithmetic
from training.samples import Parts, Prepared, Sample
from training.scale.finished import Finished
from training.scale.loading import identity

ROWS: Final = 256
"""Rows that take turns in the timing."""
LEARNERS: Final = {"strategy", "classifier", "regressors", "log_mean", "meta", "bases", "selection", "calibration",
                   "multiplier", "prior", "report", "tracking"}  # fmt: skip
"""Parts of a configuration that rows and features do not rest on; of all others they do."""

Error = Literal["all", "log_loss", "msle", "deviance"]
POWER: Final = 1.7
_LEAST: Final = 1e-9  # US dollars: the deviance is not defined for a mean of zero
_NANOSECONDS: Final = 1e-3


@dataclass(frozen=True)
class Errors:
    """Errors on the validation rows, each least for the truth: of p_buyer, of the log answer, of the mean.

    The mean's is its Tweedie deviance: unlike a squared error or a Gini it is not decided by a handful of whales.
    """

    log_loss: float
    msle: float
    deviance: float

    def against(self, reference: Errors, which: Error) -> float:
        """One number: the error relative to the reference's, or the mean of all three."""
        shares = {name: getattr(self, name) / getattr(reference, name) for name in ("log_loss", "msle", "deviance")}
        return float(np.mean(list(shares.values()))) if which == "all" else float(shares[which])


class Bench:
    """Rows, prepared once for all configurations that share them.

    Parameters
    ----------
    data : Path
        Folder of hourly partitions.
    raw : mapping
        The configuration as it is: its split tells the hours that are kept out.
    rounds : int
        Of the timing; each asks for `ROWS` rows, one a call.
    processed : Path, optional
        Folder where rows and features of an earlier run are found and this one's are kept; a temporary one unless
        given. Models are not kept: a study remembers what they were worth.
    """

    def __init__(self, data: Path, raw: Mapping[str, Any], rounds: int, processed: Path | None = None) -> None:
        self._data, self._rounds, self._processed = data, rounds, processed
        declaration, config = checked(raw)
        hours = spread(Dataset(data, declaration, config.weighting).partitions, config.sampling.max_partitions)
        outer = temporal_split(hours, config.split.options())
        self.hours = {hour.name for hour in (*outer.train, *outer.calibration)}
        self._ready: tuple[str, tuple[Parts, Prepared]] | None = None

    def build(self, raw: Mapping[str, Any]) -> Built:
        """Learn, compile and score a configuration.

        Raises
        ------
        PltvError
            It contradicts itself, or can not be trained.
        """
        declaration, config = checked(raw)
        parts, prepared = self._rows(declaration, config)
        scratch = tempfile.TemporaryDirectory(prefix="pltv-tune-")
        try:
            directory = Path(scratch.name)
            kept, assembled = build(directory, parts, prepared, declaration, config, Silent())
            compile_arithmetic(directory / bundle.ARITHMETIC)
            ensemble = _as_served(assembled.ensemble, directory / bundle.ARITHMETIC)
            X, state = kept.plan.transform(parts.validation.columns), parts.validation.columns.row_state
            errors = _errors(ensemble, X, parts.validation, declaration)
            rows = [(X[i : i + 1], state[i : i + 1]) for i in range(min(ROWS, len(X)))]
            return Built(errors, ensemble, [_call(ensemble, row, one) for row, one in rows], scratch)
        except BaseException:
            scratch.cleanup()
            raise

    def ratio(self, built: Built, reference: Built) -> float:
        """How many times the reference's time a row takes: the median over rounds.

        Both take turns row by row, so that a machine that slows down for a while slows both.
        """
        pairs = list(zip(built.calls, reference.calls, strict=True))
        found = []
        for _ in range(self._rounds + 1):
            ours = theirs = 0
            for one, other in pairs:
                started = time.perf_counter_ns()
                one()
                between = time.perf_counter_ns()
                other()
                ours, theirs = ours + between - started, theirs + time.perf_counter_ns() - between
            found.append(ours / theirs)
        return float(np.median(found[1:]))  # the first round warms caches

    def microseconds(self, built: Built) -> float:
        """Median over rounds of what one row takes."""
        times = [_nanoseconds(built.calls) for _ in range(self._rounds + 1)][1:]
        return float(np.median(times)) * _NANOSECONDS / len(built.calls)

    def _rows(self, declaration: Declaration, config: TrainingConfig) -> tuple[Parts, Prepared]:
        key = json.dumps([declaration.fingerprint, config.model_dump(mode="json", exclude=LEARNERS)])
        if self._ready is None or self._ready[0] != key:
            self._ready = None  # before others are read: two sets of rows may not fit into memory
            dataset = Dataset(self._data, declaration, config.weighting)
            dataset.partitions = tuple(hour for hour in dataset.partitions if hour.name in self.hours)
            config = _by_shares(config)
            finished = None if self._processed is None else Finished(self._processed, *identity(dataset, config))
            self._ready = key, prepare(dataset, config, Silent(), finished)
        return self._ready[1]


@dataclass
class Built:
    """A compiled ensemble: its errors, and a call a row; a context in which its libraries are there."""

    errors: Errors
    ensemble: Ensemble
    calls: list[Callable[[], object]]
    scratch: AbstractContextManager[str]

    def __enter__(self) -> Built:
        return self

    def __exit__(self, *_: object) -> None:
        self.ensemble.close()
        self.scratch.__exit__(None, None, None)


def checked(raw: Mapping[str, Any]) -> tuple[Declaration, TrainingConfig]:
    """Both halves of a configuration.

    Raises
    ------
    DeclarationError
    """
    declaration = Declaration.from_dict(dict(raw))
    return declaration, TrainingConfig.from_dict(raw["training"], declaration)


def _by_shares(config: TrainingConfig) -> TrainingConfig:
    """Dates were of the whole; the hours that are left are cut in shares."""
    shares = config.split if config.split.train_until is None else SplitConfig()
    return config.model_copy(update={"split": shares})


def _as_served(ensemble: Ensemble, arithmetic: Path) -> Ensemble:
    twin = EnsembleTwin(arithmetic, lower(ensemble.spec), ensemble.models)
    return Ensemble(ensemble.spec, ensemble.base.models, ensemble.meta, twin)


def _errors(ensemble: Ensemble, X: Floats, sample: Sample, declaration: Declaration) -> Errors:
    answers = ensemble.predict(X, sample.columns.row_state)
    j = declaration.targets.log_mean_index
    y, buyer = sample.labels.revenue[:, j], sample.labels.buyer
    known, told = np.isfinite(y), np.isfinite(buyer)
    weight = np.ones(len(y)) if sample.labels.weight is None else sample.labels.weight
    mean, counts = np.maximum(answers.ltv[known, j], _LEAST), weight[known]
    return Errors(
        log_loss(buyer[told], answers.p_buyer[told], weight[told]),
        msle(y[known], answers.log_mean[known], counts),
        float(mean_tweedie_deviance(y[known], mean, sample_weight=counts, power=POWER)),
    )


def _call(ensemble: Ensemble, row: Floats, state: Any) -> Callable[[], object]:
    return lambda: ensemble.predict(row, state)


def _nanoseconds(calls: list[Callable[[], object]]) -> int:
    started = time.perf_counter_ns()
    for call in calls:
        call()
    return time.perf_counter_ns() - started
