"""Measurements of interleaved rounds enter; medians and ratios that a drifting machine spares leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from statistics import median
from typing import TypeVar

Rounds = Sequence[float]
T = TypeVar("T")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of the values do not exceed (nearest rank).

    Parameters
    ----------
    values : sequence of float, at least one
    share : float
        In (0, 1].

    Raises
    ------
    ValueError
        Without values, or for another share.
    """
    if not values or not 0.0 < share <= 1.0:
        raise ValueError(f"percentile: expected values and a share in (0, 1], received {len(values)} and {share}")
    ordered = sorted(values)
    return ordered[max(1, ceil(share * len(ordered))) - 1]


def ratio(numerator: Rounds, denominator: Rounds) -> float:
    """Median over the rounds of one's value through the other's of the same round.

    Both were measured seconds apart, so that what the machine did to one round it did to both.

    Raises
    ------
    ValueError
        Where the numbers of rounds differ.
    """
    return median(a / b for a, b in zip(numerator, denominator, strict=True))


def spread(rounds: Rounds) -> float:
    """The slowest round through the fastest: how much the machine itself moved."""
    return max(rounds) / min(rounds)


def interleave(candidates: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Measure every candidate once a round, in an order that turns with the rounds.

    Returns
    -------
    dict of str to list
        Candidate → its measurements, one a round.
    """
    measured: dict[str, list[T]] = {name: [] for name in candidates}
    names = list(candidates)
    for i in range(rounds):
        for name in (*names[i % len(names) :], *names[: i % len(names)]):
            measured[name].append(candidates[name]())
    return measured
