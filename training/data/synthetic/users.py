"""The user part of a block of rows: habits, apps and media. What money leaves behind is in `purchases`.

Enters: the people of the block. Leaves: the user's scalar, map and list columns. Missing columns go together: a new
user has none; a known user lacks some, at rates that make up the shares of the original.
"""

from __future__ import annotations

import numpy as np

from training.data.synthetic.columns import (
    Columns,
    Entries,
    Ints,
    Mask,
    Ragged,
    Scalar,
    Vocabulary,
    distinct,
    grouped,
    pick,
    ragged,
    repeat_rows,
)
from training.data.synthetic.market import Market
from training.data.synthetic.rows import HOURS, USER_SHARE, People, above, within

DAY = 86400
KNOWN_SHIFT = 0.058
"""0.3² · φ(t)/(1 − Φ(t)) at USER_SHARE: how far knowing the user already moves the latent of `known_share`."""

FORMATS = Vocabulary(["b", "i", "r"])
"""Banner, interstitial, rewarded."""


def known_share(rng: np.random.Generator, people: People, present: float) -> Mask:
    """Known users' rows that have a block which the share `present` of all rows have: engaged users more often."""
    latent = 0.3 * people.engaged + np.sqrt(1 - 0.09) * rng.normal(size=len(people))
    threshold = above(min(present / USER_SHARE, 0.9999)) + KNOWN_SHIFT
    return np.asarray(people.known & (latent > threshold))


def subset(rng: np.random.Generator, block: Mask, share: float) -> Mask:
    """A random `share` of the rows of a block."""
    return np.asarray(block & (rng.random(len(block)) < share))


def own_bundles(market: Market, rng: np.random.Generator, people: People) -> Entries:
    """The apps of every known user, 1–20 of them: popular ones, some like the advertiser's, rarely it itself."""
    bundles = market.bundles
    counts = np.where(people.known, 1 + rng.poisson(np.exp(1.1 + 0.5 * people.engaged)), 0)
    rows = repeat_rows(np.minimum(counts, 20))
    codes = popular(market, rng, len(rows))
    alike = (rng.random(len(rows)) < 0.08) & (bundles.bottom[people.advertiser[rows]] >= 0)
    codes[alike] = of_bottom(market, rng, bundles.bottom[people.advertiser[rows[alike]]])
    same = rng.random(len(rows)) < 0.012
    codes[same] = people.advertiser[rows[same]]
    return distinct(rows, codes, len(bundles.vocabulary))


def popular(market: Market, rng: np.random.Generator, count: int) -> Ints:
    """Bundles drawn with a Zipf-like popularity: the share of rank r falls as r^(−2/3)."""
    order = market.bundles.by_popularity
    return order[(len(order) * rng.random(count) ** 3).astype(np.int64)]


def of_bottom(market: Market, rng: np.random.Generator, bottom: Ints) -> Ints:
    """A bundle of each given bottom level."""
    starts = market.bundles.bottom_starts
    size = starts[bottom + 1] - starts[bottom]
    return market.bundles.by_bottom[starts[bottom] + (size * rng.random(len(bottom)) ** 2).astype(np.int64)]


def draw_user(market: Market, rng: np.random.Generator, people: People, apps: Entries) -> Columns:
    """All user columns but those of `purchases`."""
    return (
        _scalars(rng, people)
        | _apps(market, rng, people, apps)
        | _taxonomies(market, rng, people, apps)
        | _visits(market, rng, people)
        | _media(rng, people, apps, market)
        | _first_requests(market, rng, people, apps)
    )


def _scalars(rng: np.random.Generator, people: People) -> Columns:
    n = len(people)
    habits = known_share(rng, people, 0.5631)
    since = np.where(rng.random(n) < 0.67, 6, rng.integers(0, 6, size=n))
    return {
        "avg_act_days": Scalar(np.round(1 + 6 * rng.beta(0.505, 0.555, n), 3), known_share(rng, people, 0.54235)),
        "weekend_ratio": Scalar(np.round(rng.beta(0.66, 1.33, n), 4), habits),
        "wifi_ratio": Scalar(np.round(rng.beta(0.23, 0.168, n), 4), habits & (rng.random(n) < 0.9999)),
        "weeks_since_first_seen": Scalar(since.astype(np.int64), people.known),
    }


