"""The parts of a report, said once: headings, paragraphs, lists, tables and pictures, for Markdown and for HTML.

Texts hold `**strong**` and `` `code` `` as Markdown writes them, and nothing else that either form would read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_DUST = 1e-12


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the report's title."""

    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table of as many cells a row as its header has."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Picture:
    """A picture by its file, and what is to be seen in it."""

    title: str
    path: str
    caption: str = ""


Block = Heading | Paragraph | Items | Table | Picture


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of any sequences."""
    return Table(tuple(header), tuple(tuple(row) for row in rows))


def items(texts: Sequence[str]) -> list[Block]:
    """A list, or nothing where there are no texts."""
    return [Items(tuple(texts))] if texts else []


def number(value: float | None) -> str:
    """Four digits, without the dust of rounding around zero; — where undefined."""
    if value is None:
        return "—"
    return f"{value:.4g}" if abs(value) > _DUST else "0"


def figure(estimate: Mapping[str, Any] | None) -> str:
    """`value [low, high]` in four digits; — where undefined."""
    if estimate is None or estimate["value"] is None:
        return "—"
    if estimate["low"] is None or estimate["high"] is None:
        return number(estimate["value"])
    return f"{number(estimate['value'])} [{number(estimate['low'])}, {number(estimate['high'])}]"
