"""The request part of a block of rows: who asks, from where, on what device, for which advertiser.

Enters: the market, an hour and a number of rows. Leaves: the request columns, and the `People` behind them, whose
hidden traits (wealth, readiness to pay, engagement) shape the user columns. Outcomes never read
a hidden trait (see `truth`).
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from training.data.synthetic.columns import Columns, Floats, Identifiers, Ints, Mask, Scalar, Text, Vocabulary
from training.data.synthetic.devices import IOS, OPERATING_SYSTEMS
from training.data.synthetic.market import Market
from training.data.synthetic.places import Places

HOURS = Vocabulary([f"{hour:02d}" for hour in range(24)])
USER_SHARE = 1 - 0.40541
"""Share of the rows whose user is known at all."""

IOS_SHARE = 0.165
NULL_SHARES = {
    "region": 0.115,
    "carrier": 0.14,
    "dev_make": 0.01855,
    "dev_model": 0.0016,
    "dev_osv": 0.00877,
    "country": 0.00039,
    "dev_os": 0.000005,
    "dev_language": 0.004,
}


@dataclass(frozen=True)
class People:
    """What the rows of a block have behind them; the hidden traits are standard normal, all arrays (n_rows,).

    Attributes
    ----------
    now : int
        Unix seconds of the hour.
    known : ndarray of bool
        The user is known: at least some history columns are not null.
    """

    now: int
    advertiser: Ints
    country: Ints
    region: Ints
    language: Ints
    version: Ints
    wealth: Floats
    payer: Floats
    engaged: Floats
    known: Mask

    def __len__(self) -> int:
        return len(self.advertiser)


def above(share: float) -> float:
    """The value that a standard normal exceeds with probability `share`."""
    return NormalDist().inv_cdf(1.0 - share)


def draw_request(
    market: Market, rng: np.random.Generator, hour: datetime.datetime, n_rows: int
) -> tuple[Columns, People]:
    """Draw the request columns of `n_rows` rows of one hour (UTC)."""
    people, columns = _draw_people(market, rng, int(hour.timestamp()), n_rows)
    bundles = market.bundles
    columns |= {
        "advertiser_bundle": Text(people.advertiser, bundles.vocabulary),
        "advertiser_category": Text(bundles.category[people.advertiser], market.categories),
        "advertiser_subcategory": Text(bundles.subcategory[people.advertiser], market.subcategories),
        "advertiser_bottom_taxonomy_level": Text(bundles.bottom[people.advertiser], market.bottoms),
        "hour": Text(np.full(n_rows, hour.hour), HOURS),
        "weekday": Scalar(np.full(n_rows, hour.isoweekday(), dtype=np.int8)),
    }
    return columns, people


def _draw_people(market: Market, rng: np.random.Generator, now: int, n_rows: int) -> tuple[People, Columns]:
    identifiers = draw_identifiers(rng, n_rows)
    places = market.places
    country = np.searchsorted(places.cdf, rng.random(n_rows) * places.cdf[-1])
    wealth = 0.7 * places.income[country] + np.sqrt(1 - 0.49) * rng.normal(size=n_rows)
    engaged = rng.normal(size=n_rows)
    payer = 0.35 * wealth + 0.3 * engaged + np.sqrt(1 - 0.35**2 - 0.3**2) * rng.normal(size=n_rows)
    columns, region, language = _places(places, rng, country)
    devices, version = _devices(market, rng, wealth)
    people = People(
        now=now,
        advertiser=np.searchsorted(market.bundles.advertiser_cdf, rng.random(n_rows)),
        country=country,
        region=region,
        language=language,
        version=version,
        wealth=wealth,
        payer=payer,
        engaged=engaged,
        known=0.3 * engaged + np.sqrt(1 - 0.09) * rng.normal(size=n_rows) > above(USER_SHARE),
    )
    return people, {"row_id": identifiers} | columns | devices


def draw_identifiers(rng: np.random.Generator, n_rows: int) -> Identifiers:
    """Random version 4 UUIDs, lower case, as fixed-width bytes."""
    raw = np.frombuffer(rng.bytes(16 * n_rows), dtype=np.uint8).reshape(n_rows, 16).copy()
    raw[:, 6] = raw[:, 6] & 0x0F | 0x40
    raw[:, 8] = raw[:, 8] & 0x3F | 0x80
    digits = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
    text = np.full((n_rows, 36), ord("-"), dtype=np.uint8)
    places = [i for i in range(36) if i not in (8, 13, 18, 23)]
    text[:, places] = digits[np.stack([raw >> 4, raw & 15], axis=2).reshape(n_rows, 32)]
    return Identifiers(text.view("S36")[:, 0])


def within(rng: np.random.Generator, starts: Ints, country: Ints, skew: float = 2.5) -> Ints:
    """A code of each row's own country; `skew` > 1 makes the first codes common."""
    size = starts[country + 1] - starts[country]
    return np.asarray(starts[country] + (size * rng.random(len(country)) ** skew).astype(np.int64))


