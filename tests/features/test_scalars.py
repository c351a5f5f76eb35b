"""Versions and months as numbers."""

from __future__ import annotations

import math

import pytest

from app.features.scalars import month_start, version_number


@pytest.mark.parametrize(
    ("text", "number"),
    [("16.4.1", 16.04), ("9", 9.0), (" 8.1 ", 8.01), ("10.250", 10.99), ("12.x", 12.0), ("12.", 12.0)],
)
def test_a_version_is_major_and_hundredths(text: str, number: float) -> None:
    """Order among versions is kept, whatever follows the minor number is ignored."""
    assert version_number(text) == pytest.approx(number)


@pytest.mark.parametrize("text", ["", "x", "v9", "²", "9" * 5000, "-3.1"])
def test_what_is_no_version_is_missing(text: str) -> None:
    """Also digits that are no ASCII digits, and numbers that no version has."""
    assert math.isnan(version_number(text))


def test_a_month_is_its_first_second() -> None:
    """2025-07-01 00:00 UTC, whatever the case."""
    assert month_start("2025_july") == month_start(" 2025_JULY") == 1_751_328_000.0


@pytest.mark.parametrize("text", ["", "2025", "2025_", "25_july", "2025_juli", "july_2025", "20x5_july"])
def test_what_is_no_month_is_missing(text: str) -> None:
    """A month that cannot be read is missing, not an error."""
    assert math.isnan(month_start(text))
