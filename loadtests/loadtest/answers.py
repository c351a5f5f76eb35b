"""What an answer is worth. Status and body enter; good, degraded, shed or failed leaves, a failure with its reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final, TypeGuard

import orjson

_KEYS: Final = ("id", "bundle", "currency", "per", "ttl_s", "history", "degraded", "predictions")


class Outcome(StrEnum):
    """What became of a request; only `GOOD` is throughput."""

    GOOD = "good"
    """200, every part there, the horizons in order, nothing missing when it was made."""
    DEGRADED = "degraded"
    """200 and right, but the service says that something was missing, such as time."""
    SHED = "shed"
    """503 with Retry-After: the service had no time for it."""
    FAILED = "failed"
    """Anything else: another status, a wrong answer, none."""


Judgement = tuple[Outcome, str]
"""An outcome and, for a failure, its reason."""


class WrongAnswerError(ValueError):
    """A 200 that is not what was asked for; its text says in what."""


def judge(status: int, retry_after: bool, body: bytes, ids: Sequence[str]) -> Judgement:
    """Judge the answer to `/predict` (one id) or `/predict/batch` (several).

    Parameters
    ----------
    status : int
        Of HTTP; 0 where no answer came.
    retry_after : bool
        Whether the answer has that header.
    body : bytes
    ids : sequence of str, at least one
        Of the requests that the body answers, in their order.

    Returns
    -------
    tuple of Outcome and str
    """
    if status == 503 and retry_after:
        return Outcome.SHED, ""
    if status != 200:
        return Outcome.FAILED, f"status {status}" if status else "no answer"
    try:
        answer = orjson.loads(body)
        answers = [answer] if len(ids) == 1 else _responses(answer, len(ids))
        reasons = [reason for one, name in zip(answers, ids, strict=True) for reason in check(one, name)]
    except ValueError as error:  # orjson's own error is one
        return Outcome.FAILED, str(error)
    return (Outcome.DEGRADED if reasons else Outcome.GOOD), ""


def check(answer: Any, name: str) -> list[str]:
    """Check one answer, and tell what it says was missing.

    Parameters
    ----------
    answer : Any
        JSON, read.
    name : str
        The request's `id`.

    Returns
    -------
    list of str
        Its `degraded`.

    Raises
    ------
    WrongAnswerError
        A part lacks, answers another request, or holds what no prediction can be.
    """
    if not isinstance(answer, dict):
        raise WrongAnswerError("expected an object")
    missing = [key for key in _KEYS if key not in answer]
    if missing:
        raise WrongAnswerError(f"without {', '.join(missing)}")
    if answer["id"] != name:
        raise WrongAnswerError("the id of another request")
    if not isinstance(answer["predictions"], list) or not answer["predictions"]:
        raise WrongAnswerError("no predictions")
    for prediction in answer["predictions"]:
        _check_prediction(prediction)
    degraded: list[str] = answer["degraded"]
    return degraded


def in_order(ltv: dict[str, float]) -> bool:
    """Whether revenue never falls from a horizon to the next longer one.

    Parameters
    ----------
    ltv : dict of str to float
        `d` and days → US dollars, in any order.
    """
    values = [ltv[horizon] for horizon in sorted(ltv, key=lambda horizon: int(horizon[1:]))]
    return all(shorter <= longer for shorter, longer in pairwise(values))


def _responses(answer: Any, n: int) -> list[Any]:
    responses = answer.get("responses") if isinstance(answer, dict) else None
    if not isinstance(responses, list) or len(responses) != n:
        raise WrongAnswerError(f"expected {n} responses")
    return responses


def _check_prediction(prediction: Any) -> None:
    if not isinstance(prediction, dict) or prediction.get("status") != "ok":
        raise WrongAnswerError("a campaign without a prediction")
    ltv, p_buyer = prediction.get("ltv"), prediction.get("p_buyer")
    if not isinstance(ltv, dict) or not ltv or not all(map(_is_amount, ltv.values())):
        raise WrongAnswerError("ltv: expected an amount of at least 0 for each horizon")
    if not in_order(ltv):
        raise WrongAnswerError("ltv: a longer horizon is worth less than a shorter one")
    if not _is_amount(p_buyer) or p_buyer > 1:
        raise WrongAnswerError("p_buyer: expected a probability")
    if not _is_amount(prediction.get("multiplier")):
        raise WrongAnswerError("multiplier: expected an amount of at least 0")


def _is_amount(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
