# mypy: disallow-subclassing-any=False, disallow-untyped-calls=False
# Where locust is not installed its classes are Any; where it is, some of its methods are untyped.
"""Locust's shapes: the curve that `--curve` names, in users."""

from __future__ import annotations

from typing import ClassVar

from locust import LoadTestShape

from loadtests.loadtest.closed import USER_RATE
from loadtests.loadtest.curves import Curve


class Curved(LoadTestShape):
    """Steady, ramp or spike, as the options of the locustfile say."""

    curve: ClassVar[Curve]
    full: ClassVar[int]

    @classmethod
    def draw(cls, curve: Curve, capacity: float) -> None:
        """Follow a curve whose load of 1 is `capacity` calls a second."""
        cls.curve, cls.full = curve, max(1, round(capacity / USER_RATE))

    def tick(self) -> tuple[int, float] | None:
        """Users wanted now and how many may come or go a second; None at the end."""
        users = self.curve.users(self.get_run_time(), self.full)
        return None if users is None else (users, float(users))  # a jump takes a second
