"""Prometheus metrics and structured logs. Observations enter; `/metrics` text and JSON lines leave."""

from app.telemetry.logs import configure_logging
from app.telemetry.metrics import FLUSH_S, Telemetry
from app.telemetry.series import Series

__all__ = ["FLUSH_S", "Series", "Telemetry", "configure_logging"]
