"""Tests of training.evaluation.html."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from training.evaluation.blocks import Block, Heading, Items, Paragraph, Picture, table
from training.evaluation.html import LONG, render_html
from training.evaluation.markdown import markdown
from training.evaluation.report import write_report
from training.evaluation.rows import EvaluationRows, Provenance, Scored

VOID = {"meta", "img"}


class Reader(HTMLParser):
    """Refuses tags that do not match, and keeps addresses, texts and tags."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(text: str) -> Reader:
    """A page that closes all it opens."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def test_texts_are_escaped_and_marked(tmp_path: Path) -> None:
    """What the data say is shown and not run; strong and code are; a long table is folded, a short one is not."""
    blocks: list[Block] = [
        Heading(1, "A & B"),
        Heading(2, "<script>alert(1)</script>"),
        Paragraph("**bold** and `code`"),
        Items(("1 < 2",)),
        table(["a"], [["x"]] * (LONG + 1)),
        table(["a"], [["y"]]),
    ]
    page = read(render_html(blocks, tmp_path))
    assert "script" not in page.tags
    assert {"strong", "code", "li"} <= set(page.tags)
    assert page.tags.count("details") == 1
    assert "<script>alert(1)</script>" in page.words
    assert page.sources == ["#script-alert-1-script"]


def test_pictures_are_within_the_page(tmp_path: Path) -> None:
    """A picture's bytes are in the page, and in Markdown its path."""
    (tmp_path / "one.png").write_bytes(b"PNG bytes")
    blocks: list[Block] = [Heading(1, "t"), Picture("One", "one.png", "what is to be seen")]
    (source,) = read(render_html(blocks, tmp_path)).sources
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == b"PNG bytes"
    assert markdown(blocks) == "# t\n\n![One](one.png)\n\nwhat is to be seen\n"


def test_a_report_fetches_nothing(
    evaluation: dict[str, Any], rows: EvaluationRows, scored: list[Scored], provenance: Provenance, tmp_path: Path
) -> None:
    """The page of a whole report is well formed, holds every picture, and no address outside of itself."""
    written = write_report(tmp_path, evaluation, rows=rows, scored=scored, context=provenance)
    page = read((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in page.sources)
    assert page.tags.count("img") == sum(path.suffix == ".png" for path in written)
    assert "Verdict" in page.words
