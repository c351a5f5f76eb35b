"""Answers: which are good, which are not, and that nothing else is throughput."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.loadtest.answers import Outcome, in_order, judge

PREDICTION = {"campaign": "c", "status": "ok", "p_buyer": 0.5, "ltv": {"d1": 1.0, "d7": 2.0, "d14": 2.0},
              "log_mean_d7": 0.1, "multiplier": 1.2}  # fmt: skip
ANSWER: dict[str, Any] = {"id": "a", "bundle": "b", "currency": "USD", "per": "install", "ttl_s": 300,
                          "history": {"state": "present", "source": "inline", "as_of": None}, "degraded": [],
                          "predictions": [PREDICTION]}  # fmt: skip


def _judged(answer: Any, *ids: str) -> tuple[Outcome, str]:
    return judge(200, False, json.dumps(answer).encode(), ids or ("a",))


def _with(**changes: Any) -> dict[str, Any]:
    return {**ANSWER, "predictions": [{**PREDICTION, **changes}]}


def test_a_whole_answer_is_good() -> None:
    """Every part there, the horizons in order, nothing missing: nothing else is throughput."""
    assert _judged(ANSWER) == (Outcome.GOOD, "")


def test_what_the_service_calls_degraded_is_not_good() -> None:
    """A right answer that was made without something is told apart."""
    assert _judged({**ANSWER, "degraded": ["deadline"]}) == (Outcome.DEGRADED, "")


def test_only_a_503_with_retry_after_is_shed() -> None:
    """One without says nothing about when to come again, and is a failure like any other status."""
    assert judge(503, True, b"", ["a"]) == (Outcome.SHED, "")
    assert judge(503, False, b"", ["a"]) == (Outcome.FAILED, "status 503")
    assert judge(429, True, b"", ["a"]) == (Outcome.FAILED, "status 429")
    assert judge(0, False, b"", ["a"]) == (Outcome.FAILED, "no answer")


@pytest.mark.parametrize("key", list(ANSWER))
def test_an_answer_without_a_part_is_a_failure(key: str) -> None:
    """The part is named."""
    outcome, reason = _judged({name: value for name, value in ANSWER.items() if name != key})
    assert outcome is Outcome.FAILED
    assert key in reason


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({**ANSWER, "id": "another"}, "the id of another request"),
        ({**ANSWER, "predictions": []}, "no predictions"),
        ([], "expected an object"),
        (_with(status="invalid"), "a campaign without a prediction"),
        (_with(ltv={"d1": 1.0, "d7": 3.0, "d14": 2.0}), "a longer horizon is worth less"),
        (_with(ltv={"d14": 1.0, "d7": 2.0}), "a longer horizon is worth less"),
        (_with(ltv={}), "an amount"),
        (_with(ltv={"d7": -1.0}), "an amount"),
        (_with(ltv={"d7": None}), "an amount"),
        (_with(ltv={"d7": True}), "an amount"),
        (_with(p_buyer=1.5), "a probability"),
        (_with(multiplier=None), "multiplier"),
    ],
)
def test_a_wrong_answer_is_a_failure(answer: Any, reason: str) -> None:
    """With 200 as well; the reason says in what it is wrong."""
    outcome, found = _judged(answer)
    assert outcome is Outcome.FAILED
    assert reason in found


def test_an_answer_that_is_no_json_is_a_failure() -> None:
    """Cut short, for one."""
    assert judge(200, False, json.dumps(ANSWER).encode()[:-5], ["a"])[0] is Outcome.FAILED


def test_a_batch_is_as_good_as_its_worst_answer() -> None:
    """As many answers as requests, in their order, each whole."""
    both = [ANSWER, {**ANSWER, "id": "b"}]
    assert _judged({"responses": both}, "a", "b") == (Outcome.GOOD, "")
    assert _judged({"responses": [ANSWER, {**both[1], "degraded": ["redis"]}]}, "a", "b")[0] is Outcome.DEGRADED
    assert _judged({"responses": both[::-1]}, "a", "b") == (Outcome.FAILED, "the id of another request")
    assert _judged({"responses": [ANSWER]}, "a", "b") == (Outcome.FAILED, "expected 2 responses")
    assert _judged({"responses": [ANSWER, {"type": "urn:x", "status": 400}]}, "a", "b")[0] is Outcome.FAILED


@given(st.dictionaries(st.integers(1, 400), st.floats(0, 1e6), min_size=1))
def test_order_is_that_of_days_not_of_names(ltv: dict[int, float]) -> None:
    """Revenue in the order of the days never falls: d7 comes before d14, whatever their texts say."""
    days = sorted(ltv)
    assert in_order({f"d{day}": value for day, value in ltv.items()}) is (
        [ltv[day] for day in days] == sorted(ltv.values())
    )
