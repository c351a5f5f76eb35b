"""What is measured: a key of the code → the metric's name, text and labels; the edges of histograms' buckets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

COUNTERS: Final[Mapping[str, tuple[str, str, tuple[str, ...]]]] = {
    "requests": ("requests", "Answers by route and HTTP status.", ("route", "status")),
    "shed": ("shed", "Calls refused by admission.", ("reason",)),
    "degraded": ("degraded", "Answers that lack something.", ("reason",)),
    "history": ("history", "Histories by state and source.", ("state", "source")),
    "cache": ("feature_cache", "Look-ups of the history cache.", ("tier", "outcome")),
    "unseen": ("unseen", "Encoded texts that training never saw.", ("field",)),
    "corrections": ("order_corrections", "Rows whose horizons were put in order.", ()),
    "reloads": ("bundle_reloads", "Attempts to swap the bundle.", ("outcome",)),
}
HISTOGRAMS: Final[Mapping[str, tuple[str, str, tuple[str, ...]]]] = {
    "request": ("request_duration_seconds", "From the body's last byte to the answer's first.", ("route",)),
    "stage": ("stage_duration_seconds", "One stage of a prediction.", ("stage",)),
    "rows": ("batch_rows", "Campaigns predicted in one flush.", ()),
    "slack": ("deadline_slack_seconds", "Time left at the answer; le=0 counts the missed.", ()),
    "age": ("history_age_seconds", "Request time minus the history's as_of.", ()),
    "ltv": ("predicted_ltv_dollars", "Predicted revenue of a campaign.", ("horizon",)),
}
_MS: Final = 1e-3
BUCKETS: Final[Mapping[str, tuple[float, ...]]] = {
    "request": tuple(ms * _MS for ms in (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 25, 50, 100)),
    "stage": tuple(ms * _MS for ms in (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10, 25, 100)),
    "slack": tuple(ms * _MS for ms in (0, 0.25, 0.5, 1, 2, 3, 4, 5, 6, 7, 8, 10, 15, 25, 50, 100)),
    "age": tuple(3600.0 * hours for hours in (0, 1, 6, 24, 3 * 24, 7 * 24, 14 * 24, 30 * 24, 90 * 24)),
    "rows": (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
    "ltv": (0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 1000),
}