def _nullable(rng: np.random.Generator, name: str, codes: Ints, vocabulary: Vocabulary) -> Text:
    return Text(np.where(rng.random(len(codes)) < NULL_SHARES[name], -1, codes), vocabulary)


def _places(places: Places, rng: np.random.Generator, country: Ints) -> tuple[Columns, Ints, Ints]:
    region = within(rng, places.region_starts, country)
    foreign = rng.integers(0, len(places.languages), size=len(country))
    language = np.where(rng.random(len(country)) < 0.9, places.language[country], foreign)
    columns: Columns = {
        "country": _nullable(rng, "country", country, places.countries),
        "region": _nullable(rng, "region", region, places.regions),
        "carrier": _nullable(rng, "carrier", within(rng, places.carrier_starts, country), places.carriers),
        "dev_language": _nullable(rng, "dev_language", language, places.languages),
    }
    return columns, region, language


def _devices(market: Market, rng: np.random.Generator, wealth: Floats) -> tuple[Columns, Ints]:
    """Richer users carry iOS and, within a system, dearer models; popularity of each model holds."""
    devices, n_rows = market.devices, len(wealth)
    system = (0.6 * wealth + 0.8 * rng.normal(size=n_rows) > above(IOS_SHARE)).astype(np.int64)
    rank = _uniform(0.6 * wealth + 0.8 * rng.normal(size=n_rows))
    model = _by_system(devices.model_cdf, devices.first_model, system, rank)
    version = _by_system(devices.version_cdf, devices.first_version, system, rng.random(n_rows))
    named = _nullable(rng, "dev_model", model, devices.models)
    seen = named.codes >= 0
    price = devices.msrp[model]
    columns: Columns = {
        "dev_make": _nullable(rng, "dev_make", devices.make_of[model], devices.makes),
        "dev_model": named,
        "dev_os": _nullable(rng, "dev_os", system, OPERATING_SYSTEMS),
        "dev_osv": _nullable(rng, "dev_osv", version, devices.versions),
        "release_date": Text(np.where(seen, devices.release_of[model], -1), devices.releases),
        "release_msrp": Scalar(np.nan_to_num(price), seen & ~np.isnan(price)),
    }
    return columns, version


def _uniform(z: Floats) -> Floats:
    """The logistic approximation of the normal distribution function (error below 0.01): z to a rank in (0, 1)."""
    return np.asarray(1.0 / (1.0 + np.exp(-1.702 * z)))


def _by_system(cdf: list[Floats], first: list[int], system: Ints, rank: Floats) -> Ints:
    codes = np.empty(len(system), dtype=np.int64)
    for number in range(IOS + 1):
        own = system == number
        last = len(cdf[number]) - 1
        codes[own] = first[number] + np.minimum(np.searchsorted(cdf[number], rank[own]), last)
    return codes
