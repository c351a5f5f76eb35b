from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import DataError
from tests.training.data.oracle import DECLARATION
from training.data.dataset import Partition
from training.data.splits import Split, check_no_leak, maturity, temporal_split

START = datetime(2025, 10, 1, tzinfo=UTC)
SHARES = {"calibration": 0.15, "validation": 0.2}


def hours(n: int, step: int = 1) -> list[Partition]:
    moments = [START + timedelta(hours=step * i) for i in range(n)]
    return [Partition(f"datetime={m:%Y-%m-%d-%H-%M}", int(m.timestamp()), (), 10) for m in moments]


def sizes(split: Split) -> tuple[int, ...]:
    return tuple(len(part) for part in split.parts.values())


@given(st.integers(3, 200), st.randoms())
def test_shares_cut_in_time(n: int, random: Any) -> None:
    """Every hour is in one part, later parts are later, each has one hour at least, in whatever order they come."""
    given_hours = hours(n)
    random.shuffle(given_hours)
    split = temporal_split(given_hours, SHARES)
    assert [*split.train, *split.calibration, *split.validation] == hours(n)
    assert sizes(split)[1:] == (max(1, round(0.15 * n)), max(1, round(0.2 * n)))


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_hours_are_one_line(n: int) -> None:
    """Three parts need three hours."""
    with pytest.raises(DataError, match=r"^split.\w+: expected at least one hour, received none"):
        temporal_split(hours(n), SHARES)


@pytest.mark.parametrize("kind", [str, date.fromisoformat, datetime.fromisoformat])
def test_dates_cut_at_their_midnight(kind: Any) -> None:
    """A part begins with its day, however YAML read the date."""
    options = {"train_until": kind("2025-10-03"), "calibration_until": kind("2025-10-04")}
    split = temporal_split(hours(96), options)
    assert sizes(split) == (48, 24, 24)
    assert split.calibration[0].name == "datetime=2025-10-03-00-00"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "split: expected shares .* received nothing"),
        (
            {"calibration": 0.1, "train_until": "2025-10-02"},
            "split: expected shares .* received calibration, train_until",
        ),
        ({"calibration": 0.1, "validation": 1.5}, "split.validation: expected a share between 0 and 1, received 1.5"),
        ({"calibration": "a", "validation": 0.1}, "split.calibration: expected a share"),
        ({"train_until": "soon", "calibration_until": "2025-10-02"}, "split.train_until: expected a day such as"),
        ({"train_until": 5, "calibration_until": "2025-10-02"}, "split.train_until: expected a day .* received 5"),
        ({"train_until": "2024-01-01", "calibration_until": "2025-10-02"}, "split.train: expected at least one hour"),
        ({"train_until": "2025-10-02", "calibration_until": "2025-10-02"}, "split.calibration: expected at least one"),
        ({"train_until": "2025-10-02", "calibration_until": "2026-10-02"}, "split.validation: expected at least one"),
    ],
)
def test_a_wrong_split_is_one_line(options: dict[str, Any], line: str) -> None:
    """The option, what was expected and what came."""
    with pytest.raises(DataError, match=line) as fault:
        temporal_split(hours(48), options)
    assert "\n" not in str(fault.value)


def test_an_overlap_leaks() -> None:
    """An hour of training at or after the first hour of calibration is refused."""
    a, b, c, d = hours(4)
    check_no_leak(Split((a, b), (c,), (d,)), ["price"], DECLARATION)
    for split in (Split((a, c), (c,), (d,)), Split((a, d), (b,), (c,))):
        with pytest.raises(DataError, match=r"split.train: expected hours before every hour of calibration"):
            check_no_leak(split, [], DECLARATION)
    with pytest.raises(DataError, match=r"split.calibration: expected hours before every hour of validation"):
        check_no_leak(Split((a,), (b, d), (c,)), [], DECLARATION)


@pytest.mark.parametrize("name", ["buyer", "revenue_d7", "retention", "revenue_d1.rate", "spend@buyer"])
def test_a_target_among_the_features_leaks(name: str) -> None:
    """Gate, revenue and every excluded outcome are refused, alone or inside a derived name."""
    a, b, c = hours(3)
    with pytest.raises(DataError, match="expected a feature, received the target"):
        check_no_leak(Split((a,), (b,), (c,)), ["price", name], DECLARATION)


def test_labels_mature_horizon_by_horizon() -> None:
    """A label counts when its days had passed at `as_of`, to the second."""
    read = datetime(2025, 10, 8, tzinfo=UTC)
    now = np.array([(read - timedelta(days=d)).timestamp() for d in (0, 1, 7, 14)])
    now[2] += 3600
    mature = maturity(now, [1, 7, 14], "2025-10-08")
    assert {h: m.tolist() for h, m in mature.items()} == {
        1: [False, True, True, True],
        7: [False, False, False, True],
        14: [False, False, False, True],
    }
    assert all(np.array_equal(mature[h], m) for h, m in maturity(now, [1, 7, 14], date(2025, 10, 8)).items())


def test_without_a_date_every_label_is_mature() -> None:
    """`as_of: null` trusts the labels."""
    assert maturity(np.zeros(2), [7], None)[7].tolist() == [True, True]
