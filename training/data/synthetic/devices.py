"""Devices of a world: makes, models, operating systems and their versions, prices and release dates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.data.synthetic.columns import Floats, Ints, Vocabulary

N_MAKES = 1004
N_MODELS = 15148
N_IOS_MODELS = 96
UNPRICED_SHARE = 0.105
UNDATED_SHARE = 0.0032

_KNOWN_MAKES = (
    "Apple Samsung Xiaomi OPPO vivo realme TECNO Infinix Huawei HONOR Motorola Google OnePlus itel Redmi Nokia LGE "
    "Sony ZTE TCL Lenovo Asus Alcatel Nothing HMD BLU Wiko Symphony Micromax Lava"
)
_SYLLABLES = "ka lo mi ten zu ra vel ix on do fa ri sen tu pa ne go lu be xi mo ta"
_MONTHS = "january february march april may june july august september october november december"
OPERATING_SYSTEMS = Vocabulary(["android", "ios"])
ANDROID, IOS = 0, 1


@dataclass(frozen=True)
class Devices:
    """The catalogue. Models are numbered by price within their system, so that wealth can pick along the price.

    Attributes
    ----------
    make_of, system_of, release_of : ndarray of shape (15148,), int64
        Codes; release −1 where unknown.
    msrp : ndarray of shape (15148,), float64
        Launch price, US dollars; NaN where unknown.
    model_cdf : list of two ndarrays, float64
        Cumulative popularity of the models of each system, cheap to dear.
    first_model : list of two int
        First model of each system.
    version_cdf, first_version : as for models
        Versions of each system, of one vocabulary of 242.
    """

    makes: Vocabulary
    models: Vocabulary
    releases: Vocabulary
    versions: Vocabulary
    make_of: Ints
    system_of: Ints
    release_of: Ints
    msrp: Floats
    model_cdf: list[Floats]
    first_model: list[int]
    version_cdf: list[Floats]
    first_version: list[int]


def draw_devices(rng: np.random.Generator) -> Devices:
    """Draw the catalogue of a world."""
    sizes = [N_MODELS - N_IOS_MODELS, N_IOS_MODELS]
    prices = np.concatenate([_prices(rng, sizes[0], 5.82, 0.84), _prices(rng, sizes[1], 6.78, 0.42)])
    popularity = [_zipf(rng, size, exponent) for size, exponent in zip(sizes, (1.05, 0.7), strict=True)]
    weights = np.concatenate([popularity[0] * 0.835, popularity[1] * 0.165])
    make_of = np.concatenate([_android_makes(rng, sizes[0]), np.zeros(sizes[1], dtype=np.int64)])
    prices[_rare(rng, weights, UNPRICED_SHARE)] = np.nan
    release_of = rng.integers(0, 12 * 13, size=N_MODELS)
    release_of[_rare(rng, weights, UNDATED_SHARE)] = -1
    versions, version_cdf = _versions()
    return Devices(
        makes=Vocabulary(_makes(rng)),
        models=Vocabulary(_models(rng, sizes)),
        releases=Vocabulary([f"{year}_{month}" for year in range(2013, 2026) for month in _MONTHS.split()]),
        versions=versions,
        make_of=make_of,
        system_of=np.repeat([ANDROID, IOS], sizes),
        release_of=release_of,
        msrp=prices,
        model_cdf=[np.cumsum(share) for share in popularity],
        first_model=[0, sizes[0]],
        version_cdf=version_cdf,
        first_version=[0, 130],
    )


def _prices(rng: np.random.Generator, size: int, location: float, spread: float) -> Floats:
    """Ascending launch prices, US dollars, rounded to whole dollars, 30–5160."""
    return np.asarray(np.round(np.sort(np.clip(rng.lognormal(location, spread, size), 30, 5160))), dtype=np.float64)


def _zipf(rng: np.random.Generator, size: int, exponent: float) -> Floats:
    weights = rng.permutation(1.0 / (np.arange(size) + 3.0) ** exponent)
    return np.asarray(weights / weights.sum())


def _android_makes(rng: np.random.Generator, size: int) -> Ints:
    share = 1.0 / (np.arange(N_MAKES - 1) + 1.0)
    codes = 1 + rng.choice(N_MAKES - 1, size=size, p=share / share.sum())
    codes[: N_MAKES - 1] = rng.permutation(N_MAKES - 1) + 1
    return np.asarray(rng.permutation(codes))


def _rare(rng: np.random.Generator, weights: Floats, share: float) -> Ints:
    """Models none of which is popular, together `share` of the rows."""
    order = rng.permutation(np.flatnonzero(weights < 0.004))
    return order[: np.searchsorted(np.cumsum(weights[order]), share)]


def _makes(rng: np.random.Generator) -> list[str]:
    names = dict.fromkeys(_KNOWN_MAKES.split())
    syllables = _SYLLABLES.split()
    while len(names) < N_MAKES:
        names["".join(rng.choice(syllables, size=3)).capitalize()] = None
    return list(names)


def _models(rng: np.random.Generator, sizes: list[int]) -> list[str]:
    letters = np.array(list("ABCDEFGHKLMNPRSTVX"))
    numbers = rng.permutation(90000)[: sizes[0]] + 10000
    heads = letters[rng.integers(0, len(letters), size=(sizes[0], 2))]
    android = [f"{a}{b}-{number}" for (a, b), number in zip(heads.tolist(), numbers.tolist(), strict=True)]
    each = range(sizes[1] // 2)
    ios = [f"{kind}{number // 4 + 9},{number % 4 + 1}" for kind in ("iPhone", "iPad") for number in each]
    return android + ios


def _versions() -> tuple[Vocabulary, list[Floats]]:
    """130 Android and 112 iOS versions; recent ones are common."""
    android = [f"{major}.{minor}.{patch}" for major in range(16, 3, -1) for minor in range(2) for patch in range(5)]
    ios = [f"{major}.{minor}" for major in range(26, 12, -1) for minor in range(8)]
    shares = [_falling(len(names)) for names in (android, ios)]
    return Vocabulary(android + ios), [np.cumsum(share / share.sum()) for share in shares]


def _falling(size: int) -> Floats:
    age = np.arange(size)
    return np.asarray(np.exp(-age / 22.0) * np.where(age % 5, 0.2, 1.0))
