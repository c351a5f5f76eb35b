"""What a search varies, as data: a YAML mapping of dotted paths enters, checked dimensions leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from app.errors import DeclarationError
from training.evaluation.variants import changed, read_yaml

Space = Mapping[str, BaseDistribution]
_KINDS: Final = ("int", "float", "choice")


def load_space(path: Path) -> dict[str, BaseDistribution]:
    """Read a file such as `config/search.yaml`.

    Raises
    ------
    DeclarationError
        One line that names the file, the path, what was expected and what came.
    """
    raw = read_yaml(path)
    if not raw:
        raise DeclarationError(f"{path}: expected at least one dimension, received none")
    return {str(name): _distribution(f"{path}: {name}", entry) for name, entry in raw.items()}


def _distribution(where: str, entry: object) -> BaseDistribution:
    kinds = [kind for kind in _KINDS if isinstance(entry, dict) and kind in entry]
    if not isinstance(entry, dict) or len(kinds) != 1 or {*entry} - {kinds[0], "log"}:
        raise DeclarationError(f"{where}: expected one of {', '.join(_KINDS)}, and log; received {entry!r}")
    (kind,) = kinds
    values, log = entry[kind], entry.get("log", False)
    if not isinstance(values, list) or not isinstance(log, bool):
        raise DeclarationError(f"{where}: expected a list, and log to be true or false; received {entry!r}")
    try:
        if kind == "choice":
            return _choice(values, log)
        low, high = values
        if kind == "int":
            return IntDistribution(_whole(low), _whole(high), log=log)
        return FloatDistribution(float(low), float(high), log=log)
    except (TypeError, ValueError) as error:
        raise DeclarationError(f"{where}: {kind}: {' '.join(str(error).split())}, received {values!r}") from None


def _choice(values: Sequence[Any], log: bool) -> CategoricalDistribution:
    if log or any(not isinstance(value, str | int | float | bool | None) for value in values):
        raise ValueError("expected plain values without an order")
    return CategoricalDistribution(tuple(values))


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("expected whole numbers")
    return value


@dataclass(frozen=True)
class Question:
    """A configuration and the space around it.

    Parameters
    ----------
    raw : mapping
        The configuration file's content.
    space : mapping of str to distribution
        Dotted path → where its value may lie.
    """

    raw: Mapping[str, Any]
    space: Space

    def with_values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration with these values at their paths."""
        found = dict(self.raw)
        for path, value in values.items():
            found = changed(found, _nested(path.split("."), value))
        return found

    def own_values(self) -> dict[str, Any] | None:
        """The configuration's own values in the space; None where one is absent or lies outside of it."""
        found = {}
        for path, distribution in self.space.items():
            value: Any = self.raw
            for key in path.split("."):
                value = value.get(key) if isinstance(value, Mapping) else None
            if not _inside(distribution, value):
                return None
            found[path] = value
        return found


def _inside(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return distribution.low <= value <= distribution.high


def _nested(keys: Sequence[str], value: Any) -> dict[str, Any]:
    return {keys[0]: _nested(keys[1:], value) if len(keys) > 1 else value}
