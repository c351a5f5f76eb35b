"""What money and actions leave behind in a user's columns: past purchases, whale ranks, installs and in-app actions.

Enters: the people of a block and their apps. Leaves: the columns of past spend, purchase times, installs and actions.
Payers are rich, engaged users more often; half of what they bought is in the advertiser's own category, because
campaigns are aimed at people who play that kind of game. That is what makes the user's spend in *this* category tell.
"""

from __future__ import annotations

import numpy as np

from training.data.synthetic.columns import (
    EMPTY_SHARE,
    Columns,
    Entries,
    Floats,
    Ints,
    Mask,
    Nested,
    Scalar,
    Text,
    distinct,
    grouped,
    offsets_of,
    pick,
    ragged,
    repeat_rows,
)
from training.data.synthetic.market import ACTIONS, Market
from training.data.synthetic.rows import USER_SHARE, People, above
from training.data.synthetic.users import DAY, known_share, of_bottom, popular, subset

BUYER_SHARE = 0.04253
"""Share of the rows whose user has bought something before."""


def draw_purchases(market: Market, rng: np.random.Generator, people: People, apps: Entries) -> Columns:
    """Columns of past purchases, installs and actions."""
    latent = 0.6 * people.payer + 0.8 * rng.normal(size=len(people))
    bought = people.known & (latent > above(BUYER_SHARE / USER_SHARE) + 0.033)
    rows, codes = _bought_bundles(market, rng, people, bought)
    scale = 0.60 + 0.75 * people.payer + 0.35 * people.wealth + 1.65 * rng.normal(size=len(people))
    spend: Floats = np.round(np.exp(scale[rows] + 0.9 * rng.normal(size=len(rows))), 2).astype(np.float64)
    spend[rng.random(len(rows)) < 0.03] = 0.0
    buys = np.ceil(spend**0.8 / np.exp(1.4 + 0.6 * rng.normal(size=len(rows)))).astype(np.int64)
    return (
        _spend(market, rng, bought, (rows, codes), spend, buys)
        | _last_buys(market, rng, people, subset(rng, bought, 0.01833 / BUYER_SHARE), (rows, codes))
        | _whales(market, rng, subset(rng, bought, 0.03083 / BUYER_SHARE), (rows, codes), spend, buys)
        | _by_advertiser(market, rng, subset(rng, bought, 0.01712 / BUYER_SHARE), (rows, codes))
        | _installs(market, rng, people, apps)
        | _actions(market, rng, people, apps)
    )


def _bought_bundles(market: Market, rng: np.random.Generator, people: People, bought: Mask) -> Entries:
    bundles, taxonomy = market.bundles, market.taxonomy
    rows = repeat_rows(np.where(bought, np.minimum(rng.geometric(0.4, len(people)), 12), 0))
    codes = popular(market, rng, len(rows))
    category = bundles.category[people.advertiser[rows]]
    first = np.searchsorted(taxonomy.category_of, np.arange(len(market.categories) + 1))
    alike = (rng.random(len(rows)) < 0.45) & (category >= 0)
    span = first[category[alike] + 1] - first[category[alike]]
    bottom = first[category[alike]] + (span * rng.random(len(span))).astype(np.int64)
    known = bundles.bottom[people.advertiser[rows[alike]]]
    bottom = np.where((known >= 0) & (rng.random(len(bottom)) < 0.4), known, bottom)
    codes[alike] = of_bottom(market, rng, bottom)
    same = rng.random(len(rows)) < 0.06
    codes[same] = people.advertiser[rows[same]]
    return distinct(rows, codes, len(bundles.vocabulary))


def _levels(market: Market, codes: Ints) -> tuple[Ints, Ints]:
    return market.bundles.category[codes], market.bundles.bottom[codes]


def _spend(
    market: Market, rng: np.random.Generator, bought: Mask, entries: Entries, spend: Floats, buys: Ints
) -> Columns:
    rows, codes = entries
    category, bottom = _levels(market, codes)
    columns: Columns = {}
    for name, values in (("iap_revenue_usd", spend), ("num_buys", buys)):
        columns[f"{name}_bundle"] = ragged(rng, bought, entries, market.bundles.vocabulary, values)
        r, c, v = grouped(rows, category, values, len(market.categories), np.add)
        columns[f"{name}_category"] = ragged(rng, bought, (r, c), market.categories, v)
        r, c, v = grouped(rows, bottom, values, len(market.bottoms), np.add)
        columns[f"{name}_category_bottom_taxonomy"] = ragged(rng, bought, (r, c), market.bottoms, v)
    return columns


def _times(
    market: Market, rng: np.random.Generator, people: People, present: Mask, entries: Entries, days: float
) -> tuple[Columns, Ints]:
    """Last times by bundle and by category, at most `days` old, and each row's latest, cut to its midnight."""
    rows, codes = entries
    when = people.now - 60 - (days * DAY * rng.random(len(rows))).astype(np.int64)
    latest = np.zeros(len(people), dtype=np.int64)
    np.maximum.at(latest, rows, when)
    r, c, v = grouped(rows, market.bundles.category[codes], when, len(market.categories), np.maximum)
    columns: Columns = {
        "bundle": ragged(rng, present, entries, market.bundles.vocabulary, when),
        "category": ragged(rng, present, (r, c), market.categories, v),
    }
    return columns, latest // DAY * DAY


