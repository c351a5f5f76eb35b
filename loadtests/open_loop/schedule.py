"""When requests are due. A rate enters, the instants of an open loop leave."""

from __future__ import annotations

import random


def poisson(rate: float, seconds: float, seed: int) -> list[float]:
    """Arrivals of many users who know nothing of each other: independent exponential gaps.

    Parameters
    ----------
    rate : float
        Requests a second, above 0.
    seconds : float
        Above 0.
    seed : int

    Returns
    -------
    list of float
        Seconds after the start, rising, at most `seconds`; at least one.

    Raises
    ------
    ValueError
        For a rate or a time that is not above 0.
    """
    if not (rate > 0.0 and seconds > 0.0):
        raise ValueError(f"schedule: expected a rate and seconds above 0, received {rate} and {seconds}")
    rng = random.Random(seed)
    due: list[float] = []
    at = rng.expovariate(rate)
    while at < seconds or not due:
        due.append(min(at, seconds))
        at += rng.expovariate(rate)
    return due
