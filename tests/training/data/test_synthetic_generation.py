"""The generated folder: types, null shares, determinism, and what happens when something is in the way."""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from app.errors import DataError, InputError
from training.data.synthetic import GenerationSummary, generate

ROWS = 30_000

NULL_PERCENT = {
    "advertiser_category": 9.7,
    "advertiser_bottom_taxonomy_level": 37.6,
    "dev_make": 1.9,
    "release_msrp": 10.3,
    "avg_act_days": 45.8,
    "avg_days_ins": 95.5,
    "weekend_ratio": 43.7,
    "weeks_since_first_seen": 40.5,
    "first_request_ts": 54.3,
    "last_buy": 98.2,
    "last_ins": 85.3,
    "last_advertiser_action": 98.8,
    "avg_daily_sessions": 76.0,
    "bcat": 47.5,
    "bundles_cat": 57.6,
    "country_hist": 43.5,
    "cpm": 74.0,
    "ctr": 96.4,
    "iap_revenue_usd_category": 95.8,
    "rev_by_adv": 98.3,
    "rwd_prank": 50.2,
    "whale_users_bundle_revenue_prank": 96.9,
    "user_actions_bundles_action_count": 64.1,
    "bundles_ins": 73.5,
    "registration": 7.3,
}
TYPES = {
    "row_id": "string",
    "buyer_d7": "int8",
    "buy_d28": "int64",
    "iap_revenue_d1": "double",
    "weekday": "int8",
    "hour": "string",
    "release_msrp": "double",
    "last_buy": "int64",
    "num_buys_bundle": "map<string, int64>",
    "iap_revenue_usd_category": "map<string, double>",
    "last_buy_ts_category": "map<string, int64>",
    "user_bundles": "list<string>",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> GenerationSummary:
    """Thirty thousand rows of one day."""
    return generate(ROWS, tmp_path_factory.mktemp("synthetic") / "day", seed=4)


def _table(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(part, partitioning=None) for part in sorted(folder.glob("*/*.parquet"))])


def _digests(folder: Path) -> list[str]:
    return [hashlib.sha256(part.read_bytes()).hexdigest() for part in sorted(folder.glob("*/*.parquet"))]


def _plain(kind: pa.DataType) -> str:
    if pa.types.is_map(kind):
        return f"map<{kind.key_type}, {kind.item_type}>"
    return f"list<{kind.value_type}>" if pa.types.is_list(kind) else str(kind)


def test_the_layout_is_a_folder_an_hour_and_the_oracle_beside(made: GenerationSummary) -> None:
    """24 hive partitions of one part each; the oracle has one row a row, in the same order, and no feature."""
    parts = sorted(made.out.glob("*/*"))
    assert [str(p.relative_to(made.out)) for p in parts[:2]] == [
        "datetime=2025-10-01-00-00/part-0.parquet",
        "datetime=2025-10-01-01-00/part-0.parquet",
    ]
    oracle, table = pq.read_table(made.oracle), _table(made.out)
    assert len(parts) == made.partitions == 24
    assert oracle.column_names == ["row_id", "p_buyer", "e_d1", "e_d7", "e_d14"]
    assert oracle["row_id"].to_pylist() == table["row_id"].to_pylist()
    assert made.rows == table.num_rows == ROWS == len(set(table["row_id"].to_pylist()))
    assert made.buyers_d7 == pc.sum(table["buyer_d7"]).as_py()
    assert made.oracle.parent == made.out.parent


def test_types_are_those_of_the_table(made: GenerationSummary) -> None:
    """Both encodings of maps occur, the nested map is nested, and nothing is float32."""
    schema = _table(made.out).schema
    assert {name: _plain(schema.field(name).type) for name in TYPES} == TYPES
    for name, value in (("bcat", "int64"), ("hour_ratio", "double"), ("rwd_prank", "double")):
        assert str(schema.field(name).type) == f"list<element: struct<key: string, value: {value}>>"
    nested = schema.field("user_actions_bundles_action_last_timestamp").type
    assert pa.types.is_map(nested)
    assert str(nested.item_type) == "list<element: struct<key: string, value: int64>>"
    assert "float" not in str(schema).replace("dictionary", "")


def test_nulls_come_at_the_published_rates_and_together(made: GenerationSummary) -> None:
    """Null shares are within sampling error of the original's; a new user has no user column at all."""
    table = _table(made.out)
    for name, percent in NULL_PERCENT.items():
        assert 100 * table[name].null_count / ROWS == pytest.approx(percent, abs=1.3), name
    new = table.filter(pc.is_null(table["weeks_since_first_seen"]))
    for name in ("user_bundles", "bcat", "wifi_ratio", "iap_revenue_usd_bundle", "city_hist"):
        assert new[name].null_count == new.num_rows
    assert table["row_id"].null_count == table["advertiser_bundle"].null_count == 0


def test_keys_are_distinct_and_empty_is_not_absent(made: GenerationSummary) -> None:
    """No map repeats a key; every ragged column has nulls, empties and entries."""
    table = _table(made.out)
    for name in ("bcat_bottom_taxonomy", "user_bundles", "hour_ratio", "city_hist", "avg_daily_sessions"):
        lengths = pc.list_value_length(table[name]) if "map" not in _plain(table.schema.field(name).type) else None
        rows = table[name].to_pylist()
        keys = [[_key(entry) for entry in row] for row in rows if row is not None]
        assert all(len(set(own)) == len(own) for own in keys), name
        assert any(not own for own in keys), name
        assert any(row is None for row in rows), name
        assert lengths is None or pc.max(lengths).as_py() <= 24


