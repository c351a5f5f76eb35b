"""Prometheus metrics and structured logs. Observations enter; `/metrics` text and JSON lines leave.

An observation on the hot path is a list append or an addition: `prometheus_client` costs 1–3 µs a call, and a
request makes some fifteen. `Telemetry.flush` moves what has gathered into the Prometheus objects in bulk; it
runs before every scrape, a few times a second (so that the other workers' numbers are fresh too), and at
shutdown.

With several workers `PROMETHEUS_MULTIPROC_DIR` names a directory that all share; any worker answers for all.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import structlog
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

FLUSH_S: Final = 0.25
"""Seconds between two flushes: how stale another worker's numbers may be in a scrape."""

_PENDING: Final = 8192  # observations of one series that may wait for a flush
_STAGES: Final = ("parse", "cache", "encode")  # those that every answer of /predict tells of at once
_BUNDLE_LABELS: Final = ("name", "created", "declaration", "features")
_COUNTERS: Final[Mapping[str, tuple[str, str, tuple[str, ...]]]] = {
    "requests": ("requests", "Answers by route and HTTP status.", ("route", "status")),
    "shed": ("shed", "Calls refused by admission.", ("reason",)),
    "degraded": ("degraded", "Answers that lack something.", ("reason",)),
    "history": ("history", "Histories by state and source.", ("state", "source")),
    "cache": ("feature_cache", "Look-ups of the history cache.", ("tier", "outcome")),
    "unseen": ("unseen", "Encoded texts that training never saw.", ("field",)),
    "corrections": ("order_corrections", "Rows whose horizons were put in order.", ()),
    "reloads": ("bundle_reloads", "Attempts to swap the bundle.", ("outcome",)),
}
_HISTOGRAMS: Final[Mapping[str, tuple[str, str, tuple[str, ...]]]] = {
    "request": ("request_duration_seconds", "From the body's last byte to the answer's first.", ("route",)),
    "stage": ("stage_duration_seconds", "One stage of a prediction.", ("stage",)),
    "rows": ("batch_rows", "Campaigns predicted in one flush.", ()),
    "slack": ("deadline_slack_seconds", "Time left at the answer; le=0 counts the missed.", ()),
    "age": ("history_age_seconds", "Request time minus the history's as_of.", ()),
    "ltv": ("predicted_ltv_dollars", "Predicted revenue of a campaign.", ("horizon",)),
}
_MS: Final = 1e-3
_BUCKETS: Final[Mapping[str, tuple[float, ...]]] = {
    "request": tuple(ms * _MS for ms in (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 25, 50, 100)),
    "stage": tuple(ms * _MS for ms in (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10, 25, 100)),
    "slack": tuple(ms * _MS for ms in (0, 0.25, 0.5, 1, 2, 3, 4, 5, 6, 7, 8, 10, 15, 25, 50, 100)),
    "age": tuple(3600.0 * hours for hours in (0, 1, 6, 24, 3 * 24, 7 * 24, 14 * 24, 30 * 24, 90 * 24)),
    "rows": (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
    "ltv": (0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 1000),
}


class Series:
    """Observations of one histogram child, gathered and then counted into its buckets in bulk.

    `Histogram` has no public call for many values at once; a test holds `flush` against `observe`.
    """

    __slots__ = ("_bounds", "_child", "_waiting")

    def __init__(self, child: Histogram, bounds: Sequence[float]) -> None:
        self._child = child
        self._bounds = np.asarray(bounds, dtype=np.float64)
        self._waiting: list[float] = []

    def add(self, value: float) -> None:
        """Observe one value."""
        self._waiting.append(value)
        if len(self._waiting) >= _PENDING:
            self.flush()

    def extend(self, values: Sequence[float]) -> None:
        """Observe many."""
        self._waiting += values

    def flush(self) -> None:
        """Count what waits."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        values = np.array(waiting, dtype=np.float64)
        places = np.searchsorted(self._bounds, values, side="left")
        counts = np.bincount(places, minlength=len(self._bounds) + 1)
        for place in np.flatnonzero(counts).tolist():
            self._child._buckets[place].inc(int(counts[place]))
        self._child._sum.inc(float(values.sum()))


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
        self._bounds = dict(_BUCKETS)
        self._bounds["request"] = tuple(sorted({*_BUCKETS["request"], objective_s}))
        self._counters = {
            key: Counter(f"pltv_{name}_total", text, labels, registry=self.registry)
            for key, (name, text, labels) in _COUNTERS.items()
        }
        self._histograms = {
            key: Histogram(f"pltv_{name}", text, labels, registry=self.registry, buckets=self._bounds[key])
            for key, (name, text, labels) in _HISTOGRAMS.items()
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
        if len(self._answers) >= _PENDING:
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
        if len(self._predicted) >= _PENDING:
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


def configure_logging(level: str) -> None:
    """Send every log line of the process to stderr as one JSON object.

    Parameters
    ----------
    level : str
        `debug`, `info`, `warning` or `error`.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_json)],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # of the moment, not of the start
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_json),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=threshold, force=True)


def _json(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()
