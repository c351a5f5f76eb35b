"""Tests of training.search.study, bench and front, and of `pltv tune`, on the tiny market."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import IntDistribution
from optuna.trial import TrialState

from app.errors import DataError, InputError
from app.inference.bundle import read_manifest
from app.inference.predictor import Predictor
from tests.training.conftest import Tiny
from tests.training.test_cli import mistake, run
from training import pipeline
from training.config import load
from training.data.dataset import Dataset
from training.data.splits import temporal_split
from training.evaluation.variants import read_yaml
from training.learning.options import BasesConfig
from training.locking import exclusive
from training.progress import Silent
from training.search import study as study_module
from training.search.bench import Bench, Errors
from training.search.front import Front, Point, choose, undominated
from training.search.space import Question
from training.search.study import Reference, Settings, search

SPACE = {
    "training.classifier.rounds": IntDistribution(1, 40),
    "training.log_mean.rounds": IntDistribution(1, 40),
}
SETTINGS = Settings(trials=3, error="all", ceiling_us=None, rounds=5, seed=1)


@pytest.fixture(scope="module")
def question(tiny: Tiny) -> Question:
    """The tiny configuration, of which two sizes vary."""
    return Question(read_yaml(tiny.config), SPACE)


@pytest.fixture(scope="module")
def bench(tiny: Tiny, question: Question) -> Bench:
    """The tiny market's earlier hours."""
    return Bench(tiny.data, question.raw, 5)


def test_the_judged_hours_are_never_seen(tiny: Tiny, bench: Bench) -> None:
    """What a search reads ends where the validation of a bundle begins, and its own validation is of other hours."""
    dataset = Dataset(tiny.data, tiny.declaration)
    outer = temporal_split(dataset.partitions, tiny.training.split.options())
    assert bench.hours == {hour.name for hour in (*outer.train, *outer.calibration)}
    parts, _ = bench._rows(tiny.declaration, tiny.training)
    read = {hour for part in parts.split.parts.values() for hour in part}
    assert {hour.name for hour in read} == bench.hours
    assert max(hour.now for hour in read) < outer.validation[0].now


def test_rows_are_prepared_once_for_all_learners(tiny: Tiny, bench: Bench) -> None:
    """Another learner reads no rows again; another mask or split does."""
    first = bench._rows(tiny.declaration, tiny.training)[1]
    deeper = tiny.training.classifier.model_copy(update={"rounds": 9})
    for learners in ({"classifier": deeper}, {"bases": BasesConfig()}, {"strategy": "direct"}):
        assert bench._rows(tiny.declaration, tiny.training.model_copy(update=learners))[1] is first
    masked = bench._rows(tiny.declaration, tiny.training.model_copy(update={"history_mask": 0.0}))[1]
    assert masked is not first
    assert (masked.state != first.state).any()


def test_a_built_ensemble_answers_as_it_will_be_served(bench: Bench, question: Question) -> None:
    """More trees cost more, both are measured, and the errors are those of the compiled answers."""
    small = question.with_values({"training.classifier.rounds": 1, "training.log_mean.rounds": 1})
    large = question.with_values({"training.classifier.rounds": 150, "training.log_mean.rounds": 150})
    with bench.build(small) as one, bench.build(large) as other:
        assert bench.ratio(other, one) > 1.0
        assert bench.microseconds(one) > 0.0
        assert one.errors.against(one.errors, "all") == 1.0
        assert one.errors.log_loss > 0.0
        assert one.ensemble.predict(*_first(one)).ltv.shape == (1, 3)


def _first(built: Any) -> tuple[Any, Any]:
    return built.calls[0].__closure__[1].cell_contents, built.calls[0].__closure__[2].cell_contents


def test_errors_are_relative_to_the_reference() -> None:
    """The mean of three shares, or one of them."""
    ours, reference = Errors(0.2, 0.3, 4.0), Errors(0.1, 0.3, 8.0)
    assert ours.against(reference, "log_loss") == 2.0
    assert ours.against(reference, "deviance") == 0.5
    assert ours.against(reference, "all") == pytest.approx((2.0 + 1.0 + 0.5) / 3.0)


def killed(question: Question, data: Path, out: Path) -> None:
    """A search that dies within its second trial, as a killed process does."""
    told = []

    def tell(line: str) -> None:
        told.append(line)

    real = Bench.build

    def build(self: Bench, raw: Any) -> Any:
        if told:
            os._exit(9)
        return real(self, raw)

    Bench.build = build  # type: ignore[method-assign]
    search(question, data, out, SETTINGS, Silent(), tell)


def test_a_killed_search_goes_on(tiny: Tiny, question: Question, tmp_path: Path) -> None:
    """Nothing measured is measured again, what was under way is tried first, and the configuration was the first."""
    process = multiprocessing.get_context("spawn").Process(target=killed, args=(question, tiny.data, tmp_path))
    process.start()
    process.join()
    assert process.exitcode == 9
    told: list[str] = []
    study, reference = search(question, tiny.data, tmp_path, SETTINGS, Silent(), told.append)
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert len(told) == 2
    assert study.trials[0].params == question.own_values()
    assert study.trials[0].values[0] == 1.0
    assert study.trials[2].params == study.trials[1].params
    assert study.trials[3].params != study.trials[2].params
    again, same = search(question, tiny.data, tmp_path, SETTINGS, Silent(), told.append)
    assert (len(again.trials), len(told), same) == (4, 2, reference)
    other = Question(question.raw, {**SPACE, "training.seed": IntDistribution(1, 2)})
    with pytest.raises(InputError, match="that it began with"):
        search(other, tiny.data, tmp_path, SETTINGS, Silent(), told.append)
    with exclusive(tmp_path / ".lock", "search"), pytest.raises(InputError, match="alone"):
        search(question, tiny.data, tmp_path, SETTINGS, Silent(), told.append)