def _key(entry: object) -> object:
    if isinstance(entry, dict):
        return entry["key"]
    return entry[0] if isinstance(entry, tuple) else entry


def test_times_lie_before_the_hour_and_scalars_at_midnight(made: GenerationSummary) -> None:
    """No history knows the future; last_buy is the midnight of the latest purchase."""
    part = made.out / "datetime=2025-10-01-13-00" / "part-0.parquet"
    table = pq.read_table(part, partitioning=None)
    now = int(datetime.datetime(2025, 10, 1, 13, tzinfo=datetime.UTC).timestamp())
    for name in ("last_install_ts_bundle", "first_request_ts_bundle", "last_buy_ts_bundle"):
        assert max(when for row in table[name].to_pylist() if row for _, when in row) < now
    for midnight, latest in zip(table["last_buy"].to_pylist(), table["last_buy_ts_bundle"].to_pylist(), strict=True):
        assert midnight is None or midnight % 86400 == 0
        assert not latest or midnight == max(when for _, when in latest) // 86400 * 86400
    assert set(table["hour"].to_pylist()) == {"13"}
    assert set(table["weekday"].to_pylist()) == {3}


def test_numbers_are_finite(made: GenerationSummary) -> None:
    """No float of any column, scalar or in a map, is NaN or infinite."""
    for column in _table(made.out).combine_chunks().columns:
        chunk = column.chunk(0)
        if pa.types.is_map(chunk.type):
            chunk = chunk.items
        elif pa.types.is_list(chunk.type) and pa.types.is_struct(chunk.type.value_type):
            chunk = chunk.values.field("value")
        if pa.types.is_floating(chunk.type):
            assert np.isfinite(chunk.drop_null().to_numpy()).all()


def test_equal_arguments_give_equal_bytes_and_a_seed_gives_another_day(tmp_path: Path) -> None:
    """Same seed, same files; another seed, other rows of the same advertisers; another world, other advertisers."""
    made = [
        generate(900, tmp_path / name, seed=s, world=w, hours=2)
        for name, s, w in (("a", 1, 0), ("b", 1, 0), ("c", 2, 0))
    ]
    other = generate(900, tmp_path / "d", seed=1, world=8, hours=2)
    assert _digests(made[0].out) == _digests(made[1].out)
    assert made[0].oracle.read_bytes() == made[1].oracle.read_bytes()
    assert set(_digests(made[0].out)).isdisjoint(_digests(made[2].out))
    names = [set(_table(m.out)["advertiser_bundle"].to_pylist()) for m in (*made, other)]
    assert len(names[0] & names[2]) > 50
    assert names[0].isdisjoint(names[3])


def test_an_hour_does_not_depend_on_how_many_follow(tmp_path: Path) -> None:
    """Rows of an hour come from its own seed: later days extend a market without changing it."""
    one = generate(1000, tmp_path / "one", hours=1, start=datetime.date(2025, 10, 2))
    two = generate(2000, tmp_path / "two", hours=2, start=datetime.date(2025, 10, 2))
    first = _table(one.out)["advertiser_bundle"].to_pylist()
    assert len(first) == 1000
    assert sorted(p.name for p in two.out.iterdir())[0] == next(one.out.iterdir()).name == "datetime=2025-10-02-00-00"


def test_generated_data_are_replaced_and_anything_else_refused(tmp_path: Path) -> None:
    """A folder with a stranger's file, or a stranger's parquet in the same layout, stays untouched."""
    out = tmp_path / "deep" / "day"
    generate(50, out, hours=3)
    generate(40, out, hours=2)
    assert len(list(out.iterdir())) == 2
    foreign = tmp_path / "foreign" / "datetime=2025-10-01-00-00"
    foreign.mkdir(parents=True)
    pq.write_table(pa.table({"x": [1]}), foreign / "part-0.parquet")
    with pytest.raises(DataError, match="not generated data"):
        generate(10, foreign.parent)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="is a file"):
        generate(10, tmp_path / "file")
    with pytest.raises(DataError, match="replaced as a whole"):
        generate(10, out, requests=out / "r.jsonl")
    assert pq.read_table(foreign / "part-0.parquet", partitioning=None).num_rows == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    """Whatever stops a generation, no partial file remains and the former data stay."""
    out = tmp_path / "day"
    generate(60, out, hours=2)
    before = _digests(out)

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(60, out, hours=2, seed=9, requests=tmp_path / "r.jsonl", progress=stop)
    assert _digests(out) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["day", "day.oracle.parquet"]


def test_progress_counts_rows(tmp_path: Path) -> None:
    """Progress is called with the rows done so far and ends at all of them."""
    seen: list[int] = []
    generate(500, tmp_path / "day", hours=5, progress=seen.append)
    assert seen == sorted(seen)
    assert len(seen) == 5
    assert seen[-1] == 500


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"rows": 0}, "rows"),
        ({"rows": 5, "hours": 0}, "hours"),
        ({"rows": 5, "hours": 10**9}, "hours"),
        ({"rows": 5, "seed": -1}, "seed"),
        ({"rows": 5, "world": -1}, "world"),
        ({"rows": 5, "start": datetime.date(1950, 1, 1)}, "start"),
    ],
)
def test_bad_arguments_are_one_clear_line(tmp_path: Path, arguments: dict[str, int], field: str) -> None:
    """The message names the argument, and nothing is written."""
    with pytest.raises(InputError) as caught:
        generate(out=tmp_path / "day", **arguments)  # type: ignore[arg-type]
    assert caught.value.field == field
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
