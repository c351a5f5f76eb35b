"""Curves: the load that each shape wants, second by second."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.benchmarks.thresholds import load
from loadtests.loadtest.closed import BOUNDS
from loadtests.loadtest.curves import CURVES, Curve
from loadtests.loadtest.plan import OPEN_LOOP

POINTS = st.lists(st.tuples(st.floats(0.01, 50), st.floats(0, 2)), min_size=1, max_size=6)


def _drawn(steps: list[tuple[float, float]], first: float) -> Curve:
    """Points from steps of time."""
    at, points = 0.0, [(0.0, first)]
    for step, share in steps:
        at += step
        points.append((at, share))
    return Curve(tuple(points))


def test_steady_never_changes() -> None:
    """The same load from the first second to the last."""
    steady = CURVES["steady"]
    assert {steady.at(second) for second in range(int(steady.seconds))} == {0.5}


def test_the_ramp_rises_all_the_way() -> None:
    """From a tenth to all of it, half-way at half the time."""
    ramp = CURVES["ramp"]
    loads = [ramp.at(second) or 0.0 for second in range(int(ramp.seconds))]
    assert loads == sorted(set(loads))
    assert loads[0] == pytest.approx(0.1)
    assert ramp.at(ramp.seconds / 2) == pytest.approx(0.55)


def test_the_spike_jumps_and_is_over_before_the_last_third() -> None:
    """Past the capacity from one instant to the next, and down again as fast."""
    spike = CURVES["spike"]
    assert (spike.at(9.999), spike.at(10.0), spike.at(17.999)) == (0.3, 1.5, 1.5)
    assert all(spike.at(spike.seconds * third / 90) == 0.3 for third in range(60, 90))


@pytest.mark.parametrize("name", list(CURVES))
def test_a_curve_ends(name: str) -> None:
    """From its last second on there is no load: locust stops."""
    curve = CURVES[name]
    assert curve.at(curve.seconds) is None
    assert curve.users(curve.seconds + 1.0, 100) is None
    assert curve.at(-1.0) == curve.at(0.0)


@given(steps=POINTS, first=st.floats(0, 2), part=st.floats(0, 0.999))
def test_the_load_is_between_its_points(steps: list[tuple[float, float]], first: float, part: float) -> None:
    """At every instant, and at a point it is the point's."""
    curve = _drawn(steps, first)
    found = curve.at(part * curve.seconds)
    loads = [share for _, share in curve.points]
    assert found is not None
    assert min(loads) - 1e-9 <= found <= max(loads) + 1e-9
    for second, share in curve.points[:-1]:
        assert curve.at(second) == pytest.approx(share)


@given(steps=POINTS, first=st.floats(0, 2), factor=st.floats(0.1, 4), part=st.floats(0.01, 0.99))
def test_a_stretched_curve_has_the_same_loads(
    steps: list[tuple[float, float]], first: float, factor: float, part: float
) -> None:
    """Later or earlier, and ends in proportion."""
    curve = _drawn(steps, first)
    longer = curve.stretched(factor)
    assert longer.seconds == pytest.approx(factor * curve.seconds)
    assert longer.at(part * longer.seconds) == pytest.approx(curve.at(part * longer.seconds / factor), abs=1e-6)


def test_users_are_the_load_in_whole_people() -> None:
    """Half of 90 is 45; somebody always asks."""
    assert CURVES["steady"].users(1.0, 90) == 45
    assert CURVES["steady"].users(1.0, 1) == 1
    assert CURVES["spike"].users(12.0, 100) == 150


@pytest.mark.parametrize("points", [((0.0, 1.0),), ((1.0, 1.0), (2.0, 1.0)), ((0.0, 1.0), (5.0, 1.0), (4.0, 1.0))])
def test_points_that_make_no_curve_are_refused(points: tuple[tuple[float, float], ...]) -> None:
    """Too few, a late start, or back in time: said in one line."""
    with pytest.raises(ValueError, match="curve: expected seconds that rise from 0"):
        Curve(points)


def test_every_shape_is_held_to_something() -> None:
    """And the open loop; no bound names a shape that does not exist; aims lie within their bounds."""
    thresholds = load(BOUNDS)
    assert {threshold.scenario for threshold in thresholds} == {*CURVES, OPEN_LOOP}
    assert all(threshold.holds(threshold.aim) for threshold in thresholds if threshold.aim is not None)
