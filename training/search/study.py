"""A question, data and a folder enter; a study of trials on disk leaves, to be gone on with after any interruption.

Optuna's TPE proposes for two objectives. Optuna can not prune where there are two, so this does: a configuration whose
least cost (`training.search.cost`) is above the ceiling is told as pruned before anything of it is trained, and so is
one that contradicts itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from app.errors import DeclarationError, InputError
from training.locking import exclusive
from training.progress import Stages
from training.search.bench import Bench, Built, Error, checked
from training.search.cost import least_us, sizes
from training.search.space import Question

STUDY: Final = "study.db"
NAME: Final = "pltv"
STARTUP: Final = 10
"""Trials that are drawn at random before TPE has enough to learn from."""
DONE: Final = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Settings:
    """How to search.

    Parameters
    ----------
    trials : int
        In all, those of earlier runs among them.
    error : Error
        What the first objective is.
    ceiling_us : float or None
        Above it a configuration is not trained; None for twice what the configuration as it is takes.
    rounds : int
        Of each timing.
    seed : int
    """

    trials: int
    error: Error
    ceiling_us: float | None
    rounds: int
    seed: int


@dataclass(frozen=True)
class Reference:
    """The configuration as it is: its microseconds, and its errors, which are 1 in what trials are measured by."""

    us: float
    errors: dict[str, float]


def search(
    question: Question,
    data: Path,
    out: Path,
    settings: Settings,
    stages: Stages,
    tell: Callable[[str], None],
    processed: Path | None = None,
) -> tuple[optuna.Study, Reference]:
    """Try configurations until the study holds as many trials as asked for.

    Parameters
    ----------
    question : Question
    data : Path
        Hourly partitions; the hours that a bundle is judged on are left out.
    out : Path
        Folder of the study; one of the same question, data and objective is gone on with.
    settings : Settings
    stages : Stages
        Who shows progress, a stage a trial.
    tell : callable
        Given a line on each trial.
    processed : Path, optional
        As of `training.search.bench.Bench`.

    Raises
    ------
    InputError
        The folder holds a study of something else, or another process works on it.
    PltvError
        The configuration as it is can not be trained.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with exclusive(out / ".lock", "search"):
        study = _open(out, settings)
        bench = Bench(data, question.raw, settings.rounds, processed)
        _hold(study, out, _identity(question, data, bench.hours, settings.error))
        with stages.stage("the configuration as it is"):
            built = bench.build(question.raw)
        with built:
            reference = _reference(study, bench, built)
            _begin(study, question)
            ceiling = 2.0 * reference.us if settings.ceiling_us is None else settings.ceiling_us
            while (done := len(study.get_trials(deepcopy=False, states=DONE))) < settings.trials:
                with stages.stage(f"trial {done + 1} of {settings.trials}"):
                    line = _try(study, question, bench, built, reference, ceiling, settings.error)
                tell(line)
    return study, reference


def _open(out: Path, settings: Settings) -> optuna.Study:
    storage = f"sqlite:///{(out / STUDY).resolve()}"
    # A sampler of the same seed would draw again what it drew before the interruption.
    fresh = optuna.create_study(
        study_name=NAME, storage=storage, directions=["minimize", "minimize"], load_if_exists=True
    )
    fresh.sampler = TPESampler(seed=settings.seed + len(fresh.get_trials(deepcopy=False)), n_startup_trials=STARTUP)
    return fresh


def _identity(question: Question, data: Path, hours: set[str], error: Error) -> str:
    space = {path: repr(one) for path, one in question.space.items()}
    told = json.dumps([question.raw, space, str(data.resolve()), sorted(hours), error], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()


def _hold(study: optuna.Study, out: Path, identity: str) -> None:
    """Refuse to mix trials that can not be compared."""
    if study.user_attrs.get("identity", identity) != identity:
        expected = "expected the configuration, space, data and error that it began with, or another folder"
        raise InputError(f"{expected}; received others", str(out / STUDY))
    study.set_user_attr("identity", identity)


def _reference(study: optuna.Study, bench: Bench, built: Built) -> Reference:
    """As measured when the study began: later timings are relative to it, whatever the machine does by then."""
    kept = study.user_attrs.get("reference")
    if kept is None:
        kept = {"us": bench.microseconds(built), "errors": dict(vars(built.errors))}
        study.set_user_attr("reference", kept)
    return Reference(float(kept["us"]), dict(kept["errors"]))


def _begin(study: optuna.Study, question: Question) -> None:
    """Take up what an interrupted run left unfinished, and begin with the configuration's own values."""
    trials = study.get_trials(deepcopy=False)
    own = question.own_values()
    if not trials and own is not None:
        study.enqueue_trial(own)
    for trial in trials:
        if trial.state is TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params)


def _try(
    study: optuna.Study,
    question: Question,
    bench: Bench,
    built: Built,
    reference: Reference,
    ceiling: float,
    error: Error,
) -> str:
    """One trial, told to the study; a line on it."""
    trial = study.ask(dict[str, BaseDistribution](question.space))
    raw = question.with_values(trial.params)
    try:
        _, config = checked(raw)
    except DeclarationError as wrong:
        return _pruned(study, trial, str(wrong))
    leaves = sizes(config.model_dump(mode="json"))
    trial.set_user_attr("sizes", leaves)
    if (least := least_us(_measured(study), leaves)) > ceiling:
        return _pruned(study, trial, f"at least {least:.1f} µs, above the ceiling of {ceiling:.1f}")
    with bench.build(raw) as candidate:
        us = reference.us * bench.ratio(candidate, built)
        found = candidate.errors.against(built.errors, error)
        trial.set_user_attr("errors", dict(vars(candidate.errors)))
    study.tell(trial, [found, us])
    return f"trial {trial.number}: error {found:.4f} of the configuration's, {us:.1f} µs"


def _pruned(study: optuna.Study, trial: optuna.Trial, why: str) -> str:
    trial.set_user_attr("pruned", why)
    study.tell(trial, state=TrialState.PRUNED)
    return f"trial {trial.number}: pruned, {why}"


def _measured(study: optuna.Study) -> list[tuple[Mapping[str, float], float]]:
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [(trial.user_attrs["sizes"], trial.values[1]) for trial in complete]
