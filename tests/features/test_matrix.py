"""The feature matrix against a loop in plain Python, and what its bits may not depend on."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import BundleCorrupt, DeclarationError
from app.features.columns import Columns
from app.features.history import parse_history, read_history, unpack
from app.features.layout import Layout
from app.features.matrix import FeaturePlan
from app.features.parsing import RawRequest, assemble, floor_hour, request_from_json
from app.features.spec import Declaration, HistoryState
from tests.features.conftest import HISTORIES, KEYS, SMALL

NOW = floor_hour(1_759_324_000)
DECLARATION = Declaration.from_dict(SMALL)
LAYOUT = Layout(DECLARATION)
REQUESTS = st.builds(
    lambda request, campaigns, history, state: {
        "now": NOW, "request": request, "campaigns": campaigns, "history": history, "state": state
    },
    st.fixed_dictionaries(
        {},
        optional={
            "country": st.sampled_from(["us", "br", "xx", None]),
            "os_version": st.sampled_from(["16.4.1", "9", "x", None]),
            "released": st.sampled_from(["2025_july", "soon", None]),
            "price": st.none() | st.floats(0, 5000),
        },
    ),
    st.lists(
        st.fixed_dictionaries({}, optional={"shop": st.none() | KEYS, "bid": st.floats(0, 9)}), min_size=1, max_size=4
    ),
    HISTORIES,
    st.sampled_from(["present", "new", "unavailable", "withheld"]),
)  # fmt: skip


def _training(n: int = 400, seed: int = 0) -> tuple[Columns, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    requests = [
        RawRequest(
            NOW,
            {"country": str(rng.choice(["us", "br", "de"])), "price": float(rng.uniform(1, 900)), "os_version": "16.4"},
            [{"shop": str(rng.choice(["a", "b", "games", f"rare{i}"]))}],
            parse_history(LAYOUT, {"spend": {"a": float(rng.exponential())}, "last_word": str(rng.choice(["x", "y"]))}),
            HistoryState.PRESENT,
        )
        for i in range(n)
    ]
    gate = (rng.random(n) < 0.3).astype(float)
    return assemble(LAYOUT, requests), gate, gate * rng.exponential(9.0, n)


TRAINING = _training()
PLAN = FeaturePlan.fit(DECLARATION, *TRAINING)


def _row(plan: FeaturePlan, obj: dict[str, Any]) -> list[dict[str, float]]:
    X = plan.transform(assemble(plan.layout, [request_from_json(plan.layout, obj)]))
    return [dict(zip(plan.names, line, strict=True)) for line in X.tolist()]


@settings(max_examples=60)
@given(st.lists(REQUESTS, min_size=1, max_size=5))
def test_a_row_has_the_same_bits_alone_and_in_any_batch(objects: list[dict[str, Any]]) -> None:
    """Request by request, campaign by campaign, and all together: one matrix."""
    requests = [request_from_json(LAYOUT, o) for o in objects]
    together = PLAN.transform(assemble(LAYOUT, requests))
    apart = np.concatenate([PLAN.transform(assemble(LAYOUT, [r])) for r in requests])
    single = [
        PLAN.transform(assemble(LAYOUT, [RawRequest(r.now, r.request, [c], r.history, r.state)]))
        for r in requests
        for c in r.campaigns
    ]
    assert together.tobytes() == apart.tobytes() == np.concatenate(single).tobytes()


@settings(max_examples=60)
@given(REQUESTS)
def test_a_history_from_the_cache_gives_the_same_bits(obj: dict[str, Any]) -> None:
    """Packed and unpacked, inline and cached: one matrix."""
    inline = request_from_json(LAYOUT, obj)
    if inline.history is None:
        return
    cached = RawRequest(inline.now, inline.request, inline.campaigns, read_history(LAYOUT, inline.history.packed),
                        inline.state)  # fmt: skip
    assert PLAN.transform(assemble(LAYOUT, [inline])).tobytes() == PLAN.transform(assemble(LAYOUT, [cached])).tobytes()


@given(REQUESTS)
def test_x_lies_on_the_float32_grid_with_one_missing_value(obj: dict[str, Any]) -> None:
    """Finite values are float32 numbers, never -0.0; NaN is the all-ones pattern."""
    X = PLAN.transform(assemble(LAYOUT, [request_from_json(LAYOUT, obj)]))
    missing = np.isnan(X)
    assert X.flags.c_contiguous
    assert (X[~missing] == X[~missing].astype(np.float32)).all()
    assert np.isfinite(X[~missing]).all()
    assert not (np.signbit(X) & (X == 0)).any()
    assert (X[missing].view(np.uint64) == 0xFFFFFFFFFFFFFFFF).all()


@given(REQUESTS)
def test_features_equal_their_definitions(obj: dict[str, Any]) -> None:
    """Aggregates, ages, lookups, ratios and products recomputed from the parsed history in plain Python."""
    request = request_from_json(LAYOUT, obj)
    history = request.history
    names = [f.name for f in LAYOUT.keyed]
    maps = dict(zip(names, unpack(LAYOUT, history.packed).maps, strict=True)) if history else {}
    spend = maps.get("spend")
    for row, campaign in zip(_row(PLAN, obj), request.campaigns, strict=True):
        assert row["history_state"] == request.state
        if spend is None:
            assert math.isnan(row["spend.count"])
            assert math.isnan(row["spend@shop"])
            continue
        values = [max(-3.4028234663852886e38, min(3.4028234663852886e38, float(v))) for v in spend.values()]
        assert row["spend.count"] == len(values)
        rounding = 1e-30 + 1e-15 * math.fsum(map(abs, values))  # of values that cancel, the sum keeps no digit
        assert (
            row["spend.sum"] == pytest.approx(math.fsum(values), rel=1e-5, abs=rounding)
            or abs(math.fsum(values)) > 3e38
        )
        if not values:
            assert math.isnan(row["spend.max"])
        elif max(map(abs, values)) < 1e30:
            assert row["spend.max"] == pytest.approx(max(values), rel=1e-6)
        shop = campaign.get("shop")
        if shop is None:
            assert math.isnan(row["spend@shop"])
        elif shop not in spend:
            assert row["spend@shop"] == -1.0
        assert math.isnan(row["per_entry"]) if not values else True


def test_absent_empty_and_zero_are_three_different_things() -> None:
    """An unknown map, a known empty one and one that holds a zero give three different lines."""
    base = {"now": NOW, "request": {}, "campaigns": [{"shop": "a"}], "state": "present"}
    histories: list[dict[str, Any]] = [{}, {"spend": {}}, {"spend": {"a": 0}}]
    absent, empty, zero = (_row(PLAN, {**base, "history": {"age": 1, **h}})[0] for h in histories)
    found = [(r["spend.count"], r["spend.sum"], r["spend@shop"]) for r in (absent, empty, zero)]
    assert [math.isnan(v) for v in found[0]] == [True] * 3
    assert found[1] == (0.0, 0.0, -1.0)
    assert found[2] == (1.0, 0.0, 0.0)


def test_times_become_hours_before_now_and_never_negative() -> None:
    """An event two hours ago is 2; one later than the full hour is 0."""
    base = {"now": NOW, "request": {}, "campaigns": [{"shop": "a"}], "state": "present"}
    row = _row(PLAN, {**base, "history": {"bought": {"a": NOW - 7200, "b": NOW + 60}, "seen": NOW - 3600}})[0]
    assert (row["bought.latest"], row["bought.earliest"], row["bought@shop"], row["seen_hours_ago"]) == (0, 2, 2, 1)


def test_unseen_rare_and_missing_categories_differ() -> None:
    """Missing is NaN, unseen the prior without frequency, rare the pool."""
    base = {"now": NOW, "request": {}, "history": None, "state": "unavailable"}
    rare = next(str(e) for e in TRAINING[0].campaign_texts.entries if e and e.startswith("rare"))
    rate = [_row(PLAN, {**base, "campaigns": [{"shop": s}]})[0]["shop.rate"] for s in (None, "never", rare, "a")]
    assert math.isnan(rate[0])
    assert len(set(rate[1:])) == 3
    unseen = PLAN.unseen(assemble(LAYOUT, [request_from_json(LAYOUT, {**base, "campaigns": [{"shop": "never"}]})]))
    assert unseen == {"shop": 1}


def test_target_statistics_are_smoothed_means() -> None:
    """rate = (buyers + s·prior) / (rows + s), counted by a loop."""
    columns, gate, _ = TRAINING
    texts = columns.campaign_texts
    shops = [texts.entries[c] for c in texts.codes[:, 0]]
    buyers = sum(g for s, g in zip(shops, gate, strict=True) if s == "a")
    rows = shops.count("a")
    expected = (buyers + 5.0 * gate.mean()) / (rows + 5.0)
    X = PLAN.transform(columns)
    found = X[shops.index("a"), PLAN.names.index("shop.rate")]
    assert found == pytest.approx(expected, rel=1e-6)


def test_out_of_fold_statistics_do_not_see_their_own_fold() -> None:
    """Flipping a fold's labels changes no encoding of that fold's rows, and changes those of the others."""
    columns, gate, revenue = TRAINING
    fold = np.arange(len(gate)) % 4
    flipped = np.where(fold == 1, 1.0 - gate, gate)
    plans = [FeaturePlan.fit(DECLARATION, columns, g, revenue) for g in (gate, flipped)]
    columns_x = [
        p.transform_out_of_fold(columns, g, revenue, fold) for p, g in zip(plans, (gate, flipped), strict=True)
    ]
    at = PLAN.names.index("shop.rate")
    assert np.array_equal(columns_x[0][fold == 1, at], columns_x[1][fold == 1, at])
    assert not np.array_equal(columns_x[0][fold == 2, at], columns_x[1][fold == 2, at])


def test_out_of_fold_and_serving_differ_in_target_statistics_only_and_agree_in_distribution() -> None:
    """Only rate and value columns (and what derives from them) differ, and their quartiles stay close."""
    columns, gate, revenue = _training(3000, seed=3)
    plan = FeaturePlan.fit(DECLARATION, columns, gate, revenue)
    serving = plan.transform(columns)
    training = plan.transform_out_of_fold(columns, gate, revenue, np.arange(len(gate)) % 5)
    for name, a, b in zip(plan.names, serving.T, training.T, strict=True):
        if not name.endswith((".rate", ".value")):
            assert np.array_equal(a, b, equal_nan=True), name
        else:
            for q in (0.25, 0.5, 0.75):
                assert np.nanquantile(a, q) == pytest.approx(np.nanquantile(b, q), abs=0.1), name


def test_without_an_encoded_text_there_is_nothing_to_encode_out_of_fold() -> None:
    """A declaration that encodes no category gives the same X to training and serving, row by row."""
    columns, gate, revenue = _training()
    plain = {k: v for k, v in SMALL.items() if k not in ("encodings", "ratios", "products")}
    plan = FeaturePlan.fit(Declaration.from_dict(plain), columns, gate, revenue)
    assert "encodings" not in plan.groups
    X = plan.transform_out_of_fold(columns, gate, revenue, np.arange(len(gate)) % 3)
    np.testing.assert_array_equal(X, plan.transform(columns))


def test_ranks_are_the_share_of_the_cohort_below() -> None:
    """The cheapest device ranks 0, the dearest 1, a missing price has none."""
    base = {"now": NOW, "history": None, "state": "new", "campaigns": [{"shop": "a"}]}
    ranks = [
        _row(PLAN, {**base, "request": {"country": "us", "price": price}})[0]["price.rank"]
        for price in (0.0, 450.0, 5000.0, None)
    ]
    assert ranks[0] == 0.0
    assert ranks[1] in (0.25, 0.5, 0.75)
    assert ranks[2] == 1.0
    assert math.isnan(ranks[3])


@pytest.mark.parametrize("group", ["context", "encodings", "scalars", "aggregates", "recency", "lookups", "ratios",
                                   "products", "ranks"])  # fmt: skip
def test_a_group_switched_off_disappears_and_changes_nothing_else(group: str) -> None:
    """Its features are gone, and what derives from them; every other column keeps its bits."""
    plan = FeaturePlan.fit(Declaration.from_dict({**SMALL, "groups": {group: False}}), *TRAINING)
    assert group not in plan.groups
    assert set(plan.names) < set(PLAN.names)
    full, part = PLAN.transform(TRAINING[0]), plan.transform(TRAINING[0])
    for name in plan.names:
        assert full[:, PLAN.names.index(name)].tobytes() == part[:, plan.names.index(name)].tobytes(), name


def test_the_fitted_state_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    """A saved plan has the same fingerprint and the same X; a damaged one is refused."""
    PLAN.save(tmp_path)
    again = FeaturePlan.load(DECLARATION, tmp_path)
    assert again.fingerprint == PLAN.fingerprint
    assert again.transform(TRAINING[0]).tobytes() == PLAN.transform(TRAINING[0]).tobytes()
    (tmp_path / "encoders.json").write_text("{}")
    with pytest.raises(BundleCorrupt, match=r"encoders\.json: no fitted encoders"):
        FeaturePlan.load(DECLARATION, tmp_path)


def test_a_pair_of_an_unknown_feature_is_one_clear_line() -> None:
    """The message names the entry and the name that nobody knows."""
    raw = copy.deepcopy(SMALL)
    raw["ratios"]["bad"] = ["price", "colour"]
    with pytest.raises(DeclarationError, match=r"ratios\.bad: expected the name of a feature, received 'colour'"):
        FeaturePlan.unfitted(Declaration.from_dict(raw))
