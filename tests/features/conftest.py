"""A small declaration with every kind of field, and hypothesis strategies for its raw values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from app.features.layout import Layout
from app.features.spec import Declaration

SMALL: dict[str, Any] = {
    "name": "small",
    "label_unit": "install",
    "row_id": "row_id",
    "partition": "datetime",
    "targets": {"horizons": [1, 7], "revenue": "revenue_d{horizon}", "gate": "buyer_d7", "excluded": ["refunds"]},
    "request": {
        "country": {"kind": "category", "wire": "device.geo.country", "format": "country"},
        "os_version": {"kind": "version", "wire": "device.osv"},
        "released": {"kind": "month", "wire": "device.ext.released"},
        "price": {"kind": "number", "wire": "device.ext.price"},
    },
    "campaign": {"shop": {"kind": "category"}, "bid": {"kind": "number"}},
    "user": {
        "age": {"kind": "number"},
        "seen": {"kind": "timestamp"},
        "last_word": {"kind": "category"},
        "spend": {"kind": "histogram", "yields": ["count", "sum", "mean", "max", "min", "std", "entropy", "top_share"]},
        "bought": {"kind": "timestamps", "yields": ["count", "latest", "earliest", "mean"]},
        "clicks": {"kind": "nested_histogram", "yields": ["count", "sum", "max", "inner_count", "inner_mean"]},
        "clicked": {"kind": "nested_timestamps", "yields": ["latest", "inner_count", "inner_latest", "inner_earliest"]},
        "apps": {"kind": "strings"},
        "hours": {"kind": "histogram", "yields": ["count"]},
    },
    "lookups": {"shop": ["spend", "bought", "clicks", "clicked", "apps"], "country": ["spend"], "hour": ["hours"]},
    "encodings": {"country": ["rate", "frequency"], "shop": ["rate", "value"], "last_word": ["rate"]},
    "encoder": {"min_count": 3, "rate_smoothing": 5.0, "value_smoothing": 2.0},
    "ratios": {"per_entry": ["spend.sum", "spend.count"]},
    "products": {"priced": ["price", "spend.sum"]},
    "ranks": {"cohorts": [["country", "shop"], ["country"], []], "min_rows": 10, "quantiles": 4, "features": ["price"]},
}

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=64) | st.integers(-(10**12), 10**12)
AMOUNTS = st.one_of(st.just(-0.0), st.just(0), st.floats(0, 1e6), NUMBERS)
TIMES = st.integers(1_600_000_000, 1_800_000_000)
KEYS = st.sampled_from(["us", "a", "b", "", "é", "00", "13", "games"])


def maps(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A map as an object or as pairs, with null entries and duplicate keys."""
    pairs = st.lists(st.tuples(KEYS, st.none() | values), max_size=6)
    return pairs | pairs.map(dict)


HISTORIES = st.fixed_dictionaries(
    {},
    optional={
        "age": st.none() | NUMBERS,
        "seen": st.none() | TIMES,
        "last_word": st.none() | KEYS,
        "spend": st.none() | maps(AMOUNTS),
        "bought": st.none() | maps(TIMES),
        "clicks": st.none() | maps(maps(AMOUNTS)),
        "clicked": st.none() | maps(maps(TIMES)),
        "apps": st.none() | st.lists(st.none() | KEYS, max_size=5),
        "hours": st.none() | maps(AMOUNTS),
        "as_of": st.none() | TIMES,
    },
)


@pytest.fixture(scope="session")
def declaration() -> Declaration:
    """The small declaration, checked."""
    return Declaration.from_dict(SMALL)


@pytest.fixture(scope="session")
def layout(declaration: Declaration) -> Layout:
    """Its layout."""
    return Layout(declaration)
