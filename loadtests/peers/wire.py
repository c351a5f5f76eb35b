"""How a peer is spoken to. A row enters, a body leaves; the JSON of an answer enters, its scores leave."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

Row = Sequence[float]


@dataclass(frozen=True, slots=True)
class Wire:
    """Bodies and answers of one protocol.

    Parameters
    ----------
    body : callable of sequence of float to JSON
        One row as the protocol writes it.
    scores : callable of JSON to list of float
        The scores of an answer.
    """

    body: Callable[[Row], Any]
    scores: Callable[[Any], list[float]]

    def encode(self, row: Row) -> bytes:
        """The body of one row: compact JSON."""
        return json.dumps(self.body(row), separators=(",", ":")).encode()

    def read(self, answer: Any) -> list[float] | None:
        """The scores, None where the answer has not the protocol's form."""
        try:
            return [float(score) for score in self.scores(answer)]
        except (KeyError, IndexError, TypeError, ValueError):
            return None


ROW: Final = Wire(lambda row: {"features": list(row)}, lambda answer: answer["scores"])
"""FastAPI and LitServe: an object with the row, an object with the scores."""

BARE: Final = Wire(lambda row: {"features": list(row)}, lambda answer: answer)
"""BentoML: parameters by name, the result as it is."""

MATRIX: Final = Wire(lambda row: {"features": [list(row)]}, lambda answer: answer[0])
"""BentoML: the row as a matrix."""

OPEN_INFERENCE: Final = Wire(
    lambda row: {"inputs": [{"name": "X", "shape": [1, len(row)], "datatype": "FP64", "data": list(row)}]},
    lambda answer: answer["outputs"][0]["data"],
)
"""MLServer: the Open Inference Protocol (V2)."""

ECHO: Final = Wire(lambda row: {"features": list(row)}, lambda answer: answer["features"])
"""Bare uvicorn: the row comes back."""
