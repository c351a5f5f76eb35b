"""What a load needs: measured or assumed inputs enter, workers, memory, bytes a second and dollars leave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from routing import Near, Sessions, hit_rate
from sizes import near_share

GB: Final = 1e9
BILLION: Final = 1_000_000_000


@dataclass(frozen=True)
class Kind:
    """What an input is: its unit, its meaning, and how it is measured or, where it is for you to choose, why."""

    unit: str
    meaning: str
    how: str
    chosen: bool = False


_SIZES: Final = "`scripts/capacity.py --requests FILE`, bodies by `pltv generate --requests`"
KINDS: Final[Mapping[str, Kind]] = {
    "cost_us": Kind(
        "µs", "time of one core for one `/predict`", "`make bench`, natural mix: 1e6 / one worker's requests a second"
    ),
    "worker_rss_mb": Kind("MB", "memory of a worker after load", "`make bench`, the larger of both corpora"),
    "bare_request_bytes": Kind("bytes", "a request without its history", _SIZES),
    "history_json_bytes": Kind("bytes", "a history inline, as JSON", _SIZES),
    "packed_bytes": Kind("bytes", "a history as the cache packs it", _SIZES),
    "redis_user_bytes": Kind("bytes", "a user in Redis: history, key, expiry, tables", _SIZES),
    "near_packed_bytes": Kind("bytes", "an entry of the near cache before its first hit", _SIZES),
    "near_parsed_bytes": Kind("bytes", "the same after its first hit: parsed", _SIZES),
    "session_requests": Kind("", "bid requests of a user in one session, mean", "your bid log"),
    "session_gap_s": Kind("s", "between two of them, mean", "your bid log"),
    "near_bytes": Kind("bytes", "memory of a worker's near cache", "PLTV_NEAR_BYTES, here its default", True),
    "near_ttl_s": Kind("s", "trust in an entry of the near cache", "PLTV_NEAR_TTL_S, here its default", True),
    "utilisation": Kind("", "share of a core that a worker is to use", "room for a lost zone and for the tail", True),
    "redis_fill": Kind("", "share of Redis' memory that histories may take", "fragmentation, buffers, growth", True),
    "core_hour_usd": Kind("$", "a core for an hour, its memory included", "put your provider's price here", True),
    "memory_gb_hour_usd": Kind("$", "a GB of Redis for an hour", "put your provider's price here", True),
    "network_gb_usd": Kind("$", "a GB between zones", "put your provider's price here", True),
}


@dataclass(frozen=True)
class Input:
    """A value, and by what it was measured; empty where it is assumed or chosen."""

    value: float
    by: str = ""

    def assumed(self, kind: Kind) -> bool:
        """Whether it stands for a measurement that nobody has made."""
        return not self.by and not kind.chosen


class Capacity:
    """The arithmetic.

    Parameters
    ----------
    inputs : mapping of str to Input
        All of `KINDS`.
    """

    def __init__(self, inputs: Mapping[str, Input]) -> None:
        self._values = {name: inputs[name].value for name in KINDS}

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def worker_rate(self) -> float:
        """Requests a second that a worker is meant to get."""
        return self["utilisation"] * 1e6 / self["cost_us"]

    def workers(self, rate: float) -> int:
        """Workers, a core each, for so many requests a second."""
        return max(1, math.ceil(rate / self.worker_rate()))

    def worker_gb(self) -> float:
        """Memory of a worker at most: after load, and a full near cache on top."""
        return self["worker_rss_mb"] / 1e3 + self["near_bytes"] / GB

    def redis_gb(self, users: float) -> float:
        """Memory that Redis should be given for so many users."""
        return users * self["redis_user_bytes"] / GB / self["redis_fill"]

    def near_hits(self, rate: float, affine: bool, mib: float | None = None, ttl_s: float | None = None) -> float:
        """Share of the look-ups that near caches answer, each worker behind its own address.

        `mib` and `ttl_s` ask for another memory and another trust than the inputs' own.
        """
        workers = self.workers(rate)
        memory = self["near_bytes"] if mib is None else mib * 2**20
        near = Near(
            memory * near_share(),
            self["near_ttl_s"] if ttl_s is None else ttl_s,
            self["near_packed_bytes"],
            self["near_parsed_bytes"],
        )
        sessions = Sessions(self["session_requests"], self["session_gap_s"])
        return hit_rate(rate / workers, workers, affine, sessions, near)

    def core_dollars(self) -> float:
        """Cores for a billion requests."""
        return BILLION * self["cost_us"] / 1e6 / 3600 / self["utilisation"] * self["core_hour_usd"]

    def redis_dollars(self, users: float, rate: float) -> float:
        """Redis' memory for as long as a billion requests take."""
        return self.redis_gb(users) * self["memory_gb_hour_usd"] * BILLION / rate / 3600

    def network_dollars(self, size: float) -> float:
        """So many bytes, a billion times, from zone to zone."""
        return BILLION * size / GB * self["network_gb_usd"]


def gbit_s(rate: float, size: float) -> float:
    """Gigabits a second."""
    return rate * size * 8 / 1e9
