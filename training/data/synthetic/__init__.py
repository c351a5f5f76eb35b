"""Generated rows of the bid-request table: a seeded market whose truth is known.

Reading order: taxonomy, devices, places → market; rows, users, purchases → signals → truth → outcomes;
parquet, requests → output → generation.
"""

from __future__ import annotations

from training.data.synthetic.generation import GenerationSummary, generate

__all__ = ["GenerationSummary", "generate"]
