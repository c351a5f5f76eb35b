"""Requests straight to X: the compiled twin of `parsing.assemble` and the plan in one call, bit for bit.

`training/publishing/objects.c` reads the requests' dictionaries itself. What a text becomes (a row of an encoder's
table, a cohort, a version number) is worked out here once and remembered.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from app.features.columns import Floats, Ints, hour_key
from app.features.encoders import MISSING_CODE, UNSEEN, TextEncoder
from app.features.histories import HistoryShape
from app.features.memo import Memo
from app.features.native import Library, address
from app.features.parsing import RawRequest, unknown_history
from app.features.scalars import month_start, version_number
from app.features.spec import CLOCK_KEYS, Lookup

if TYPE_CHECKING:
    from app.features.matrix import FeaturePlan

_SIZES: Final = ("n_request_numbers", "n_request_texts", "n_cohort_keys")
_OBJECTS: Final = (
    "attributes", "request_numbers", "request_texts", "campaign_numbers", "campaign_texts", "user_lookup_keys",
    "row_lookup_keys", "hours", "weekdays", "user_memos", "row_memos", "parsed_memos", "cohort_memos", "unknown",
)  # fmt: skip
_TABLES: Final = (
    "user_lookup_slots", "user_lookup_clock", "row_lookup_slots", "user_columns", "row_columns", "parsed_columns",
    "cohort_of_user", "cohort_columns", "cohort_sizes", "cohort", "user_missing", "row_missing", "user_unseen",
    "row_unseen",
)  # fmt: skip
_ATTRIBUTES: Final = tuple(map(sys.intern, ("now", "state", "request", "campaigns", "history", "packed")))


class _Objects(ctypes.Structure):
    _fields_ = (
        [(n, ctypes.c_int64) for n in _SIZES]
        + [(n, ctypes.py_object) for n in _OBJECTS]
        + [(n, ctypes.c_void_p) for n in (*_TABLES, "shape")]
    )


class RequestTwin:
    """The compiled way from requests to X.

    Parameters
    ----------
    library : Library
        `features.so` of a bundle.
    plan : FeaturePlan
    tables : int
        Address of the plan's own structure (`app.features.twin`).
    shape : HistoryShape
        Of the plan's layout.
    """

    def __init__(self, library: Library, plan: FeaturePlan, tables: int, shape: HistoryShape) -> None:
        self._library, self._shape = library, shape
        # With the interpreter lock held: it reads Python objects.
        self._call: Any = ctypes.PyDLL(None, handle=library.dll._handle).pltv_requests
        self._call.restype = ctypes.c_int
        self._call.argtypes = (
            ctypes.c_void_p, ctypes.c_void_p, ctypes.py_object, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p,
            ctypes.c_void_p,
        )  # fmt: skip
        self._plan = tables
        self._n_features = len(plan.names)
        self._tables = {name: np.array(t, dtype=np.int64) for name, t in zip(_TABLES, _tables(plan), strict=True)}
        addresses = (self._tables[name].ctypes.data for name in _TABLES)
        self._objects = _Objects(*_sizes(plan), *_objects(plan), *addresses, shape.address)
        self._address = ctypes.addressof(self._objects)
        self._fields = (
            *(plan.layout.texts[c].name for c in plan.user_encoder.columns),
            *(plan.layout.campaign_texts[c].name for c in plan.row_encoder.columns),
        )

    def transform(self, requests: Sequence[RawRequest]) -> tuple[Floats, Ints, dict[str, int]] | None:
        """X, the rows' history states and what was never seen, as `FeaturePlan.transform_requests` describes them.

        None where a request holds objects that only Python reads.
        """
        batch = requests if type(requests) is list else list(requests)
        n_rows = sum([len(r.campaigns) for r in batch])
        X = np.empty((n_rows, self._n_features))
        state = np.empty(n_rows, dtype=np.int64)
        unseen = np.zeros(len(self._fields), dtype=np.int64)
        if self._call(self._plan, self._address, batch, n_rows, address(X), address(state), address(unseen)):
            return None
        counts = unseen.tolist()
        return X, state, {name: n for name, n in zip(self._fields, counts, strict=True) if n} if any(counts) else {}


def _sizes(plan: FeaturePlan) -> tuple[int, ...]:
    layout, ranks = plan.layout, plan.ranks
    n_keys = 0 if ranks is None else len(ranks.keys)
    return len(layout.request_numbers), len(layout.request_texts), n_keys


def _objects(plan: FeaturePlan) -> tuple[Any, ...]:
    layout, ranks = plan.layout, plan.ranks
    hours = tuple(hour_key(3600.0 * h)[CLOCK_KEYS[0]] for h in range(24))
    weekdays = tuple(hour_key(86400.0 * d)[CLOCK_KEYS[1]] for d in ((k - 3) % 7 for k in range(7)))
    parsed = [version_number] * len(plan.scalars.versions) + [month_start] * len(plan.scalars.months)
    cohorts = () if ranks is None else tuple(Memo(ranks.id_of(k)) for k in range(len(ranks.keys)))
    return (
        _ATTRIBUTES, layout.request_number_names, layout.request_text_names, layout.campaign_number_names,
        layout.campaign_text_names, _keys(layout.user_lookups), _keys(layout.row_lookups),
        hours, weekdays, _row_memos(plan.user_encoder), _row_memos(plan.row_encoder), tuple(map(Memo, parsed)), cohorts,
        unknown_history(layout),
    )  # fmt: skip


def _keys(lookups: Sequence[Lookup]) -> tuple[str, ...]:
    """The column of each look-up; equal names are one object, by which compiled code knows that it has the text."""
    return tuple(sys.intern(lookup.key) for lookup in lookups)


def _row_memos(encoder: TextEncoder) -> tuple[Memo, ...]:
    """For each encoded column text → the row of the encoder's table."""

    def memo(place: int, offset: int) -> Memo:
        vocabulary = encoder.vocabularies[place]
        return Memo(lambda text: offset + vocabulary.of((text,))[0])

    return tuple(memo(place, offset) for place, offset in enumerate(encoder.offsets.tolist()))


def _tables(plan: FeaturePlan) -> tuple[Sequence[int] | NDArray[Any], ...]:
    layout, ranks = plan.layout, plan.ranks
    clock = [CLOCK_KEYS.index(k.key) + 1 if k.key in CLOCK_KEYS else 0 for k in layout.user_lookups]
    places = plan.cohort_places if ranks is not None else []
    user, row = plan.user_encoder, plan.row_encoder
    return (
        layout.user_slots, clock, layout.row_slots, user.columns, row.columns,
        (*plan.scalars.versions, *plan.scalars.months),
        [int(of_user) for of_user, _ in places], [j for _, j in places],
        [] if ranks is None else [len(i) + 1 for i in ranks.ids], [] if ranks is None else ranks.cohort,
        user.offsets + MISSING_CODE, row.offsets + MISSING_CODE, user.offsets + UNSEEN, row.offsets + UNSEEN,
    )  # fmt: skip