def _last_buys(market: Market, rng: np.random.Generator, people: People, present: Mask, entries: Entries) -> Columns:
    chosen = pick(rng, entries[0], present, 0.85)
    maps, latest = _times(market, rng, people, present, (entries[0][chosen], entries[1][chosen]), 31.0)
    return {"last_buy": Scalar(latest, present)} | {f"last_buy_ts_{level}": column for level, column in maps.items()}


def _installs(market: Market, rng: np.random.Generator, people: People, apps: Entries) -> Columns:
    listed = known_share(rng, people, 0.26455)
    chosen = pick(rng, apps[0], listed, 0.4)
    entries = apps[0][chosen], apps[1][chosen]
    columns: Columns = {"bundles_ins": ragged(rng, listed, entries, market.bundles.vocabulary)}
    timed = subset(rng, listed, 0.14692 / 0.26455)
    dated = timed[entries[0]]
    maps, latest = _times(market, rng, people, timed, (entries[0][dated], entries[1][dated]), 28.0)
    aged = subset(rng, timed, 0.04476 / 0.14692)
    columns["avg_days_ins"] = Scalar(np.round(28 * rng.beta(1.0, 1.5, len(people)), 2), aged)
    columns["last_ins"] = Scalar(latest, timed)
    return columns | {f"last_install_ts_{level}": column for level, column in maps.items()}


def _whales(
    market: Market, rng: np.random.Generator, present: Mask, entries: Entries, spend: Floats, buys: Ints
) -> Columns:
    """Rank 1 is the heaviest spender of that bundle; totals reach further back than the spend columns."""
    chosen = pick(rng, entries[0], present, 0.8)
    entries = entries[0][chosen], entries[1][chosen]
    more = np.exp(0.6 + 0.4 * rng.normal(size=len(entries[0])))
    revenue = np.round(spend[chosen] * more, 2)
    count = np.ceil(buys[chosen] * more).astype(np.int64)
    by_revenue = 1.15 * np.log1p(revenue) - 5.9 + 0.5 * rng.normal(size=len(revenue))
    by_count = 1.3 * np.log1p(count) - 2.6 + 0.5 * rng.normal(size=len(revenue))
    values = {
        "num_buys_prank": np.round(1 / (1 + np.exp(-by_count)), 4),
        "revenue_prank": np.round(1 / (1 + np.exp(-by_revenue)), 4),
        "total_num_buys": count,
        "total_revenue": revenue,
    }
    names = market.bundles.vocabulary
    return {f"whale_users_bundle_{key}": ragged(rng, present, entries, names, value) for key, value in values.items()}


def _by_advertiser(market: Market, rng: np.random.Generator, present: Mask, entries: Entries) -> Columns:
    chosen = pick(rng, entries[0], present, 0.3)
    share = np.round(rng.beta(0.9, 0.8, int(chosen.sum())), 4)
    entries = entries[0][chosen], entries[1][chosen]
    return {"rev_by_adv": ragged(rng, present, entries, market.bundles.vocabulary, share)}


def _actions(market: Market, rng: np.random.Generator, people: People, apps: Entries) -> Columns:
    seen = known_share(rng, people, 0.35937)
    columns = _nested_actions(market, rng, people, seen, apps)
    targeted = subset(rng, seen, 0.01214 / 0.35937)
    entries = _some_actions(rng, np.where(targeted, 1 + rng.poisson(1.0, len(people)), 0))
    counts = np.floor(rng.lognormal(0.7, 1.0, len(entries[0]))).astype(np.int64)
    when = people.now - 60 - (28 * DAY * rng.random(len(entries[0]))).astype(np.int64)
    order = np.lexsort((when, entries[0]))
    last = np.full(len(people), -1, dtype=np.int64)
    last[entries[0][order]] = entries[1][order]
    return columns | {
        "advertiser_actions_action_count": ragged(rng, targeted, entries, ACTIONS, counts),
        "advertiser_actions_action_last_timestamp": ragged(rng, targeted, entries, ACTIONS, when),
        "last_advertiser_action": Text(last, ACTIONS),
    }


def _some_actions(rng: np.random.Generator, counts: Ints) -> Entries:
    rows = repeat_rows(counts)
    return distinct(rows, (len(ACTIONS) * rng.random(len(rows)) ** 2).astype(np.int64), len(ACTIONS))


def _nested_actions(market: Market, rng: np.random.Generator, people: People, seen: Mask, apps: Entries) -> Columns:
    filled = seen & (rng.random(len(people)) >= EMPTY_SHARE)
    chosen = pick(rng, apps[0], filled, 0.35)
    rows, codes = apps[0][chosen], apps[1][chosen]
    inner_counts = np.where(rng.random(len(rows)) < EMPTY_SHARE, 0, 1 + rng.poisson(0.7, len(rows)))
    outer, actions = _some_actions(rng, inner_counts)
    inner_offsets = offsets_of(np.bincount(outer, minlength=len(rows)))
    offsets = offsets_of(np.bincount(rows, minlength=len(people)))
    counts = np.floor(rng.lognormal(0.8, 1.2, len(outer))).astype(np.int64)
    when = people.now - 60 - (28 * DAY * rng.random(len(outer))).astype(np.int64)
    names = market.bundles.vocabulary

    def column(values: Ints) -> Nested:
        return Nested(seen, offsets, codes, names, inner_offsets, actions, ACTIONS, values)

    return {
        "user_actions_bundles_action_count": column(counts),
        "user_actions_bundles_action_last_timestamp": column(when),
    }
