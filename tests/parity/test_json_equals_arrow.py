"""JSON = Arrow: the same rows give the same feature matrix, bit for bit, whichever way they came."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from app.features.columns import Columns
from app.features.history import parse_history, read_history
from app.features.layout import Layout
from app.features.matrix import FeaturePlan
from app.features.parsing import RawRequest, assemble
from app.features.spec import Declaration, Field, HistoryState
from training.data.assembly import concatenate, read_columns

CONFIG = Path(__file__).parents[2] / "config" / "smadex.yaml"
DECLARATION = Declaration.from_dict(yaml.safe_load(CONFIG.read_text()))
LAYOUT = Layout(DECLARATION)
NOW = 1_759_341_600
N_ROWS = 400

Row = dict[str, Any]


class Draw:
    """Seeded raw rows of the whole schema, with all that is awkward in them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.keys = ["a", "b", "c", "games", "us", "18", "3", "é", "e\u0301", ""]

    def row(self) -> Row:
        new = self.rng.random() < 0.2
        return {f.name: None if f.scope == "user" and new else self.value(f) for f in DECLARATION.fields}

    def value(self, field: Field) -> Any:
        if self.rng.random() < 0.25:
            return None
        if field.kind == "month":
            return f"{self.rng.integers(2015, 2026)}_{['july', 'May', 'x'][self.rng.integers(3)]}"
        if field.kind == "version":
            return ".".join(str(n) for n in self.rng.integers(0, 20, self.rng.integers(1, 4)))
        if field.kind == "category":
            return self.key()
        if field.kind == "strings":
            return [self.key() for _ in range(self.size())]
        if field.nested:
            return self.pairs(lambda: self.pairs(lambda: self.number(field)))
        return self.pairs(lambda: self.number(field)) if field.ragged else self.number(field)

    def key(self) -> str:
        return self.keys[int(self.rng.integers(len(self.keys)))]

    def pairs(self, value: Any) -> list[tuple[str, Any]]:
        return [(self.key(), None if self.rng.random() < 0.1 else value()) for _ in range(self.size())]

    def number(self, field: Field) -> float:
        if field.temporal:
            return float(self.rng.integers(NOW - 4_000_000, NOW + 10_000))
        if self.rng.random() < 0.1:
            return float(self.rng.choice([0.0, -0.0, 1e39, -1e300, 1e-50]))
        return float(self.rng.normal() * 10.0 ** self.rng.integers(-3, 6))

    def size(self) -> int:
        return int(self.rng.integers(0, 6))


def from_arrow(rows: list[Row]) -> Columns:
    """The rows as a batch read from Arrow arrays."""
    arrays = {f.name: pa.array([row[f.name] for row in rows], _type(f)) for f in DECLARATION.fields}
    return read_columns(pa.table(arrays), LAYOUT, NOW)


def from_json(rows: list[Row]) -> Columns:
    """The rows as requests of one campaign, through JSON text."""
    return assemble(LAYOUT, [_request(json.loads(json.dumps(row))) for row in rows])


def _request(row: Row) -> RawRequest:
    history = parse_history(LAYOUT, {f.name: row[f.name] for f in DECLARATION.scope("user")})
    state = HistoryState.NEW if history.empty else HistoryState.PRESENT
    request = {f.name: row[f.name] for f in DECLARATION.scope("request")}
    return RawRequest(NOW, request, [{f.name: row[f.name] for f in DECLARATION.scope("campaign")}], history, state)


def _type(field: Field) -> pa.DataType:
    if field.kind in ("category", "month", "version"):
        return pa.string()
    number = pa.int64() if field.temporal else pa.float64()
    if field.kind == "strings":
        return pa.list_(pa.string())
    pairs = pa.list_(pa.struct([("key", pa.string()), ("value", number)]))
    if field.nested:
        return pa.map_(pa.string(), pairs)
    return pa.map_(pa.string(), number) if field.ragged else number


def bits(array: Any) -> bytes:
    return np.ascontiguousarray(array).tobytes()


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    draw = Draw(5)
    return [draw.row() for _ in range(N_ROWS)]


@pytest.fixture(scope="module")
def plan(rows: list[Row]) -> FeaturePlan:
    rng = np.random.default_rng(1)
    gate = (rng.random(N_ROWS) < 0.3).astype(np.float64)
    return FeaturePlan.fit(DECLARATION, from_arrow(rows), gate, gate * rng.lognormal(size=N_ROWS))


def test_features_are_bit_identical(rows: list[Row], plan: FeaturePlan) -> None:
    """X from Arrow equals X from JSON in every bit, though their values lie in different orders."""
    arrow, wire = from_arrow(rows), from_json(rows)
    assert (arrow.segment_major, wire.segment_major) == (True, False)
    assert bits(plan.transform(arrow)) == bits(plan.transform(wire))


def test_features_do_not_depend_on_the_batch(rows: list[Row], plan: FeaturePlan) -> None:
    """A row alone, parsed from JSON, has the bits it has among all rows read from Arrow."""
    whole = plan.transform(from_arrow(rows))
    for i in range(0, N_ROWS, 9):
        assert bits(plan.transform(from_json(rows[i : i + 1]))) == bits(whole[i : i + 1])


def test_batches_joined_offline_are_the_same(rows: list[Row], plan: FeaturePlan) -> None:
    """Training reads in batches and joins them: the features are those of one batch."""
    joined = concatenate([from_arrow(rows[:150]), from_arrow(rows[150:])])
    assert bits(plan.transform(joined)) == bits(plan.transform(from_json(rows)))


def test_a_cached_history_is_the_same(rows: list[Row], plan: FeaturePlan) -> None:
    """A history packed and unpacked gives the bits that Arrow gives."""
    requests = [_request(row) for row in rows]
    for request in requests:
        assert request.history is not None
        request.history = read_history(LAYOUT, request.history.packed)
    assert bits(plan.transform(assemble(LAYOUT, requests))) == bits(plan.transform(from_arrow(rows)))


def test_columns_agree_before_any_feature(rows: list[Row]) -> None:
    """Everything of `Columns` that does not depend on the order of values is equal as it stands."""
    arrow, wire = from_arrow(rows), from_json(rows)
    for name in ("owner", "now", "state", "numbers", "campaign_numbers", "counts", "user_lookups", "row_lookups"):
        assert bits(getattr(arrow, name)) == bits(getattr(wire, name)), name
    assert set(arrow.state.tolist()) == {HistoryState.PRESENT, HistoryState.NEW}