def _apps(market: Market, rng: np.random.Generator, people: People, apps: Entries) -> Columns:
    rows, codes = apps
    names = market.bundles.vocabulary
    columns: Columns = {}
    lists = (("user_bundles", 0.55087, 0.95), ("user_bundles_l28d", 0.47433, 0.7), ("new_bundles", 0.2527, 0.3))
    for name, share, kept in lists:
        present = known_share(rng, people, share)
        chosen = pick(rng, rows, present, kept)
        columns[name] = ragged(rng, present, (rows[chosen], codes[chosen]), names)
    present = known_share(rng, people, 0.24013)
    chosen = pick(rng, rows, present, 0.8)
    entries = rows[chosen], codes[chosen]
    sessions = np.round(rng.lognormal(-0.25 + 0.35 * people.engaged[entries[0]], 0.95), 3)
    sessions[rng.random(len(sessions)) < 0.01] = 0.0
    duration = np.round(rng.lognormal(6.6, 1.3, len(sessions)), 1)
    duration[rng.random(len(duration)) < 0.0004] *= 5000.0
    columns["avg_daily_sessions"] = ragged(rng, present, entries, names, sessions)
    columns["avg_duration"] = ragged(rng, present, entries, names, duration)
    return columns


def _taxonomies(market: Market, rng: np.random.Generator, people: People, apps: Entries) -> Columns:
    """Requests seen by taxonomy (bcat), and the user's apps counted by taxonomy (bundles_cat)."""
    taxonomy, n_bottoms = market.taxonomy, len(market.bottoms)
    present = known_share(rng, people, 0.52528)
    rows = repeat_rows(np.where(present, 2 + rng.poisson(2.6, len(people)), 0))
    codes = (n_bottoms * rng.random(len(rows)) ** 1.6).astype(np.int64)
    target = market.bundles.bottom[people.advertiser[rows]]
    alike = (rng.random(len(rows)) < 0.14) & (target >= 0)
    codes[alike] = target[alike]
    rows, codes = distinct(rows, codes, n_bottoms)
    counts = np.ceil(rng.lognormal(1.62 + 0.4 * people.engaged[rows], 1.85)).astype(np.int64)
    counts[rng.random(len(counts)) < 0.01] = 0
    columns: Columns = {}
    columns |= _by_level(market, rng, present, (rows, codes), counts, taxonomy.category_of[codes], "bcat", True)
    present = known_share(rng, people, 0.42357)
    chosen = pick(rng, apps[0], present, 0.75)
    rows, codes = apps[0][chosen], apps[1][chosen]
    ones = np.ones(len(rows), dtype=np.int64)
    level, above_ = market.bundles.bottom[codes], market.bundles.category[codes]
    return columns | _by_level(market, rng, present, (rows, level), ones, above_, "bundles_cat", False)


def _by_level(
    market: Market,
    rng: np.random.Generator,
    present: Mask,
    entries: Entries,
    counts: Ints,
    category: Ints,
    name: str,
    as_struct: bool,
) -> Columns:
    rows, bottom = entries
    r, c, v = grouped(rows, category, counts, len(market.categories), np.add)
    whole = ragged(rng, present, (r, c), market.categories, v, as_struct=as_struct)
    r, c, v = grouped(rows, bottom, counts, len(market.bottoms), np.add)
    bottoms = ragged(rng, present, (r, c), market.bottoms, v, as_struct=as_struct)
    return {name: whole, f"{name}_bottom_taxonomy": bottoms}


def _visits(market: Market, rng: np.random.Generator, people: People) -> Columns:
    """Where, in which language, on which version and at what hours the user was seen."""
    places = market.places
    city = within(rng, places.city_starts, people.country)
    sources = (
        ("city_hist", 0.5649, city, places.cities, 0.9),
        ("country_hist", 0.5655, people.country, places.countries, 0.05),
        ("region_hist", 0.55895, people.region, places.regions, 0.5),
        ("dev_language_hist", 0.5654, people.language, places.languages, 0.08),
        ("dev_osv_hist", 0.56548, people.version, market.devices.versions, 0.4),
    )
    columns: Columns = {}
    seen = known_share(rng, people, 0.5656)
    for name, share, own, words, extra in sources:
        present = seen & (rng.random(len(people)) < share / 0.5656)
        columns[name] = _seen_at(rng, present, own, words, extra)
    columns["hour_ratio"] = _hours(rng, known_share(rng, people, 0.5631), people)
    return columns


