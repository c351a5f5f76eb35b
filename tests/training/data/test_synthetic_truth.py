"""The oracle against draws from it, and its signals against the raw columns read by loops in plain Python."""

from __future__ import annotations

import datetime
import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from training.data.synthetic.columns import Scalar
from training.data.synthetic.generation import draw_block, draw_world
from training.data.synthetic.outcomes import draw_outcomes
from training.data.synthetic.requests import bodies
from training.data.synthetic.signals import read_signals
from training.data.synthetic.taxonomy import read_taxonomy
from training.data.synthetic.truth import Truth

HOUR = datetime.datetime(2025, 10, 7, 14, tzinfo=datetime.UTC)
NOW = int(HOUR.timestamp())


def _block(n_rows: int, world: int = 0, seed: int = 3) -> tuple[Any, Truth]:
    market, effects = draw_world(world)
    return draw_block(market, effects, np.random.default_rng(seed), HOUR, n_rows)


def _rows(truth: Truth, rows: np.ndarray) -> Truth:
    return Truth(**{field.name: getattr(truth, field.name)[rows] for field in fields(Truth)})


def _target(columns: Any, name: str) -> np.ndarray:
    column = columns[name]
    assert isinstance(column, Scalar)
    return column.values


def test_expectations_are_the_means_of_draws() -> None:
    """The closed forms of E[y_h | x] and P(buy | x) agree with half a million draws within five standard errors."""
    _, truth = _block(3000)
    likely = np.argsort(-truth.p7)[:50]
    repeated = _rows(truth, np.repeat(likely, 10_000))
    drawn = draw_outcomes(repeated, np.random.default_rng(11))
    for horizon in ("d1", "d7", "d14", "d28"):
        y, e = _target(drawn, f"iap_revenue_{horizon}"), repeated.expected()[f"e_{horizon}"]
        assert abs(float((y - e).mean())) < 5 * float((y - e).std()) / math.sqrt(len(y)), horizon
    chances = {"d1": repeated.p7 * repeated.q1, "d7": repeated.p7, "d14": repeated.p14, "d28": repeated.p28}
    for horizon, p in chances.items():
        error = _target(drawn, f"buyer_{horizon}") - p
        assert abs(float(error.mean())) < 5 * float(error.std()) / math.sqrt(len(p)), horizon


@pytest.mark.parametrize("world", [0, 1, 5])
def test_every_world_meets_the_target_facts(world: int) -> None:
    """Buyer rates, mean revenue and growth by horizon are near the published ones in any world; order holds."""
    columns, truth = _block(40_000, world)
    e = truth.expected()
    assert truth.p7.mean() == pytest.approx(0.033, rel=0.08)
    assert (truth.p7 * truth.q1).mean() / truth.p7.mean() == pytest.approx(2.80 / 4.03, rel=0.05)
    assert 0.9 < e["e_d7"].mean() < 1.5
    assert e["e_d14"].mean() / e["e_d7"].mean() == pytest.approx(3.57 / 3.28, rel=0.02)
    assert e["e_d28"].mean() / e["e_d7"].mean() == pytest.approx(4.15 / 3.28, rel=0.03)
    assert e["e_d7"].max() < 0.01 * 1_000_000 * e["e_d7"].mean()
    for early, late in (("d1", "d7"), ("d7", "d14"), ("d14", "d28")):
        assert (e[f"e_{early}"] <= e[f"e_{late}"]).all()
        for kind in ("iap_revenue", "buyer", *(["buy"] if early != "d1" else [])):
            assert (_target(columns, f"{kind}_{early}") <= _target(columns, f"{kind}_{late}")).all()
        assert _target(columns, f"iap_revenue_{early}").min() >= 0


def test_one_buyer_in_ten_has_no_recorded_revenue() -> None:
    """buyer_d7 = 1 with zero revenue is about 10 % of buyers; revenue without a buyer never occurs."""
    columns, _ = _block(60_000)
    buyer, y = _target(columns, "buyer_d7") == 1, _target(columns, "iap_revenue_d7")
    assert (y[~buyer] == 0).all()
    assert 0.07 < float((y[buyer] == 0).mean()) < 0.13
    assert np.array_equal(_target(columns, "buy_d7") > 0, buyer)
    assert _target(columns, "buy_d7").max() <= 161


def test_signals_are_what_the_raw_columns_say() -> None:
    """Spend in this category, recency, whale rank, affinity and actions here, read again from the rows' JSON."""
    columns, _ = _block(20_000)
    signals = read_signals(columns, NOW)
    seen = 0
    for row, body in enumerate(bodies(HOUR, columns)):
        history, campaign = body["user"]["ext"]["history"], body["ext"]["campaigns"][0]
        maps = {name: dict(value) for name, value in history.items() if _is_map(value)}
        category, bundle = campaign.get("advertiser_category"), campaign["advertiser_bundle"]
        level = campaign.get("advertiser_bottom_taxonomy_level")
        dollars = maps.get("iap_revenue_usd_category", {}).get(category, 0.0)
        bought = maps.get("last_buy_ts_category", {}).get(category)
        affinity = maps.get("bcat_bottom_taxonomy", {}).get(level, 0)
        here = dict(maps.get("user_actions_bundles_action_count", {}).get(bundle, {}))
        expected = {
            "category_spend": min(math.log1p(dollars) / 3, 2.7),
            "fresh_buy": 0.0 if bought is None else math.exp(-(NOW - bought) / (9 * 86400)),
            "whale": max(maps.get("whale_users_bundle_revenue_prank", {}).values(), default=0.0),
            "affinity": min(math.log1p(affinity) / 3, 2.7),
            "actions_here": min(math.log1p(sum(here.values())), 3.0),
            "stranger": float("weeks_since_first_seen" not in history),
        }
        for name, value in expected.items():
            assert signals[name][row] == pytest.approx(value, rel=1e-12, abs=1e-15), (row, name)
        seen += dollars > 0
    assert seen > 100


def _is_map(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and all(isinstance(entry, tuple) for entry in value))


def test_money_is_where_the_user_spent_before_in_this_category() -> None:
    """Rows with past spend in the advertiser's category are worth many times the others; new users less."""
    columns, truth = _block(40_000)
    signals, e = read_signals(columns, NOW), truth.expected()["e_d7"]
    spent = signals["category_spend"] > 0
    assert e[spent].mean() > 5 * e[~spent].mean()
    assert e[signals["stranger"] == 1].mean() < 0.7 * e[signals["stranger"] == 0].mean()
    assert all(np.isfinite(values).all() for values in signals.values())


def test_the_taxonomy_has_the_published_sizes() -> None:
    """22 categories, 56 subcategories, 91 bottom levels; every level names its parent."""
    taxonomy = read_taxonomy()
    assert [len(x) for x in (taxonomy.categories, taxonomy.subcategories, taxonomy.bottoms)] == [22, 56, 91]
    assert len(set(taxonomy.bottoms)) == 91
    assert set(taxonomy.subcategory_of.tolist()) == set(range(56))
    for bottom in range(91):
        parent = taxonomy.subcategories[taxonomy.subcategory_of[bottom]]
        assert parent.split("/")[0] == taxonomy.categories[taxonomy.category_of[bottom]]
