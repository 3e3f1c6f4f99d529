"""The daily report as people read it: plain text for a terminal or a mail, HTML for a mail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from analytics.rates import RateRow
from analytics.ratios import Ratio
from analytics.report import Compared, Report, build_report
from analytics.store import Store
from mta.events.instants import format_instant
from mta.events.taxonomy import BounceClass

__all__ = ["as_html", "as_text", "report_answer"]

_OUTCOMES = ("delivered", "bounced", "expired", "admin_bounced", "suppressed", "transferred", "in_flight")
_RATES = (
    ("delivery", "delivery_rate"),
    ("bounce", "bounce_rate"),
    ("deferral", "deferral_rate"),
    ("complaint", "complaint_rate"),
)


def as_text(report: Report) -> str:
    """The report in plain text, at most 120 columns but for replies."""
    lines = [f"mtascope report, mail injected from {_moment(report.since)} to {_moment(report.until)} UTC", ""]
    lines += _totals(report)
    if report.to_do:
        lines += ["", "TO DO"]
        lines += [
            f"  {item.provider}: {_words(item.rate)} {item.value:.2%} ({item.verdict}). {item.advice}"
            for item in report.to_do
        ]
    lines += ["", "PROVIDERS  (in brackets: the same days a week before; parentheses: too little mail for a verdict)"]
    lines += _aligned([_HEAD, *(_provider_cells(compared) for compared in report.providers)])
    if report.reasons:
        lines += ["", "WHY MAIL FAILED"]
        for reason, meaning in report.reasons:
            reply = " ".join(str(part) for part in (reason.code, reason.enhanced, reason.text) if part)
            lines += [
                f"  {reason.events:>7}  {reason.provider}, {_words(reason.bounce_class)}: {meaning}",
                f"           {reply}",
            ]
    return "\n".join(lines) + "\n"


def as_html(report: Report) -> str:
    """The report as one HTML document without any outside part; every text from outside is escaped."""
    to_do = "".join(
        f"<li><b>{escape(item.provider)}</b>: {_words(item.rate)} {item.value:.2%} ({item.verdict}). "
        f"{escape(item.advice)}</li>"
        for item in report.to_do
    )
    providers = "".join(_row(_provider_cells(compared)) for compared in report.providers)
    reasons = "".join(
        _row([f"{reason.events}", reason.provider, _words(reason.bounce_class), meaning,
              " ".join(str(part) for part in (reason.code, reason.enhanced, reason.text) if part)])
        for reason, meaning in report.reasons
    )  # fmt: skip
    parts = [
        f"<h1>Mail injected from {_moment(report.since)} to {_moment(report.until)} UTC</h1>",
        "".join(f"<p>{escape(line.strip())}</p>" for line in _totals(report)),
        f"<h2>To do</h2><ul>{to_do}</ul>" if to_do else "",
        f"<h2>Providers</h2><table>{_row(_HEAD, 'th')}{providers}</table>",
        f"<h2>Why mail failed</h2><table>{reasons}</table>" if reasons else "",
    ]
    return f"{_DOCUMENT_HEAD}{''.join(parts)}</body></html>\n"


_HEAD = ["provider", "injected", "delivered", *(title for title, _ in _RATES)]
_DOCUMENT_HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>mtascope report</title><style>'
    "body{font:14px/1.5 sans-serif;color:#1b2733;max-width:60rem;margin:1rem auto}"
    "h1{font-size:1.2rem}h2{font-size:1rem}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #dfe5ea}"
    "</style></head><body>"
)


def report_answer(store: Store, since: int, until: int, taxonomy: Mapping[str, BounceClass]) -> dict[str, Any]:
    """The report as the command line and the API give it: figures, text and HTML."""
    report = build_report(store, since, until, taxonomy)
    return {
        "since": format_instant(since),
        "until": format_instant(until),
        "injected": report.total.counts["injected"],
        "providers": len(report.providers),
        "to_do": [asdict(item) for item in report.to_do],
        "text": as_text(report),
        "html": as_html(report),
    }


def _totals(report: Report) -> list[str]:
    counts = report.total.counts
    parts = ", ".join(f"{_words(name)} {counts[name]:,}" for name in _OUTCOMES if counts[name])
    before = report.total_before
    change = f" (a week before {before.counts['injected']:,})" if before is not None else ""
    lines = [f"injected {counts['injected']:,}{change} = {parts or 'nothing'}"]
    rates = ", ".join(f"{title} {_share(report.total.rates[name])}" for title, name in _RATES)
    ripe = report.total.rates["completion"].value
    lines.append(f"{rates}; {ripe:.1%} of it has come to an end" if ripe is not None else rates)
    return [f"  {line}" for line in lines]


def _provider_cells(compared: Compared) -> list[str]:
    now, before = compared.now, compared.before
    cells = [compared.provider, f"{now.counts['injected']:,}", f"{now.counts['delivered']:,}"]
    return cells + [_against(now, before, name) for _, name in _RATES]


def _against(now: RateRow, before: RateRow | None, rate: str) -> str:
    past = before.rates[rate].value if before is not None else None
    return _share(now.rates[rate]) + (f" [{past:.2%}]" if past is not None else "")


def _share(rate: Ratio) -> str:
    if rate.value is None:
        return "no data"
    return f"({rate.value:.2%})" if rate.verdict == "insufficient" else f"{rate.value:.2%}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return (
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(cells: Iterable[str], tag: str = "td") -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _moment(instant: int) -> str:
    return format_instant(instant)[:16].replace("T", " ")
