"""`prior.json`: the answer for a request whose own prediction can not be ready in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.errors import BundleCorrupt

Values = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Prior:
    """Mean answers of cohorts, most specific first.

    Parameters
    ----------
    levels : tuple of tuple of str
        The fields of each level's cohorts, a subset of the first level's; the last level is `()`, all rows.
    tables : tuple of mapping, one a level
        The cohort's field values joined by `|` → p_buyer, ltv per horizon, log_mean (all but the first in
        US dollars).

    Raises
    ------
    BundleCorrupt
        When the last level does not answer everything.
    """

    levels: tuple[tuple[str, ...], ...]
    tables: tuple[Mapping[str, Values], ...]

    def __post_init__(self) -> None:
        if len(self.levels) != len(self.tables):
            raise BundleCorrupt(f"prior.json: expected {len(self.levels)} tables, received {len(self.tables)}")
        if any(not set(level) <= set(self.levels[0]) for level in self.levels):
            raise BundleCorrupt(f"prior.json: expected levels within {list(self.levels[0])}")
        if not self.levels or self.levels[-1] != () or "" not in self.tables[-1]:
            raise BundleCorrupt("prior.json: expected a last level [] with one cohort, the empty text")
        widths = {len(values) for table in self.tables for values in table.values()}
        if len(widths) != 1:
            raise BundleCorrupt(f"prior.json: expected one number of values a cohort, received {sorted(widths)}")

    @property
    def n_values(self) -> int:
        """Values of a cohort."""
        return len(self.tables[-1][""])

    def lookup(self, *values: str | None) -> Values:
        """Return the values of the most specific cohort known.

        Parameters
        ----------
        *values : str or None
            Normalised categories in the order of `levels[0]`; a missing one is not part of any cohort.
        """
        known = dict(zip(self.levels[0], values, strict=True))
        for level, table in zip(self.levels, self.tables, strict=True):
            parts = [known[name] for name in level]
            found = table.get("|".join(part for part in parts if part is not None))
            if found is not None and None not in parts:
                return found
        raise AssertionError("the last level holds every row")

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        tables = [{key: list(values) for key, values in table.items()} for table in self.tables]
        return {"levels": [list(level) for level in self.levels], "tables": tables}

    @classmethod
    def from_json(cls, obj: Mapping[str, Any]) -> Prior:
        """Read the JSON object.

        Raises
        ------
        BundleCorrupt
            When an entry is missing or of the wrong kind.
        """
        try:
            levels = tuple(tuple(str(name) for name in level) for level in obj["levels"])
            tables = tuple({str(k): tuple(float(x) for x in v) for k, v in t.items()} for t in obj["tables"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleCorrupt(f"prior.json: {type(error).__name__}: {error}") from error
        return cls(levels, tables)
