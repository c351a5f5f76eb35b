"""What a row shows: the numbers, read from its raw columns alone, that the truth is a function of.

Enters: the feature columns of a block. Leaves: one float64 array of shape (n_rows,) a signal. Nothing hidden is read
here, so that whoever parses the columns well can learn the whole truth.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from training.data.synthetic.columns import Columns, Floats, Ints, Nested, Ragged, Scalar, Text, per_row
from training.data.synthetic.devices import IOS
from training.data.synthetic.users import DAY

Signals = dict[str, Floats]


def read_signals(columns: Columns, now: int) -> Signals:
    """Signals of every row.

    Parameters
    ----------
    columns : dict
        The feature columns of a block (targets are not looked at).
    now : int
        Unix seconds of the hour, which recencies count from.

    Returns
    -------
    dict of str to ndarray of shape (n_rows,), float64
        Finite everywhere: what is absent has the neutral value named beside it.
    """
    return _device(columns) | _habits(columns) | _spend(columns) | _recency(columns, now) | _touch(columns)


def lookup(columns: Columns, field: str, key: str, default: float = 0.0) -> Floats:
    """The value of the row's own key (text column `key`) in its map `field`; `default` where there is none."""
    column, keys = cast(Ragged, columns[field]), cast(Text, columns[key]).codes
    out = np.full(len(keys), default, dtype=np.float64)
    rows = column.rows()
    own = column.codes == keys[rows]
    assert column.values is not None  # every looked-up field is a map
    out[rows[own]] = column.values[own]
    return out


def reduced(columns: Columns, field: str, how: np.ufunc, default: float = 0.0) -> Floats:
    """All values of a map, row by row."""
    column = cast(Ragged, columns[field])
    assert column.values is not None  # every reduced field is a map
    return per_row(how, column.rows(), column.values, len(column.valid), default)


def _number(columns: Columns, name: str, absent: float) -> Floats:
    column = cast(Scalar, columns[name])
    values = column.values.astype(np.float64)
    return values if column.valid is None else np.where(column.valid, values, absent)


def _device(columns: Columns) -> Signals:
    """Price: log of the launch price over 300 dollars, held within ±2, 0 where unknown."""
    price = np.clip(np.log(np.maximum(_number(columns, "release_msrp", 300.0), 1.0) / 300.0), -2.0, 2.0)
    hour = cast(Text, columns["hour"]).codes
    return {
        "price": price,
        "ios": (cast(Text, columns["dev_os"]).codes == IOS).astype(np.float64),
        "evening": np.cos(2 * np.pi * (hour - 20) / 24),
        "weekend": (cast(Scalar, columns["weekday"]).values >= 6).astype(np.float64),
    }


def _habits(columns: Columns) -> Signals:
    """Habits around their mean, 0 where absent; `stranger` is 1 where weeks_since_first_seen is null."""
    sessions = cast(Ragged, columns["avg_daily_sessions"])
    count = np.diff(sessions.offsets)
    mean = reduced(columns, "avg_daily_sessions", np.add) / np.maximum(count, 1)
    known = cast(Scalar, columns["weeks_since_first_seen"]).valid
    assert known is not None  # the column has nulls
    return {
        "stranger": 1.0 - known,
        "wifi": _number(columns, "wifi_ratio", 0.58) - 0.58,
        "active": (_number(columns, "avg_act_days", 3.86) - 3.86) / 2.0,
        "sessions": np.where(count > 0, np.clip(np.log1p(mean) - 0.9, -1.5, 1.5), 0.0),
        "rank": reduced(columns, "cpm_pct_rk", np.maximum, 0.55) - 0.55,
    }


def _spend(columns: Columns) -> Signals:
    """log1p of past dollars over 3, held at 2.7 (3,300 dollars): all of it, in this category, on this bottom level."""

    def scaled(dollars: Floats) -> Floats:
        return np.minimum(np.log1p(dollars) / 3.0, 2.7)

    level = "advertiser_bottom_taxonomy_level"
    return {
        "total_spend": scaled(reduced(columns, "iap_revenue_usd_bundle", np.add)),
        "category_spend": scaled(lookup(columns, "iap_revenue_usd_category", "advertiser_category")),
        "bottom_spend": scaled(lookup(columns, "iap_revenue_usd_category_bottom_taxonomy", level)),
        "bundle_buys": np.minimum(np.log1p(lookup(columns, "num_buys_bundle", "advertiser_bundle")), 4.0),
        "whale": reduced(columns, "whale_users_bundle_revenue_prank", np.maximum),
    }


def _recency(columns: Columns, now: int) -> Signals:
    """exp(−days/9) of the last purchase in this category, 0 where none; the freshest install the same with 12 days."""
    bought = lookup(columns, "last_buy_ts_category", "advertiser_category", -np.inf)
    installed = reduced(columns, "last_install_ts_bundle", np.maximum, -np.inf)
    return {
        "fresh_buy": np.exp(-(now - bought) / (9.0 * DAY)),
        "fresh_install": np.exp(-(now - installed) / (12.0 * DAY)),
    }


def _touch(columns: Columns) -> Signals:
    """Contact with the advertiser and its kind: requests by bottom level, actions in its very app, campaign actions."""
    affinity = np.log1p(lookup(columns, "bcat_bottom_taxonomy", "advertiser_bottom_taxonomy_level")) / 3.0
    campaign = reduced(columns, "advertiser_actions_action_count", np.add)
    return {
        "affinity": np.minimum(affinity, 2.7),
        "actions_here": np.minimum(np.log1p(_actions_here(columns)), 3.0),
        "campaign_actions": np.minimum(np.log1p(campaign), 3.0),
    }


def _actions_here(columns: Columns) -> Floats:
    nested = cast(Nested, columns["user_actions_bundles_action_count"])
    advertiser = cast(Text, columns["advertiser_bundle"]).codes
    sums = _inner_sums(nested.values, nested.inner_offsets)
    rows = nested.rows()
    own = nested.codes == advertiser[rows]
    out = np.zeros(len(advertiser), dtype=np.float64)
    out[rows[own]] = sums[own]
    return out


def _inner_sums(values: Ints, offsets: Ints) -> Floats:
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return np.asarray(np.bincount(owner, weights=values, minlength=len(offsets) - 1), dtype=np.float64)
