"""The world: who advertises, on which devices and in which countries people play, and what makes them pay.

Enters: the world's number. Leaves: a `Market`, the same for the same number. Rows are drawn elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.data.synthetic.columns import Floats, Ints, Vocabulary
from training.data.synthetic.devices import Devices, draw_devices
from training.data.synthetic.places import Places, draw_places
from training.data.synthetic.taxonomy import Taxonomy, read_taxonomy

N_ADVERTISERS = 515
N_APPS = 4000
NO_CATEGORY_SHARE = 0.09715
NO_BOTTOM_SHARE = 0.37549

_VERBS = (
    "install open registration login tutorial level purchase add_to_cart checkout subscribe trial deposit withdraw bet"
)
_STEPS = "start complete fail repeat"
ACTIONS = Vocabulary([f"{verb}_{step}" for verb in _VERBS.split() for step in _STEPS.split()] + ["ad_click", "rate"])
"""What a user did in an app: 58 names."""


@dataclass(frozen=True)
class Bundles:
    """Advertised bundles (codes 0–514) and other apps (codes from 515) with their place in the taxonomy.

    Attributes
    ----------
    vocabulary : Vocabulary
        4,515 hashes.
    bottom, subcategory, category : ndarray of shape (n_bundles,), int64
        Codes; −1 where the catalogue does not know (advertisers only).
    by_popularity : ndarray of shape (n_bundles,), int64
        Bundles, the most used first.
    by_bottom, bottom_starts : ndarray of shapes (n_bundles,) and (92,), int64
        Bundles grouped by their true bottom level, and where each group starts.
    advertiser_cdf : ndarray of shape (515,), float64
        Cumulative share of the rows of each advertiser.
    """

    vocabulary: Vocabulary
    bottom: Ints
    subcategory: Ints
    category: Ints
    by_popularity: Ints
    by_bottom: Ints
    bottom_starts: Ints
    advertiser_cdf: Floats


@dataclass(frozen=True)
class Market:
    """All that the world's number decides, but for the coefficients of `truth`."""

    number: int
    taxonomy: Taxonomy
    categories: Vocabulary
    subcategories: Vocabulary
    bottoms: Vocabulary
    bundles: Bundles
    devices: Devices
    places: Places


def draw_market(number: int) -> Market:
    """Draw the world of that number."""
    rng = np.random.default_rng(np.random.SeedSequence(number, spawn_key=(1,)))
    taxonomy = read_taxonomy()
    return Market(
        number=number,
        taxonomy=taxonomy,
        categories=Vocabulary(taxonomy.categories),
        subcategories=Vocabulary(taxonomy.subcategories),
        bottoms=Vocabulary(taxonomy.bottoms),
        bundles=_draw_bundles(rng, taxonomy),
        devices=draw_devices(rng),
        places=draw_places(rng),
    )


def hashes(rng: np.random.Generator, count: int) -> list[str]:
    """Distinct strings of 16 hexadecimal digits."""
    found = np.unique(rng.integers(0, 2**63, size=2 * count))
    return [f"{value:016x}" for value in rng.permutation(found)[:count].tolist()]


def _draw_bundles(rng: np.random.Generator, taxonomy: Taxonomy) -> Bundles:
    true_bottom = np.concatenate([_advertised(rng, taxonomy), _installed(rng, taxonomy)])
    weights = _advertiser_weights(rng, taxonomy, taxonomy.category_of[true_bottom[:N_ADVERTISERS]])
    bottom, category = true_bottom.copy(), taxonomy.category_of[true_bottom]
    subcategory = taxonomy.subcategory_of[true_bottom]
    unknown = _until(rng, weights, NO_BOTTOM_SHARE, heaviest=0.03)
    bottom[unknown] = -1
    nameless = unknown[: np.searchsorted(np.cumsum(weights[unknown]), NO_CATEGORY_SHARE) + 1]
    category[nameless] = -1
    subcategory[nameless] = -1
    size = len(true_bottom)
    grouped = np.argsort(true_bottom, kind="stable")
    starts = np.searchsorted(true_bottom[grouped], np.arange(len(taxonomy.bottoms) + 1))
    cdf = np.cumsum(weights) / weights.sum()
    return Bundles(
        Vocabulary(hashes(rng, size)), bottom, subcategory, category, rng.permutation(size), grouped, starts, cdf
    )


def _advertised(rng: np.random.Generator, taxonomy: Taxonomy) -> Ints:
    """Bottom level of each advertiser: every category has some, larger ones more."""
    share = np.sqrt(taxonomy.rows)
    drawn = rng.choice(len(share), size=N_ADVERTISERS - len(share), p=share / share.sum())
    return _bottoms_within(rng, taxonomy, np.concatenate([np.arange(len(share)), drawn]))


def _installed(rng: np.random.Generator, taxonomy: Taxonomy) -> Ints:
    """Bottom level of each other app: games first, as on phones."""
    share = taxonomy.rows**0.35
    return _bottoms_within(rng, taxonomy, rng.choice(len(share), size=N_APPS, p=share / share.sum()))


def _bottoms_within(rng: np.random.Generator, taxonomy: Taxonomy, categories: Ints) -> Ints:
    count = np.bincount(taxonomy.category_of)
    first = np.searchsorted(taxonomy.category_of, np.arange(len(count)))
    return first[categories] + (rng.random(len(categories)) * count[categories]).astype(np.int64)


def _advertiser_weights(rng: np.random.Generator, taxonomy: Taxonomy, category: Ints) -> Floats:
    """Share of the rows: the category's rows, split among its advertisers with a heavy tail."""
    weights = rng.gamma(0.8, size=len(category)) + 0.02
    within = np.bincount(category, weights=weights)
    shares = weights / within[category] * taxonomy.rows[category]
    return np.asarray(shares / shares.sum())


def _until(rng: np.random.Generator, weights: Floats, share: float, *, heaviest: float) -> Ints:
    """Random positions, none heavier than `heaviest`, whose weights add up to about `share`."""
    order = rng.permutation(np.flatnonzero(weights < heaviest))
    return order[: np.searchsorted(np.cumsum(weights[order]), share) + 1]
