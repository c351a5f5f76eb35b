"""The compiled twin of the feature plan: `Columns` enter, the same X as numpy's leaves, bit for bit.

For the few rows of a request numpy's call overhead is the whole cost of the features. The twin is one C function
(`training/publishing/features.c`) that reads the plan's tables; the bundle carries it compiled as `features.so`.
Texts stay with Python: they become rows of the encoders' tables, cohorts and version numbers here.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from app.features.columns import Columns, Floats, Ints
from app.features.histories import HistoryShape, HistoryTwin
from app.features.native import Library, address
from app.features.objects import RequestTwin

if TYPE_CHECKING:
    from app.features.matrix import FeaturePlan

LIBRARY: Final = "features.so"
INTERFACE: Final = 4  # PLTV_INTERFACE of features.h
STATISTICS: Final = ("count", "sum", "mean", "max", "min", "std", "entropy", "top_share")  # as in features.c
_PLAN_SIZES: Final = (
    "n_numbers", "n_versions", "n_months", "n_segments", "n_numeric", "n_aggregates", "n_user_lookups",
    "n_user_encoded", "n_row_lookups", "n_row_encoded", "n_campaign_numbers", "n_keep", "n_ratios", "n_products",
    "n_ranked", "n_quantiles",
)  # fmt: skip
_PLAN_TABLES: Final = (
    "number_temporal", "clock", "segment_temporal", "segment_wants", "aggregate_statistic", "aggregate_segment",
    "user_lookup_temporal", "row_lookup_temporal", "user_table", "row_table", "keep", "ratio_left", "ratio_right",
    "product_left", "product_right", "ranked", "quantiles",
)  # fmt: skip


class _Plan(ctypes.Structure):
    _fields_ = [(n, ctypes.c_int64) for n in _PLAN_SIZES] + [(n, ctypes.c_void_p) for n in _PLAN_TABLES]


class Twin:
    """A compiled plan.

    Parameters
    ----------
    path : Path
        `features.so` of a bundle.
    plan : FeaturePlan
        Whose tables it reads; kept alive by the twin. Its layout gets the compiled reader of histories.

    Attributes
    ----------
    requests : RequestTwin
        The way from requests to X without `Columns`.

    Raises
    ------
    BundleCorrupt
        The file is no library.
    BundleIncompatible
        It was compiled for another version of this code.
    """

    def __init__(self, path: Path, plan: FeaturePlan) -> None:
        self._library = Library(path)
        self._library.require_interface(INTERFACE, path)
        self._call: Any = self._library.dll.pltv_features
        self._call.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
        self._call.restype = ctypes.c_int
        self._scalars, self._user, self._row, self._ranks = (
            plan.scalars, plan.user_encoder, plan.row_encoder, plan.ranks
        )  # fmt: skip
        self._cohort_texts = plan.cohort_texts
        self._n_features = len(plan.names)
        self._tables = _tables(plan)  # the structure holds bare addresses
        self._plan = _Plan(**_sizes(plan), **{name: t.ctypes.data for name, t in self._tables.items()})
        self._plan_address = ctypes.addressof(self._plan)
        shape = HistoryShape(plan.layout)
        self.requests = RequestTwin(self._library, plan, self._plan_address, shape)
        plan.layout.histories = HistoryTwin(self._library, plan.layout, shape)

    def accepts(self, columns: Columns) -> bool:
        """Whether the rows stand in the order of their users, as the parsers leave them."""
        owner = columns.owner
        n = len(owner)
        return n > 0 and (n == 1 or (owner[0] == 0 and bool(((d := np.diff(owner)) >= 0).all() and (d <= 1).all())))

    def transform(self, columns: Columns) -> Floats:
        """X of shape (n_rows, n_features), as `FeaturePlan.transform` describes it.

        Raises
        ------
        MemoryError
        """
        n_rows = columns.n_rows
        cohort = (
            np.zeros(n_rows, dtype=np.int64)
            if self._ranks is None
            else self._ranks.rows_of(self._cohort_texts(columns), n_rows)
        )
        X = np.empty((n_rows, self._n_features))
        c = columns
        whole = [
            np.ascontiguousarray(a)
            for a in (
                c.owner, c.state, c.counts, self._user.rows_of(c.texts), self._row.rows_of(c.campaign_texts), cohort
            )
        ]  # fmt: skip
        parsed, values = self._scalars.parsed(c.texts), np.ascontiguousarray(c.values)
        strided = [_lines(a) for a in (c.numbers, c.user_lookups, c.campaign_numbers, c.row_lookups)]
        numbers, user_lookups, campaign_numbers, row_lookups = (_address(a) for a in strided)
        batch = np.array(
            [
                c.n_users, n_rows, c.segment_major, *map(_address, whole), _address(c.now), numbers, _address(parsed),
                _address(values), user_lookups, campaign_numbers, row_lookups,
                c.now.strides[0] // 8, *(a.strides[0] // 8 for a in strided), _address(X),
            ],
            dtype=np.int64,
        )  # fmt: skip
        if self._call(self._plan_address, _address(batch)):
            raise MemoryError(f"features of {n_rows} rows")
        return X


def _sizes(plan: FeaturePlan) -> dict[str, int]:
    layout = plan.layout
    values = (
        len(layout.numbers), len(plan.scalars.versions), len(plan.scalars.months), len(layout.segments),
        layout.n_numeric, len(plan.aggregates.names), len(layout.user_lookups), len(plan.user_encoder.columns),
        len(layout.row_lookups), len(plan.row_encoder.columns), len(layout.campaign_numbers), len(plan.keep),
        len(plan.ratios[0]), len(plan.products[0]), len(plan.ranked),
        0 if plan.ranks is None else plan.ranks.quantiles.shape[2],
    )  # fmt: skip
    return dict(zip(_PLAN_SIZES, values, strict=True))


def _tables(plan: FeaturePlan) -> dict[str, NDArray[Any]]:
    layout, wanted = plan.layout, plan.aggregates.wanted
    wants = np.zeros(len(layout.segments), dtype=np.int64)
    for _, statistic, segment in wanted:
        wants[segment] |= 1 << STATISTICS.index(statistic)
    temporal = np.array([s.field.temporal for s in layout.segments], dtype=np.float64)
    integers = (
        wants, [STATISTICS.index(s) for _, s, _ in wanted], [segment for *_, segment in wanted]
    )  # fmt: skip
    tables: tuple[Any, ...] = (
        plan.scalars.temporal, plan.scalars.clock, temporal, *(np.array(i, dtype=np.int64) for i in integers),
        plan.user_ages, plan.row_ages, plan.user_encoder.table, plan.row_encoder.table, plan.keep,
        *(np.array(side, dtype=np.int64) for pairs in (plan.ratios, plan.products) for side in pairs[1:]),
        plan.ranked, np.empty(0) if plan.ranks is None else plan.ranks.quantiles,
    )  # fmt: skip
    return {name: np.ascontiguousarray(t) for name, t in zip(_PLAN_TABLES, tables, strict=True)}


def _lines(array: Floats) -> Floats:
    """The same numbers with each row's side by side; rows may lie apart."""
    return array if array.strides[1] == 8 or not array.size else np.ascontiguousarray(array)


def _address(array: Floats | Ints) -> int:
    return address(array) if array.flags.c_contiguous else array.ctypes.data