def _seen_at(rng: np.random.Generator, present: Mask, own: Ints, words: Vocabulary, extra: float) -> Ragged:
    """Mostly the request's own place, and `extra` others on average; how often each."""
    first = np.flatnonzero(present & (rng.random(len(present)) < 0.93))
    others = repeat_rows(np.where(present, rng.poisson(extra, len(present)), 0))
    codes = np.concatenate([own[first], rng.integers(0, len(words), size=len(others))])
    rows, codes = distinct(np.concatenate([first, others]), codes, len(words))
    counts = np.floor(rng.lognormal(2.2, 1.3, len(rows))).astype(np.int64)
    return ragged(rng, present, (rows, codes), words, counts)


def _hours(rng: np.random.Generator, present: Mask, people: People) -> Ragged:
    rows = repeat_rows(np.where(present, 1 + rng.poisson(np.exp(1.2 + 0.3 * people.engaged)), 0))
    rows, codes = distinct(rows, rng.integers(0, 24, size=len(rows)), 24)
    weights = rng.exponential(size=len(rows))
    shares = np.round(weights / np.bincount(rows, weights=weights, minlength=len(present))[rows], 4)
    return ragged(rng, present, (rows, codes), HOURS, shares, as_struct=True)


def _media(rng: np.random.Generator, people: People, apps: Entries, market: Market) -> Columns:
    """Prices and click rates by ad format, with their percentile ranks, and the rank among users of rewarded ads."""
    priced = known_share(rng, people, 0.25956)
    columns: Columns = _by_format(rng, priced, people, "cpm", 1.1, 0.9)
    columns |= _by_format(rng, subset(rng, priced, 0.03577 / 0.25956), people, "ctr", -0.93, 0.8)
    ranked = known_share(rng, people, 0.49806)
    chosen = pick(rng, apps[0], ranked, 0.25)
    entries = apps[0][chosen], apps[1][chosen]
    ranks = np.round(rng.beta(0.95, 2.4, len(entries[0])), 4)
    columns["rwd_prank"] = ragged(rng, ranked, entries, market.bundles.vocabulary, ranks, as_struct=True)
    return columns


def _by_format(
    rng: np.random.Generator, present: Mask, people: People, name: str, location: float, spread: float
) -> Columns:
    rows = repeat_rows(np.where(present, rng.integers(1, 4, size=len(people)), 0))
    rows, codes = distinct(rows, rng.integers(0, 3, size=len(rows)), 3)
    z = 0.5 * people.wealth[rows] + np.sqrt(0.75) * rng.normal(size=len(rows))
    values = np.round(np.exp(location + spread * z), 4)
    ranks = np.round(1.0 / (1.0 + np.exp(-1.702 * z)), 4)
    return {
        name: ragged(rng, present, (rows, codes), FORMATS, values),
        f"{name}_pct_rk": ragged(rng, present, (rows, codes), FORMATS, ranks),
    }


def _first_requests(market: Market, rng: np.random.Generator, people: People, apps: Entries) -> Columns:
    present = known_share(rng, people, 0.45657)
    chosen = pick(rng, apps[0], present, 0.7)
    rows, codes = apps[0][chosen], apps[1][chosen]
    seen = people.now - 60 - (21 * DAY * rng.random(len(rows)) ** 1.1).astype(np.int64)
    r, c, v = grouped(rows, market.bundles.bottom[codes], seen, len(market.bottoms), np.minimum)
    earliest = np.full(len(people), people.now, dtype=np.int64)
    np.minimum.at(earliest, rows, seen)
    return {
        "first_request_ts": Scalar(earliest // DAY * DAY, present),
        "first_request_ts_bundle": ragged(rng, present, (rows, codes), market.bundles.vocabulary, seen),
        "first_request_ts_category_bottom_taxonomy": ragged(rng, present, (r, c), market.bottoms, v),
    }
