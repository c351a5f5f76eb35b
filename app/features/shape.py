"""The shape of a declaration: its sections, and of what they are made. A parsed file enters; the first fault is raised.

What the names in it mean is checked by `app.features.spec`; here a mistyped section or a number in the place of a list
is told in one line instead of failing somewhere behind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from app.errors import DeclarationError

Check = Callable[[str, Any], None]


def check_shape(raw: Any) -> None:
    """Check that every section is known and holds the types that it should.

    Parameters
    ----------
    raw : Any
        A parsed YAML or JSON file. A section without content counts as absent.

    Raises
    ------
    DeclarationError
        One line: the dotted place, what was expected and what came.
    """
    if not isinstance(raw, Mapping):
        raise DeclarationError(f"expected a mapping, received {type(raw).__name__}")
    for section, content in raw.items():
        if section not in _SECTIONS:
            raise DeclarationError(f"{section}: no such section; there are {', '.join(_SECTIONS)}")
        if content is not None:
            _SECTIONS[section](str(section), content)


def _refuse(where: str, expected: str, value: Any) -> None:
    raise DeclarationError(f"{where}: expected {expected}, received {type(value).__name__}")


def _text(where: str, value: Any) -> None:
    if not isinstance(value, str):
        _refuse(where, "a text", value)


def _number(where: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        _refuse(where, "a finite number", value)


def _whole(where: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        _refuse(where, "a whole number", value)


def _flag(where: str, value: Any) -> None:
    if not isinstance(value, bool):
        _refuse(where, "true or false", value)


def _anything(where: str, value: Any) -> None:
    """Checked where it is read."""


def _list_of(check: Check) -> Check:
    def listed(where: str, value: Any) -> None:
        if not isinstance(value, Sequence) or isinstance(value, str):
            _refuse(where, "a list", value)
        for place, entry in enumerate(value):
            check(f"{where}.{place}", entry)

    return listed


def _map_of(check: Check) -> Check:
    def mapped(where: str, value: Any) -> None:
        if not isinstance(value, Mapping):
            _refuse(where, "a mapping", value)
        for key, entry in value.items():
            if not isinstance(key, str):  # YAML reads a bare `no` as false
                _refuse(f"{where}.{key}", "a text as key", key)
            check(f"{where}.{key}", entry)

    return mapped


def _record(**checks: Check) -> Check:
    def recorded(where: str, value: Any) -> None:
        if not isinstance(value, Mapping):
            _refuse(where, "a mapping", value)
        for key, entry in value.items():
            if key not in checks:
                raise DeclarationError(f"{where}: expected any of {', '.join(checks)}, received {key!r}")
            checks[key](f"{where}.{key}", entry)

    return recorded


_TEXTS: Final = _list_of(_text)
_FIELDS: Final = _map_of(_record(kind=_text, wire=_text, format=_text, yields=_TEXTS))
_SECTIONS: Final[Mapping[str, Check]] = {
    "name": _text,
    "version": _anything,
    "currency": _text,
    "label_unit": _text,
    "row_id": _text,
    "partition": _text,
    "targets": _record(horizons=_list_of(_whole), revenue=_text, gate=_text, log_mean=_whole, excluded=_TEXTS),
    "request": _FIELDS,
    "campaign": _FIELDS,
    "user": _FIELDS,
    "yields": _map_of(_TEXTS),
    "lookups": _map_of(_TEXTS),
    "encodings": _map_of(_TEXTS),
    "encoder": _record(min_count=_whole, rate_smoothing=_number, value_smoothing=_number),
    "ratios": _map_of(_TEXTS),
    "products": _map_of(_TEXTS),
    "ranks": _record(cohorts=_list_of(_TEXTS), min_rows=_whole, quantiles=_whole, features=_TEXTS),
    "groups": _map_of(_flag),
    "training": _anything,
}
