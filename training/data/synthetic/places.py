"""Places of a world: 238 countries with rows, buyer rates and incomes; regions, cities, carriers, languages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.features.countries import ALPHA3_BY_ALPHA2
from training.data.synthetic.columns import Floats, Ints, Vocabulary

# Buyer rate d7, mean revenue d7 (US dollars a row) and rows of one day of the original data, the larger countries.
_TABLE = """
us .0688 1.937 538553 en|in .0081 .343 471297 hi|eg .0180 .102 152754 ar|br .0360 .422 145405 pt
id .0286 1.466 116515 id
mx .0308 .372 95147 es|bd .0080 .227 91058 bn|ru .0289 1.737 86910 ru|ph .0145 .136 80053 en|fr .0476 3.246 75708 fr
pk .0146 .180 75092 ur|th .0178 1.364 66055 th|tr .0332 .682 54529 tr|ca .0271 .581 52526 en|my .0197 .167 51686 ms
vn .0085 .590 50736 vi|ng .0116 .576 50733 en|uz .0186 .531 45177 uz|ci .0362 .015 43665 fr|ar .0185 .237 39493 es
co .0397 4.450 38690 es|sg .0052 .196 38322 en|de .0888 3.324 38172 de|gb .1082 3.214 33431 en|iq .0171 .482 33402 ar
it .0417 8.519 32783 it|es .0400 4.591 29733 es|jp .1121 4.740 23275 ja|cl .0397 5.250 20601 es|kr .0537 6.584 15638 ko
au .0835 3.047 9979 en
"""
_UNINHABITED = "aq bv tf hm gs um pn nf cc cx sj"
_LANGUAGES = "en es fr ar pt ru de hi id tr zh ja ko vi th it pl nl bn ur ms fa uk ro el cs sv hu he fil sw uz kk az"
_RICH = "us ca de gb fr it es jp kr au sg nl se no dk fi ch at be ie nz ae qa kw il hk lu is"


@dataclass(frozen=True)
class Places:
    """Countries and what lies within them.

    Attributes
    ----------
    cdf : ndarray of shape (238,), float64
        Cumulative share of the rows.
    income : ndarray of shape (238,), float64
        Standardised over rows (mean 0, variance 1): moves device prices, iOS and payers.
    buyer_rate, revenue : ndarray of shape (238,), float64
        The table's figures; NaN for countries that are not in it.
    language : ndarray of shape (238,), int64
        Main language of each country.
    region_starts, city_starts, carrier_starts : ndarray of shape (239,), int64
        Country c owns the codes starts[c]:starts[c + 1] of that vocabulary.
    """

    countries: Vocabulary
    languages: Vocabulary
    regions: Vocabulary
    cities: Vocabulary
    carriers: Vocabulary
    cdf: Floats
    income: Floats
    buyer_rate: Floats
    revenue: Floats
    language: Ints
    region_starts: Ints
    city_starts: Ints
    carrier_starts: Ints


def draw_places(rng: np.random.Generator) -> Places:
    """Draw the places of a world: the countries are real, their parts are invented."""
    known = {entry.split()[0]: entry.split()[1:] for line in _TABLE.split("\n") for entry in line.split("|") if entry}
    words = _LANGUAGES.split()
    codes = list(known) + sorted(set(ALPHA3_BY_ALPHA2) - set(known) - set(_UNINHABITED.split()))
    figures = np.array([list(map(float, known[c][:3])) if c in known else [np.nan] * 3 for c in codes])
    rows = _all_rows(rng, figures[:, 2])
    language = rng.integers(0, len(words), size=len(codes))
    language[: len(known)] = [words.index(known[c][3]) for c in known]
    regions, cities, carriers = (_parts(rows, total, least) for total, least in ((1300, 2), (6000, 4), (4600, 3)))
    return Places(
        countries=Vocabulary(codes),
        languages=Vocabulary(words),
        regions=_named("", codes, regions),
        cities=_named("city-", codes, cities),
        carriers=_named("carrier ", codes, carriers),
        cdf=np.cumsum(rows),
        income=_incomes(rng, codes, rows),
        buyer_rate=figures[:, 0],
        revenue=figures[:, 1],
        language=language,
        region_starts=regions,
        city_starts=cities,
        carrier_starts=carriers,
    )


def _all_rows(rng: np.random.Generator, known: Floats) -> Floats:
    """Share of the rows of every country: the table's, and a Zipf tail of a fifth of the rows for the others."""
    rows = np.nan_to_num(known)
    rest = np.flatnonzero(np.isnan(known))
    tail = rng.permutation(1.0 / (np.arange(len(rest)) + 4.0))
    rows[rest] = tail / tail.sum() * rows.sum() * 0.25
    return np.asarray(rows / rows.sum())


def _incomes(rng: np.random.Generator, codes: list[str], rows: Floats) -> Floats:
    raw = np.where([code in _RICH.split() for code in codes], 1.6, -0.4) + rng.normal(0, 0.35, size=len(codes))
    mean = float((rows * raw).sum())
    return np.asarray((raw - mean) / np.sqrt((rows * (raw - mean) ** 2).sum()))


def _parts(rows: Floats, total: int, least: int) -> Ints:
    """Starts of each country's codes: large countries have more parts, every one `least`."""
    share = rows**0.5 / (rows**0.5).sum()
    counts = least + (share * (total - least * len(rows))).astype(np.int64)
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])


def _named(kind: str, codes: list[str], starts: Ints) -> Vocabulary:
    sizes = np.diff(starts).tolist()
    return Vocabulary([f"{kind}{code}-{i:02d}" for code, size in zip(codes, sizes, strict=True) for i in range(size)])
