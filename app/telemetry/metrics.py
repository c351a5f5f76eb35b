"""The service's Prometheus metrics: observations enter, `/metrics` text leaves.

An observation on the hot path is a list append or an addition: `prometheus_client` costs 1–3 µs a call, and a
request makes some fifteen. `Telemetry.flush` moves what has gathered into the Prometheus objects in bulk; it
runs before every scrape, a few times a second (so that the other workers' numbers are fresh too), and at
shutdown.

With several workers `PROMETHEUS_MULTIPROC_DIR` names a directory that all share; any worker answers for all.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from app.telemetry.catalogue import BUCKETS, COUNTERS, HISTOGRAMS
from app.telemetry.series import PENDING, Series

FLUSH_S: Final = 0.25
"""Seconds between two flushes: how stale another worker's numbers may be in a scrape."""

_STAGES: Final = ("parse", "cache", "encode")  # those that every answer of /predict tells of at once
_BUNDLE_LABELS: Final = ("name", "created", "declaration", "features")


class Telemetry:
    """Every metric of the service, with its children made once.

    Parameters
    ----------
    objective_s : float
        The latency objective in seconds; a bucket edge of `pltv_request_duration_seconds`.
    """

    def __init__(self, objective_s: float = 0.008) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nothing here reads
        self.registry = CollectorRegistry()
        self._shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        if not self._shared:
            ProcessCollector(registry=self.registry)
        self._bounds = dict(BUCKETS)
        self._bounds["request"] = tuple(sorted({*BUCKETS["request"], objective_s}))
        self._counters = {
            key: Counter(f"pltv_{name}_total", text, labels, registry=self.registry)
            for key, (name, text, labels) in COUNTERS.items()
        }
        self._histograms = {
            key: Histogram(f"pltv_{name}", text, labels, registry=self.registry, buckets=self._bounds[key])
            for key, (name, text, labels) in HISTOGRAMS.items()
        }
        self._make_gauges()
        self._counts: defaultdict[tuple[str, tuple[str, ...]], float] = defaultdict(float)
        self._children: dict[tuple[str, tuple[str, ...]], Counter] = {}
        self._series: dict[tuple[str, str | None], Series] = {}
        self._rows, self._slack, self._age = (self._child(key) for key in ("rows", "slack", "age"))
        self._in_flight = 0
        self._ltv: tuple[Series, ...] = ()
        self._predicted: list[float] = []  # of one answer after the other, a number a horizon
        self._answers: list[float] = []  # parse, cache, encode, slack; parse, …
        self._bundle: tuple[str, ...] | None = None
        self._created: float | None = None

    def _make_gauges(self) -> None:
        def gauge(name: str, text: str, mode: Any, *labels: str) -> Gauge:
            return Gauge(f"pltv_{name}", text, labels, registry=self.registry, multiprocess_mode=mode)

        self._flight = gauge("in_flight", "Calls being worked on.", "livesum")
        self._breaker = gauge("redis_breaker_open", "1 while Redis is left alone after failures.", "livemax")
        self._info = gauge("bundle_info", "1 for the live bundle.", "liveall", *_BUNDLE_LABELS)
        self._bundle_age = gauge("bundle_age_seconds", "Time since the live bundle was made.", "livemax")

    def request(self, route: str, status: int, seconds: float) -> None:
        """One answer sent; `route` is a path of the service or `other`, never the caller's text."""
        self._counts["requests", (route, str(status))] += 1.0
        self._child("request", route).add(seconds)

    def stage(self, name: str, seconds: float) -> None:
        """Time of one stage: parse, cache, features, models or encode."""
        self._child("stage", name).add(seconds)

    def batch_rows(self, n: int) -> None:
        """Campaigns that one flush predicted together."""
        self._rows.add(n)

    def answered(self, parse_s: float, cache_s: float, encode_s: float, slack_s: float) -> None:
        """One answer of /predict: time of its own stages, and what was left of its deadline (negative: it was late)."""
        self._answers += (parse_s, cache_s, encode_s, slack_s)
        if len(self._answers) >= PENDING:
            self._spread()

    def cache(self, tier: str, outcome: str, n: int = 1) -> None:
        """Look-ups of a tier (near, redis) by outcome (hit, miss, stale, error, …)."""
        self._counts["cache", (tier, outcome)] += n

    def histories(self, found: Iterable[tuple[str, str]], ages_s: Sequence[float]) -> None:
        """State and source of each request's history, and the ages of those that have an `as_of`."""
        for key, n in Counts(found).items():
            self._counts["history", key] += n
        if ages_s:
            self._age.extend(ages_s)

    def degraded(self, reason: str) -> None:
        """An answer went out without something (deadline, redis, …)."""
        self._counts["degraded", (reason,)] += 1.0

    def shed(self, reason: str) -> None:
        """Admission refused a call."""
        self._counts["shed", (reason,)] += 1.0

    def turned_away(self, route: str, reason: str, n: int) -> None:
        """`n` calls refused before anything was done for them."""
        self._counts["shed", (reason,)] += n
        self._counts["requests", (route, "503")] += n
        self._child("request", route).extend([0.0] * n)

    def unseen(self, field: str, n: int) -> None:
        """Cells of an encoded field that training never saw."""
        if n:
            self._counts["unseen", (field,)] += n

    def predicted(self, ltv: Sequence[Sequence[float]]) -> None:
        """Predicted revenue, rows of one number a horizon. `bundle` has named the horizons."""
        for row in ltv:
            self._predicted += row
        if len(self._predicted) >= PENDING:
            self._spread()

    def corrections(self, n: int) -> None:
        """Rows whose raw predictions were out of order and were projected."""
        if n:
            self._counts["corrections", ()] += n

    def reload(self, outcome: str) -> None:
        """An attempt to swap the bundle ended: swapped, unchanged, refused, …"""
        self._counts["reloads", (outcome,)] += 1.0

    def in_flight(self, n: int) -> None:
        """Calls being worked on now."""
        self._in_flight = n

    def breaker(self, is_open: bool) -> None:
        """Whether Redis is left alone after failures."""
        self._breaker.set(float(is_open))

    def bundle(self, manifest: Mapping[str, Any]) -> None:
        """A bundle went live: the old one's `pltv_bundle_info` becomes 0, this one's 1."""
        labels = (
            str(manifest.get("name", "")),
            str(manifest.get("created", "")),
            str(manifest.get("declaration_fingerprint", ""))[:12],
            str(manifest.get("feature_fingerprint", ""))[:12],
        )
        if self._bundle is not None:
            self._info.labels(*self._bundle).set(0)
        self._info.labels(*labels).set(1)
        self._spread()  # into the horizons of the bundle that predicted it
        self._bundle = labels
        self._created = _unix(manifest.get("created"))
        self._ltv = tuple(self._child("ltv", f"d{h}") for h in manifest.get("horizons", ()))

    def flush(self) -> None:
        """Move what has gathered into the Prometheus objects."""
        self._spread()
        counts, self._counts = self._counts, defaultdict(float)
        for key, n in counts.items():
            self._counter(key).inc(n)
        for series in self._series.values():
            series.flush()
        self._flight.set(self._in_flight)
        if self._created is not None:
            self._bundle_age.set(max(0.0, time.time() - self._created))

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """The metrics of all workers.

        Parameters
        ----------
        accept : str
            The scrape's `Accept` header.

        Returns
        -------
        tuple of bytes and str
            The text and its Content-Type.
        """
        self.flush()
        registry = self.registry
        if self._shared:
            _forget_dead_workers(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    def _spread(self) -> None:
        """Deal what gathered in rows out to its series: a request pays for one list, not for seven."""
        answers, self._answers = self._answers, []
        for place, name in enumerate(_STAGES):
            self._child("stage", name).extend(answers[place :: len(_STAGES) + 1])
        self._slack.extend([max(0.0, left) for left in answers[len(_STAGES) :: len(_STAGES) + 1]])
        predicted, self._predicted = self._predicted, []
        for place, series in enumerate(self._ltv):
            series.extend(predicted[place :: len(self._ltv)])

    def _child(self, key: str, label: str | None = None) -> Series:
        series = self._series.get((key, label))
        if series is None:
            histogram = self._histograms[key]
            series = Series(histogram if label is None else histogram.labels(label), self._bounds[key])
            self._series[key, label] = series
        return series

    def _counter(self, key: tuple[str, tuple[str, ...]]) -> Counter:
        child = self._children.get(key)
        if child is None:
            counter, labels = self._counters[key[0]], key[1]
            child = self._children[key] = counter.labels(*labels) if labels else counter
        return child


def _unix(created: Any) -> float | None:
    if isinstance(created, int | float):
        return float(created)
    with contextlib.suppress(TypeError, ValueError):
        return datetime.fromisoformat(created).timestamp()
    return None


def _forget_dead_workers(directory: Path) -> None:
    """Drop the live gauges of workers that are gone: their replacement has another process id."""
    workers = {int(path.stem.rsplit("_", 1)[1]) for path in directory.glob("gauge_live*_*.db")}
    for pid in workers:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call]
        except PermissionError:
            continue
