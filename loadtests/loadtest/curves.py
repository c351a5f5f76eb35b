"""Load over time: how many users a locust shape wants at each second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Point = tuple[float, float]
"""A second, and the load then as a share of the capacity."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Straight lines between points; two points of one second are a jump, and the later one holds from there on.

    Parameters
    ----------
    points : tuple of (float, float), at least two
        In the order of their seconds, the first at 0.

    Raises
    ------
    ValueError
        For points that are fewer, start later, or go back in time.
    """

    points: tuple[Point, ...]

    def __post_init__(self) -> None:
        seconds = [second for second, _ in self.points]
        if len(seconds) < 2 or seconds[0] != 0.0 or seconds != sorted(seconds):
            raise ValueError(f"curve: expected seconds that rise from 0, received {seconds}")

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.points[-1][0]

    def at(self, second: float) -> float | None:
        """The load at a second; None from the end on."""
        if second >= self.seconds:
            return None
        i = max(i for i, (begin, _) in enumerate(self.points) if begin <= max(0.0, second))
        (begin, low), (end, high) = self.points[i], self.points[i + 1]
        return low + (high - low) * (max(0.0, second) - begin) / (end - begin)

    def users(self, second: float, full: int) -> int | None:
        """Users at a second, at least one, where `full` of them make the whole capacity; None from the end on."""
        load = self.at(second)
        return None if load is None else max(1, round(load * full))

    def stretched(self, factor: float) -> Curve:
        """The same loads over a time that is `factor` as long."""
        return Curve(tuple((second * factor, load) for second, load in self.points))


CURVES: Final = {
    "steady": Curve(((0.0, 0.5), (30.0, 0.5))),
    "ramp": Curve(((0.0, 0.1), (40.0, 1.0))),
    "spike": Curve(((0.0, 0.3), (10.0, 0.3), (10.0, 1.5), (18.0, 1.5), (18.0, 0.3), (30.0, 0.3))),
}
"""Half the load all the while; up to all of it; a third, half as much again as all of it, and a third again."""
