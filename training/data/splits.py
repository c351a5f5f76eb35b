"""The split in time: hour partitions enter; train, calibration and validation leave, and which labels are mature.

No row of a later hour trains what is judged on an earlier one; a label counts once its days have passed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

import numpy as np

from app.errors import DataError
from app.features.columns import Floats
from app.features.spec import Declaration
from training.data.arrow import Bools
from training.data.dataset import Partition
from training.data.schema import outcomes

DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Split:
    """Partitions of each part, in time: every hour of a part is before every hour of the next."""

    train: tuple[Partition, ...]
    calibration: tuple[Partition, ...]
    validation: tuple[Partition, ...]

    @property
    def parts(self) -> dict[str, tuple[Partition, ...]]:
        """Name → partitions, in time."""
        return {"train": self.train, "calibration": self.calibration, "validation": self.validation}


def temporal_split(partitions: Sequence[Partition], options: Mapping[str, Any]) -> Split:
    """Split hours in time, by shares or by dates.

    Parameters
    ----------
    partitions : sequence of Partition
    options : mapping
        `calibration` and `validation`, shares of the number of partitions, the last ones; or `train_until`
        and `calibration_until`, the UTC days (or instants) at which the next part begins.

    Raises
    ------
    DataError
        In one line: an option that is neither, or a part without a partition.
    """
    hours = sorted(partitions, key=lambda p: p.now)
    if {*options} == {"train_until", "calibration_until"}:
        begins = [instant(options[k], f"split.{k}") for k in ("train_until", "calibration_until")]
        cuts = [sum(p.now < begin for p in hours) for begin in begins]
    elif {*options} == {"calibration", "validation"}:
        cuts = _shares(len(hours), options)
    else:
        expected = "shares {calibration, validation} or days {train_until, calibration_until}"
        raise DataError(f"split: expected {expected}, received {', '.join(map(str, options)) or 'nothing'}")
    split = Split(tuple(hours[: cuts[0]]), tuple(hours[cuts[0] : cuts[1]]), tuple(hours[cuts[1] :]))
    _check_order(split)
    return split


def check_no_leak(split: Split, feature_names: Iterable[str], declaration: Declaration) -> None:
    """Refuse a split whose parts overlap in time or are empty, and features made of an outcome.

    Parameters
    ----------
    split : Split
    feature_names : iterable of str
        As in `FeaturePlan.names`: the raw column, alone or with `.aggregate` or `@key`.
    declaration : Declaration

    Raises
    ------
    DataError
        One line that names what leaks.
    """
    _check_order(split)
    forbidden = outcomes(declaration)
    for name in feature_names:
        if leaked := forbidden.intersection(re.split(r"[.@]", name)):
            raise DataError(f"{name}: expected a feature, received the target {min(leaked)}")


def maturity(now: Floats, horizons: Sequence[int], as_of: object) -> dict[int, Bools]:
    """Whether each row's label of each horizon had come to its end when the labels were read.

    Parameters
    ----------
    now : ndarray of shape (n,), float64, unix seconds
    horizons : sequence of int, days
    as_of : date, datetime, ISO text or None
        When the labels were read (UTC; a day means its beginning). None: every label is mature.

    Returns
    -------
    dict of int to ndarray of shape (n,), bool
        horizon → now + horizon ≤ as_of.
    """
    if as_of is None:
        return {h: np.ones(len(now), dtype=bool) for h in horizons}
    read = instant(as_of, "as_of")
    return {h: now + h * DAY_SECONDS <= read for h in horizons}


def instant(value: object, name: str) -> float:
    """Unix seconds of a date, a datetime or an ISO text; UTC unless it says otherwise.

    Raises
    ------
    DataError
        `name` is no such thing.
    """
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else value.isoformat())  # type: ignore[attr-defined]
    except (AttributeError, TypeError, ValueError):
        raise DataError(f"{name}: expected a day such as 2025-10-04, received {value!r}") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _shares(n: int, options: Mapping[str, Any]) -> list[int]:
    """Where calibration and validation begin; each has at least one of the n partitions."""
    sizes = []
    for name in ("calibration", "validation"):
        share = options[name]
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0.0 < share < 1.0:
            raise DataError(f"split.{name}: expected a share between 0 and 1, received {share!r}")
        sizes.append(max(1, round(share * n)))
    return [max(0, n - sum(sizes)), max(0, n - sizes[1])]


def _check_order(split: Split) -> None:
    for name, part in split.parts.items():
        if not part:
            received = ", ".join(f"{k} {len(v)}" for k, v in split.parts.items())
            raise DataError(f"split.{name}: expected at least one hour, received none ({received})")
    for (name, part), (later, after) in pairwise(split.parts.items()):
        if max(p.now for p in part) >= min(p.now for p in after):
            raise DataError(f"split.{name}: expected hours before every hour of {later}, received an overlap")