def test_what_is_too_dear_is_not_trained(monkeypatch: pytest.MonkeyPatch, question: Question, tmp_path: Path) -> None:
    """Once prices are known a configuration above the ceiling is told as pruned, and so is one that contradicts itself.

    A bench that answers at once takes the place of training: cost is the number of trees.
    """
    trained = []

    class Priced:
        hours = frozenset({"hour"})

        def __init__(self, *_: Any) -> None:
            """Nothing to read."""

        def build(self, raw: Any) -> Any:
            trained.append(raw["training"])
            return _Built(raw["training"])

        def microseconds(self, built: _Built) -> float:
            return float(built.us)

        def ratio(self, built: _Built, reference: _Built) -> float:
            return float(built.us / reference.us)

    monkeypatch.setattr(study_module, "Bench", Priced)
    space = {**SPACE, "training.history_mask": optuna.distributions.CategoricalDistribution((0.15, 2.0))}
    asked = Settings(trials=40, error="msle", ceiling_us=50.0, rounds=5, seed=3)
    study, _ = search(Question(question.raw, space), tmp_path, tmp_path, asked, Silent(), lambda _: None)
    assert len(study.trials) == 40
    pruned = [t for t in study.trials if t.state is TrialState.PRUNED]
    dear = [t for t in pruned if "above the ceiling of 50.0" in t.user_attrs["pruned"]]
    assert dear
    assert all(sum(t.params[name] for name in SPACE) > 49 for t in dear)
    assert [t for t in pruned if "history_mask" in t.user_attrs["pruned"]]
    complete = [t for t in study.trials if t.state is TrialState.COMPLETE]
    assert len(trained) == 1 + len(complete)  # the configuration as it is, and what was not pruned


class _Built:
    def __init__(self, training: Any) -> None:
        self.us = 1.0 + training["classifier"]["rounds"] + training["log_mean"]["rounds"]
        self.errors = Errors(1.0, 1.0 / self.us, 1.0)

    def __enter__(self) -> _Built:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""


POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12)


def points(pairs: list[tuple[int, int]]) -> list[Point]:
    """Points of (error, microseconds)."""
    return [Point(i, float(e), float(us), {}, {}) for i, (e, us) in enumerate(pairs)]


@given(POINTS)
def test_the_front_holds_whom_none_beats(pairs: list[tuple[int, int]]) -> None:
    """By the definition, pair by pair; of equal points the first stands for all."""
    everyone = points(pairs)
    best = undominated(everyone)

    def beaten(one: Point) -> bool:
        return any(
            other.error <= one.error and other.us <= one.us and (other.error, other.us) != (one.error, one.us)
            for other in everyone
        )

    assert {(p.error, p.us) for p in best} == {(p.error, p.us) for p in everyone if not beaten(p)}
    assert [p.us for p in best] == sorted({p.us for p in best})


def test_the_choice_is_the_least_error_within_the_budget() -> None:
    """By default the budget is what the configuration takes; where nothing is cheap enough that is one line."""
    everyone = tuple(points([(9, 1), (5, 3), (4, 6), (7, 2)]))
    front = Front(everyone, undominated(everyone), {}, Reference(4.0, {}))
    assert choose(front, None)[0].trial == 1
    assert choose(front, 6.0) == (everyone[2], 6.0)
    assert choose(front, 2.5)[0].trial == 3
    with pytest.raises(InputError, match=r"at most 0.5 µs, received the cheapest of 4 took 1.0"):
        choose(front, 0.5)


def test_tune_shows_the_front_and_trains_the_choice(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tiny: Tiny, tmp_path: Path
) -> None:
    """Table, figures, picture, the chosen configuration, and a sound bundle of it."""
    monkeypatch.setattr(pipeline, "judge", lambda *_: tiny.trained.evaluation)
    space, out, model = tmp_path / "space.yaml", tmp_path / "study", tmp_path / "models" / "tuned"
    space.write_text(yaml.safe_dump({"training.classifier.rounds": {"int": [1, 30]}}), encoding="utf-8")
    args: tuple[object, ...] = (
        "tune",
        "--config",
        tiny.config,
        "--data",
        tiny.data,
        "--out",
        out,
        "--space",
        space,
        "--model",
        model,
    )
    args = (*args, "--processed", tmp_path / "processed")
    code, said, _ = run(capfd, *args, "--trials", 2, "--rounds", 5, "--budget-us", 1e6)
    assert code == 0
    found = json.loads((out / "tune.json").read_text())
    assert len(found["points"]) == 2
    chosen = next(p for p in found["front"] if p["trial"] == found["chosen"])
    assert chosen["error"] == min(p["error"] for p in found["points"])
    assert f"| **{chosen['trial']}** |" in said
    assert (out / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert load(out / "chosen.yaml")[1].classifier.rounds == chosen["values"]["training.classifier.rounds"]
    assert read_manifest(model).name == "tuned"
    # The search's rows and the training's, and the models of the training alone.
    assert len(list((tmp_path / "processed").glob("*/plan-*.pickle"))) == 2
    assert len(list((tmp_path / "processed").glob("*/models-*.pickle"))) == 1
    Predictor.load(model).close()
    said = mistake(run(capfd, *args, "--trials", 2, "--rounds", 5, "--budget-us", 1e-6))
    assert "budget-us: expected a configuration of at most 0.0 µs" in said


def test_data_without_enough_hours_are_refused(question: Question, tmp_path: Path) -> None:
    """Before anything is written into the study."""
    with pytest.raises(DataError, match="expected a folder of hourly partitions"):
        search(question, tmp_path / "none", tmp_path / "out", SETTINGS, Silent(), lambda _: None)
