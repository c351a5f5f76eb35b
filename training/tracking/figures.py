"""A configuration and an evaluation enter; the flat parameters and metrics that a run holds leave."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

LONGEST_VALUE: Final = 6000
"""Characters of a parameter that MLflow takes."""
_UNSAFE: Final = re.compile(r"[^\w\-. /]")  # what MLflow refuses in a name


def parameters(config: Mapping[str, Any]) -> dict[str, str]:
    """Every leaf of a nested mapping under its dotted path, as text.

    `{"split": {"validation": 0.2}}` gives `{"split.validation": "0.2"}`; lists are one value.
    """
    return {_name(path): _text(value) for path, value in _leaves(config)}


def figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Every finite number of a manifest's metrics under its dotted path.

    An estimate is three: `ltv.d7.msle`, `ltv.d7.msle.low` and `ltv.d7.msle.high`, the ends of its 95 % interval.
    """
    found = {}
    for path, value in _leaves(metrics):
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            found[_name(path.removesuffix(".value"))] = float(value)
    return found


def _leaves(tree: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        path = f"{before}.{key}" if before else str(key)
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, path)
        else:
            yield path, value


def _name(path: str) -> str:
    return _UNSAFE.sub("_", path)


def _text(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"
