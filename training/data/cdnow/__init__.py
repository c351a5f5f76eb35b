"""CDNOW, the public benchmark of customer lifetime value: its file enters, partitions of customers leave."""

from __future__ import annotations

from training.data.cdnow.partitions import Prepared, prepare

__all__ = ["Prepared", "prepare"]
