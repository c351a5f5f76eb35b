"""Blocks enter, one self-contained HTML page leaves: pictures within it, no script, nothing fetched."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from training.evaluation.blocks import Block, Heading, Items, Paragraph, Picture, Table

LONG = 15
"""Rows beyond which a table is folded."""

_STYLE = """
:root{--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--back:#fff;--head:#f6f8fa;--link:#0072b2}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9da7b1;--line:#30363d;--back:#0d1117;--head:#161b22;
--link:#56b4e9}}
*{box-sizing:border-box}
body{margin:0;color:var(--ink);background:var(--back);font:15px/1.5 system-ui,sans-serif}
nav{position:fixed;inset:0 auto 0 0;width:15rem;overflow:auto;padding:1.5rem 1rem;border-right:1px solid var(--line)}
nav a{display:block;padding:.15rem 0;color:var(--soft);text-decoration:none}
nav a:hover{color:var(--link)}
main{max-width:74rem;margin-left:15rem;padding:1rem 2rem 4rem}
h1,h2,h3{line-height:1.25}
h2{margin-top:2.5rem;padding-bottom:.3rem;border-bottom:1px solid var(--line)}
.wide{overflow-x:auto;margin:.8rem 0}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .6rem;border:1px solid var(--line);text-align:right;white-space:nowrap}
th{background:var(--head)}
th:first-child,td:first-child{text-align:left}
figure{margin:1rem 0}
img{max-width:100%;height:auto;background:#fff;border:1px solid var(--line)}
figcaption{color:var(--soft);font-size:13px;max-width:60rem}
code{font-size:.92em;background:var(--head);padding:0 .2em}
summary{cursor:pointer;color:var(--link)}
@media (max-width:60rem){nav{position:static;width:auto;border:0}main{margin-left:0}}
@media print{nav{display:none}main{margin:0}}
"""


def render_html(blocks: Sequence[Block], directory: Path) -> str:
    """Text of the page.

    Parameters
    ----------
    blocks : sequence of Block
        The first one is the title.
    directory : Path
        Where the pictures' paths start; they are read and put into the page.

    Returns
    -------
    str
        A whole HTML 5 document.
    """
    titles = [block for block in blocks if isinstance(block, Heading)]
    title = titles[0].text if titles else "Report"
    contents = "".join(f'<a href="#{_anchor(h.text)}">{_inline(h.text)}</a>' for h in titles if h.level == 2)
    body = "\n".join(_block(block, directory) for block in blocks)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<nav>{contents}</nav>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _block(block: Block, directory: Path) -> str:
    match block:
        case Heading(level, text):
            return f'<h{level} id="{_anchor(text)}">{_inline(text)}</h{level}>'
        case Paragraph(text):
            return f"<p>{_inline(text)}</p>"
        case Items(texts):
            return "<ul>\n" + "\n".join(f"<li>{_inline(text)}</li>" for text in texts) + "\n</ul>"
        case Table():
            return _table(block)
        case Picture():
            return _picture(block, directory)


def _table(block: Table) -> str:
    head = "".join(f"<th>{_inline(cell)}</th>" for cell in block.header)
    rows = "\n".join("<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>" for row in block.rows)
    drawn = f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>'
    if len(block.rows) <= LONG:
        return drawn
    return f"<details>\n<summary>{len(block.rows)} rows</summary>\n{drawn}\n</details>"


def _picture(block: Picture, directory: Path) -> str:
    content = base64.b64encode((directory / block.path).read_bytes()).decode("ascii")
    caption = f"<figcaption>{_inline(block.caption)}</figcaption>" if block.caption else ""
    return f'<figure><img alt="{escape(block.title)}" src="data:image/png;base64,{content}">{caption}</figure>'


def _inline(text: str) -> str:
    strong = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escape(text, quote=False))
    return re.sub(r"`(.+?)`", r"<code>\1</code>", strong)


def _anchor(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
