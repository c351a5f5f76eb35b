"""Raw rows of the small declaration and the Arrow encodings they may come in, as hypothesis strategies."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

KEYS = ("a", "b", "A", "a ", "é", "e\u0301", "", "18", "3")
TEXTS = st.none() | st.sampled_from(KEYS)
NUMBERS = st.none() | st.sampled_from(
    [0.0, -0.0, 1.0, -2.5, 0.1, 1e-40, 3.5e38, -1e300, float("nan"), float("inf"), float("-inf"), 1.7e9]
)
#: Their sums are exact in any order, so that a plain Python sum is an oracle for the kernel's.
EXACT = st.none() | st.sampled_from([0.0, -0.0, 1.0, 2.5, -0.25, 1024.0, float("nan")])
INSTANTS = st.none() | st.integers(0, 2_000_000_000)


def _pairs(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | st.lists(st.tuples(TEXTS, values), max_size=5)


ROWS = st.fixed_dictionaries(
    {
        "country": TEXTS,
        "price": NUMBERS,
        "bundle": TEXTS,
        "bid": NUMBERS,
        "ratio": NUMBERS,
        "first_seen": INSTANTS,
        "last_action": TEXTS,
        "spend": _pairs(NUMBERS),
        "by_hour": _pairs(NUMBERS),
        "bought": _pairs(INSTANTS),
        "apps": st.none() | st.lists(TEXTS, max_size=5),
        "actions": _pairs(_pairs(EXACT)),
        "acted": _pairs(_pairs(INSTANTS)),
    }
)
STRINGS = st.sampled_from(
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()),
     pa.dictionary(pa.int32(), pa.large_string())]
)  # fmt: skip
SECONDS = st.sampled_from([pa.int64(), pa.uint32(), pa.float64(), pa.int32()])
LISTS = st.sampled_from([pa.list_, pa.large_list])


@st.composite
def types(draw: st.DrawFn) -> dict[str, pa.DataType]:
    """A physical type for every column, each drawn on its own."""

    def pairs(values: pa.DataType) -> pa.DataType:
        entry = pa.struct([("any", draw(STRINGS)), ("name", values)])
        return draw(LISTS)(entry)

    return {
        "country": draw(STRINGS),
        "price": pa.float64(),
        "bundle": draw(STRINGS),
        "bid": pa.float64(),
        "ratio": pa.float64(),
        "first_seen": draw(SECONDS),
        "last_action": draw(STRINGS),
        "spend": pairs(pa.float64()),
        "by_hour": pairs(pa.float64()),
        "bought": pairs(draw(SECONDS)),
        "apps": draw(LISTS)(draw(STRINGS)),
        "actions": pairs(pairs(pa.float64())),
        "acted": pairs(pairs(draw(SECONDS))),
    }


def table(rows: list[dict[str, Any]], kinds: dict[str, pa.DataType]) -> pa.Table:
    """The rows as one table of these types."""
    return pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in kinds.items()})


#: One type a column, for tests that are not about types.
PLAIN: dict[str, pa.DataType] = {
    "country": pa.string(),
    "price": pa.float64(),
    "bundle": pa.string(),
    "bid": pa.float64(),
    "ratio": pa.float64(),
    "first_seen": pa.int64(),
    "last_action": pa.string(),
    "spend": pa.list_(pa.struct([("key", pa.string()), ("value", pa.float64())])),
    "by_hour": pa.list_(pa.struct([("key", pa.string()), ("value", pa.float64())])),
    "bought": pa.list_(pa.struct([("key", pa.string()), ("value", pa.int64())])),
    "apps": pa.list_(pa.string()),
    "actions": pa.list_(
        pa.struct([("key", pa.string()), ("value", pa.list_(pa.struct([("k", pa.string()), ("v", pa.float64())])))])
    ),
    "acted": pa.list_(
        pa.struct([("key", pa.string()), ("value", pa.list_(pa.struct([("k", pa.string()), ("v", pa.int64())])))])
    ),
}
