"""Tests of training.search.space."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from app.errors import DeclarationError
from tests.training.conftest import SMADEX
from training.evaluation.variants import read_yaml
from training.search.bench import checked
from training.search.space import Question, load_space


def test_the_shipped_space_is_around_the_shipped_configuration() -> None:
    """Its paths exist, the configuration's own values lie inside, and both ends of every dimension are allowed."""
    question = Question(read_yaml(SMADEX), load_space(SMADEX.with_name("search.yaml")))
    own = question.own_values()
    assert own is not None
    assert question.with_values(own) == question.raw
    for path, distribution in question.space.items():
        assert isinstance(distribution, IntDistribution | FloatDistribution)
        for end in (distribution.low, distribution.high):
            checked(question.with_values({path: end}))


def test_a_space_is_read(tmp_path: Path) -> None:
    """Whole numbers, others, choices, and scales."""
    path = tmp_path / "space.yaml"
    path.write_text("a.b: {int: [1, 9], log: true}\nc: {float: [0, 1]}\nd: {choice: [x, 2, null]}\n")
    assert load_space(path) == {
        "a.b": IntDistribution(1, 9, log=True),
        "c": FloatDistribution(0.0, 1.0),
        "d": CategoricalDistribution(("x", 2, None)),
    }


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "a: 3",
        "a: {int: [1, 2], float: [1, 2]}",
        "a: {int: [1, 2], step: 1}",
        "a: {int: [1.5, 2]}",
        "a: {int: [true, 2]}",
        "a: {int: [3, 2]}",
        "a: {int: [1]}",
        "a: {int: 1}",
        "a: {float: [0, 1], log: true}",
        "a: {float: [x, 1]}",
        "a: {choice: []}",
        "a: {choice: [[1]]}",
        "a: {choice: [1, 2], log: true}",
    ],
)
def test_an_impossible_space_is_one_line(tmp_path: Path, text: str) -> None:
    """The file and the path are named."""
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises(DeclarationError) as caught:
        load_space(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_own_values_are_none_where_one_is_absent_or_outside() -> None:
    """A configuration that the space does not hold is no trial of it."""
    space = {"a.b": IntDistribution(1, 9), "c": CategoricalDistribution(("x", "y"))}
    assert Question({"a": {"b": 3}, "c": "y"}, space).own_values() == {"a.b": 3, "c": "y"}
    for raw in (
        {"a": {"b": 10}, "c": "y"},
        {"a": {"b": True}, "c": "y"},
        {"a": 3, "c": "y"},
        {"a": {"b": 3}, "c": "z"},
    ):
        assert Question(raw, space).own_values() is None


def test_values_go_to_their_paths_and_nothing_else_moves() -> None:
    """Siblings stay, and the configuration itself is not touched."""
    raw = {"a": {"b": 1, "c": 2}, "d": [1]}
    assert Question(raw, {}).with_values({"a.b": 5, "e.f": 6}) == {"a": {"b": 5, "c": 2}, "d": [1], "e": {"f": 6}}
    assert raw == {"a": {"b": 1, "c": 2}, "d": [1]}
