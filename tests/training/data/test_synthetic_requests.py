"""The `/predict` bodies against the parquet rows that they repeat."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from app.features.countries import ALPHA2_BY_ALPHA3
from training.data.synthetic import generate

Row = dict[str, Any]
TARGETS = ("buyer_", "buy_d", "iap_revenue_d", "registration", "retention_")
OUTSIDE = {f"dev_{name}" for name in ("make", "model", "os", "osv", "language")} | {
    "row_id", "country", "region", "carrier", "hour", "weekday", "release_date", "release_msrp", "advertiser_bundle",
    "advertiser_category", "advertiser_subcategory", "advertiser_bottom_taxonomy_level",
}  # fmt: skip
DEVICE = {"make", "model", "os", "osv", "language", "carrier"}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, Row, Row]]:
    """Hour, body and row of two thousand rows of two hours."""
    folder: Path = tmp_path_factory.mktemp("requests")
    made = generate(2000, folder / "day", seed=7, hours=2, requests=folder / "new" / "r.jsonl")
    assert made.requests is not None
    lines = made.requests.read_text().splitlines()
    rows: list[tuple[int, Row]] = []
    for hour, part in enumerate(sorted(made.out.glob("*/*.parquet"))):
        rows += [(hour, row) for row in pq.read_table(part, partitioning=None).to_pylist()]
    return [(hour, json.loads(line), row) for line, (hour, row) in zip(lines, rows, strict=True)]


def _mapping(value: Any) -> Any:
    """A map of parquet or of either JSON form as a dict, a list of strings as it is, what is empty as None."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        value = {entry["key"]: entry["value"] for entry in value}
    if isinstance(value, list) and value and isinstance(value[0], tuple | list):
        value = dict(value)
    if isinstance(value, dict):
        value = {key: _mapping(inner) for key, inner in value.items()}
    return None if value in ([], {}) else value


def test_the_history_is_the_row_s_to_the_last_bit(pairs: list[tuple[int, Row, Row]]) -> None:
    """Every user column that is not null stands in the history with the same numbers, and nothing else does."""
    for _, body, row in pairs:
        names = [name for name in row if name not in OUTSIDE and not name.startswith(TARGETS)]
        expected = {name: row[name] for name in names if row[name] is not None}
        history = body["user"]["ext"]["history"]
        assert history.keys() == expected.keys()
        for name, value in expected.items():
            assert _mapping(history[name]) == _mapping(value), name


def test_the_request_part_is_openrtb(pairs: list[tuple[int, Row, Row]]) -> None:
    """id, device, geo and campaign carry the row's values; null is an omitted key; time is the hour's."""
    for hour, body, row in pairs:
        device, campaign = body["device"], body["ext"]["campaigns"][0]
        assert body["id"] == row["row_id"]
        assert body["imp"] == [{"id": "1"}]
        assert body["ext"]["ts"] == 1759276800 + 3600 * hour
        assert campaign["id"] == row["advertiser_bundle"]
        assert {k: campaign.get(k) for k in row if k.startswith("advertiser_") and "action" not in k} == {
            k: v for k, v in row.items() if k.startswith("advertiser_") and "action" not in k
        }
        for name in DEVICE:
            raw = row["carrier" if name == "carrier" else f"dev_{name}"]
            assert (device.get(name, "").lower() if name == "os" else device.get(name, "")) == (raw or "")
        country = device["geo"].get("country")
        assert (ALPHA2_BY_ALPHA3[country] if country else None) == row["country"]
        assert device["geo"].get("region") == row["region"]
        assert device["ext"].get("release_msrp") == row["release_msrp"]
        assert device["ext"].get("release_date") == row["release_date"]
        assert (device["ext"].get("atts") == 3) == (row["dev_os"] == "ios")
        assert "ifa" not in device
        assert "id" not in body["user"]


def test_both_forms_of_a_map_and_empty_histories_occur(pairs: list[tuple[int, Row, Row]]) -> None:
    """Most rows write maps as objects, some as pairs; new users write an empty history."""
    histories = [body["user"]["ext"]["history"] for _, body, _ in pairs]
    forms = [type(history["country_hist"]) for history in histories if history.get("country_hist")]
    assert forms.count(dict) > forms.count(list) > 0
    assert 0.3 < sum(not history for history in histories) / len(histories) < 0.5
    nested = [
        history["user_actions_bundles_action_count"]
        for history in histories
        if "user_bundles" in history and history.get("user_actions_bundles_action_count")
    ]
    assert {type(value) for value in nested} == {dict, list}
