"""Blocks enter, Markdown that a person reads from top to bottom leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.evaluation.blocks import Block, Heading, Items, Paragraph, Picture, Table, figure, number
from training.evaluation.rows import Provenance
from training.evaluation.sections import sections

__all__ = ["figure", "markdown", "number", "render_markdown", "table"]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; a bar within a cell is escaped."""
    lines = [list(header), ["---"] * len(header)]
    lines += [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def markdown(blocks: Sequence[Block]) -> str:
    """Text of a report, which ends with a newline."""
    lines: list[str] = []
    for block in blocks:
        lines += [*_lines(block), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _lines(block: Block) -> list[str]:
    match block:
        case Heading(level, text):
            return [f"{'#' * level} {text}"]
        case Paragraph(text):
            return [text]
        case Items(texts):
            return [f"- {text}" for text in texts]
        case Table(header, rows):
            return table(header, rows)
        case Picture(title, path, caption):
            return [f"![{title}]({path})", *(["", caption] if caption else [])]


def render_markdown(evaluation: Mapping[str, Any], plots: Mapping[str, str], context: Provenance) -> str:
    """Text of report.md.

    Parameters
    ----------
    evaluation : mapping
        What `training.evaluation.report.evaluate` returned.
    plots : mapping of title to path
        Pictures, relative to the report.
    context : Provenance

    Returns
    -------
    str
        Markdown that ends with a newline.
    """
    return markdown(sections(evaluation, plots, context))
