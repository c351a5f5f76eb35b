"""Tests of app.api.failures."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.failures import Sampler, log_unexpected, unexpected
from app.api.problems import Kind
from app.telemetry import configure_logging


def fail() -> None:
    """Raises what quotes a caller."""
    raise FloatingPointError("somebody's name")


def fail_elsewhere() -> None:
    """Raises the same from another place."""
    raise FloatingPointError("somebody's name")


def test_a_flood_of_one_error_is_a_line_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    """The first of a place at once, the next after a second with the number of those between; others beside it."""
    now = 0.0
    sampler = Sampler(clock=lambda: now)
    configure_logging("info")
    for step in range(30):
        now = step / 10
        for culprit in (fail, fail_elsewhere) if step == 5 else (fail,):
            try:
                culprit()
            except FloatingPointError as error:
                log_unexpected(error, "/predict", sampler)
    written = capsys.readouterr().err
    lines = [json.loads(line) for line in written.splitlines()]
    told = [(line["frames"][-1].rpartition(" ")[2], line["passed_over"]) for line in lines]
    assert told == [("fail", 0), ("fail_elsewhere", 0), ("fail", 9), ("fail", 9)]
    assert {(line["event"], line["route"], line["error"]) for line in lines} == {
        ("unexpected error", "/predict", "FloatingPointError")
    }
    assert "somebody" not in written


@given(st.lists(st.floats(0.0, 0.9), max_size=60))
def test_nothing_is_lost_count_of(steps: list[float]) -> None:
    """What was logged, what those lines say was passed over, and what came since the last are all that came."""
    now = 0.0
    sampler = Sampler(clock=lambda: now)
    logged = counted = waiting = 0
    for step in steps:
        now += step
        passed_over = sampler.take(("here",))
        if passed_over is None:
            waiting += 1
        else:
            assert passed_over == waiting
            logged, counted, waiting = logged + 1, counted + passed_over, 0
    assert logged + counted + waiting == len(steps)


def test_the_document_tells_nothing() -> None:
    """But the members that it was given."""
    told = json.loads(unexpected(Kind(500, "unexpected", "The service failed"), id="r1"))
    assert (told["id"], told["status"], told["field"]) == ("r1", 500, None)
