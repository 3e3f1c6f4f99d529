"""The daily report as one HTML document for a mail: no script, no outside part, and every text from outside escaped.

Mail programs know little of CSS: tables, a few classes in one `style`, and colours that are readable on white and,
where a reader inverts, on black.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from analytics.report import Report
from exporter.report_parts import Part, Table, parts, title

__all__ = ["as_html"]

_HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    "<title>mtascope report</title><style>"
    "body{margin:0;background:#f3f5f7;color:#1b2733;"
    "font:14px/1.5 -apple-system,Segoe UI,Roboto,Helvetica,Arial,sans-serif}"
    ".page{max-width:64rem;margin:0 auto;padding:1.2rem}"
    ".card{background:#fff;border:1px solid #dfe5ea;border-radius:8px;padding:1rem 1.2rem;margin:0 0 1rem}"
    "h1{font-size:1.25rem;margin:.2rem 0 1rem}h2{font-size:1rem;margin:0 0 .6rem}p{margin:.2rem 0}"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}"
    "td,th{text-align:left;vertical-align:top;padding:.25rem .8rem .25rem 0;border-bottom:1px solid #eef1f4}"
    "th{color:#5b6b79;font-weight:600;font-size:.85em}"
    ".n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    ".big{font-size:1.6rem;font-weight:650;line-height:1.2}.tile{padding:.4rem 1.6rem .4rem 0;border:0}"
    ".note{color:#5b6b79;font-size:.85em}.bad{color:#b3261e}.warning{color:#8a5a00}.good{color:#1d7a3c}"
    "ul{margin:0;padding-left:1.2rem}code{font:12px/1.4 ui-monospace,Consolas,monospace;word-break:break-word}"
    '</style></head><body><div class="page">'
)


def as_html(report: Report) -> str:
    """The report as a document of its own."""
    cards = "".join(_card(part) for part in parts(report))
    return f"{_HEAD}<h1>{escape(title(report))}</h1>{cards}</div></body></html>\n"


def _card(part: Part) -> str:
    tiles = "".join(
        f'<td class="tile"><div class="big {escape(tile.verdict)}">{escape(tile.value)}</div>'
        f'<div class="note">{escape(tile.name)}</div></td>'
        for tile in part.tiles
    )
    blocks = [
        f"<h2>{escape(part.name)}</h2>",
        f'<div class="scroll"><table><tr>{tiles}</tr></table></div>' if tiles else "",
        *(f"<p>{escape(line)}</p>" for line in part.lines),
        f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in part.items)}</ul>" if part.items else "",
        _table(part.table) if part.table is not None else "",
        f'<p class="note">{escape(part.note)}</p>' if part.note else "",
    ]
    return f'<div class="card">{"".join(blocks)}</div>'


def _table(table: Table) -> str:
    numbers = table.numbers
    head = _row(table.head, numbers, "th")
    body = "".join(_row(row, numbers, "td") for row in table.rows)
    return f'<div class="scroll"><table>{head}{body}</table></div>'


def _row(cells: Sequence[str], numbers: Iterable[int], tag: str) -> str:
    right = set(numbers)
    shown = (
        f"<{tag} class=n>{escape(cell)}</{tag}>" if column in right else f"<{tag}>{escape(cell)}</{tag}>"
        for column, cell in enumerate(cells)
    )
    return f"<tr>{''.join(shown)}</tr>"
