"""Errors on the wire. An exception enters; an RFC 9457 problem document leaves, never a value that was sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic import ValidationError

from app.errors import InputError, Overloaded, PltvError, Unauthorized

MEDIA_TYPE: Final = b"application/problem+json"
_MANY: Final = 1000  # with more errors than this, listing them would cost other callers milliseconds

# pydantic's error type → what was expected; {…} from the error's context.
_EXPECTED: Final[Mapping[str, str]] = {
    "float_type": "a number",
    "finite_number": "a finite number",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "string_type": "a string",
    "dict_type": "an object",
    "list_type": "an array",
    "tuple_type": "a pair [key, value]",
    "too_short": "at least {min_length} entries",
    "too_long": "at most {max_length} entries",
    "greater_than_equal": "a number of at least {ge}",
    "less_than_equal": "a number of at most {le}",
}
_JSON_TYPES: Final[Mapping[type, str]] = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """How one type of error is told: HTTP status, the last part of the `type` URN, and a title."""

    status: int
    name: str
    title: str


class Problems:
    """Problem documents by type of error.

    Parameters
    ----------
    kinds : mapping of type to Kind
        The composition root's table; an error is told as the nearest of its base classes.
    """

    def __init__(self, kinds: Mapping[type[PltvError], Kind]) -> None:
        self._kinds = kinds

    def kind(self, error: PltvError) -> Kind:
        """The entry of an error's type."""
        return next(self._kinds[base] for base in type(error).__mro__ if base in self._kinds)

    def document(self, error: PltvError) -> dict[str, Any]:
        """`type`, `title`, `status`, `detail`, `field`."""
        if isinstance(error, InputError):
            return document(self.kind(error), error.detail, error.field)
        return document(self.kind(error), str(error))

    def headers(self, error: PltvError) -> list[tuple[bytes, bytes]]:
        """Headers that an error brings along: `Retry-After`, `WWW-Authenticate`."""
        if isinstance(error, Overloaded):
            return [(b"retry-after", str(error.retry_after_s).encode())]
        if isinstance(error, Unauthorized):
            return [(b"www-authenticate", b"Bearer")]
        return [(b"retry-after", b"1")] if self.kind(error).status == 503 else []


def document(kind: Kind, detail: str, field: str | None = None) -> dict[str, Any]:
    """A problem document."""
    return {
        "type": f"urn:pltv:problem:{kind.name}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "field": field,
    }


def encode(problem: Mapping[str, Any]) -> bytes:
    """The bytes of a problem document."""
    return orjson.dumps(problem)


def input_error(error: ValidationError, words: Collection[str], prefix: str = "") -> InputError:
    """What pydantic found, as one line about the first wrong field.

    Parameters
    ----------
    error : ValidationError
    words : collection of str
        The names that a path may show: a map's own keys come from the caller and stay out.
    prefix : str
        Dotted path of what was validated, empty for a whole body.
    """
    if error.error_count() > _MANY:
        return InputError(f"expected the documented types, received {error.error_count()} wrong values")
    found = error.errors(include_url=False)
    first = _path(found[0]["loc"], words)
    # Of the ways to write a map, the caller meant the one that was followed the furthest.
    same = [e for e in found if _path(e["loc"], words) == first]
    deepest = max(same, key=lambda e: len(e["loc"]))
    field = ".".join(filter(None, (prefix, *first))) or None
    either_way = {e["type"] for e in same if len(e["loc"]) == len(deepest["loc"])} == {"dict_type", "list_type"}
    return InputError(_detail(deepest, either_way), field)


def _path(location: tuple[int | str, ...], words: Collection[str]) -> tuple[str, ...]:
    """The part of a location that is ours: it ends where a map's keys or pydantic's own tags begin."""
    path: list[str] = []
    for part in location:
        if isinstance(part, str) and part not in words:
            break
        path.append(str(part))
    return tuple(path)


def _detail(error: Any, either_way: bool) -> str:
    kind, context = error["type"], error.get("ctx") or {}
    if kind == "json_invalid":
        return f"expected JSON, received something else: {context.get('error', 'not decodable')}"
    if kind == "missing":
        return "expected a value, received nothing"
    expected = _EXPECTED.get(kind, "an object").format_map(context)
    if either_way:
        expected = "an object or an array of pairs [key, value]"
    if kind in ("too_short", "too_long"):
        return f"expected {expected}, received {context.get('actual_length', 'another number')}"
    if kind == "finite_number":
        return f"expected {expected}, received one that is not"
    if kind in ("greater_than_equal", "less_than_equal"):
        return f"expected {expected}, received one out of range"
    return f"expected {expected}, received {_JSON_TYPES.get(type(error['input']), 'something else')}"
