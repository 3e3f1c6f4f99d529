"""The daily report as people read it: plain text for a terminal or a mail, HTML for a mail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from analytics.report import Report, build_report
from analytics.store import Store
from exporter.report_html import as_html
from exporter.report_parts import Part, Table, parts, title
from mta.events.instants import format_instant
from mta.events.taxonomy import BounceClass

__all__ = ["as_html", "as_text", "report_answer"]


def as_text(report: Report) -> str:
    """The report in plain text, at most 120 columns but for replies."""
    lines = [f"mtascope report, {title(report)[:1].lower()}{title(report)[1:]}"]
    for part in parts(report):
        lines += ["", part.name.upper(), *_lines(part)]
    return "\n".join(lines) + "\n"


def report_answer(store: Store, since: int, until: int, taxonomy: Mapping[str, BounceClass]) -> dict[str, Any]:
    """The report as the command line and the API give it: figures, text and HTML."""
    report = build_report(store, since, until, taxonomy)
    return {
        "since": format_instant(since),
        "until": format_instant(until),
        "injected": report.total.counts["injected"],
        "providers": len(report.providers),
        "to_do": [asdict(item) for item in report.to_do],
        "incidents": len(report.incidents),
        "text": as_text(report),
        "html": as_html(report),
    }


def _lines(part: Part) -> Iterable[str]:
    if part.tiles:
        yield "  " + ", ".join(f"{tile.name} {tile.value}" for tile in part.tiles)
    yield from (f"  {line}" for line in (*part.lines, *part.items))
    if part.table is not None:
        yield from _aligned(part.table)
    if part.note:
        yield f"  {part.note}"


def _aligned(table: Table) -> Iterable[str]:
    rows: list[Sequence[str]] = [table.head, *table.rows]
    widths = [min(60, max(len(row[column]) for row in rows)) for column in range(len(table.head))]
    right = set(table.numbers)
    for row in rows:
        cells = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  " + "  ".join(cells).rstrip()
