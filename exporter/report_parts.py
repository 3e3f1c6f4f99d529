"""What the daily report says, part by part, as words and tables: the text and the HTML show the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from analytics.latency import Latency
from analytics.rates import RateRow
from analytics.ratios import Ratio
from analytics.reasons import Reason
from analytics.report import Compared, Report
from mta.events.instants import format_instant

__all__ = ["Part", "Table", "Tile", "parts", "title"]

_OUTCOMES = ("delivered", "bounced", "expired", "admin_bounced", "suppressed", "transferred", "in_flight")
_RATES = (
    ("delivery", "delivery_rate"),
    ("bounce", "bounce_rate"),
    ("deferral", "deferral_rate"),
    ("complaint", "complaint_rate"),
)


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure that is seen first."""

    name: str
    value: str
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; `numbers` are the columns that stand to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A heading and what stands under it; a part that has nothing to say is left out."""

    name: str
    tiles: Sequence[Tile] = ()
    lines: Sequence[str] = ()
    items: Sequence[str] = ()
    table: Table | None = None
    note: str = ""


def title(report: Report) -> str:
    """Of the whole."""
    return f"Mail injected from {_moment(report.since)} to {_moment(report.until)} UTC"


def parts(report: Report) -> list[Part]:
    """Everything worth saying, the most urgent first."""
    said = [
        _totals(report),
        Part("To do", items=[f"{item.provider}: {_words(item.rate)} {item.value:.2%} ({item.verdict}). {item.advice}"
                             for item in report.to_do]),
        _incidents(report),
        _providers(report),
        _reasons("Why mail failed", report.reasons),
        _reasons("Why mail was put off", report.deferrals),
        _new_sources(report),
        _waiting(report),
        _domains(report),
        _senders(report),
        _hours(report),
        _unknown(report),
    ]  # fmt: skip
    return [part for part in said if part.tiles or part.lines or part.items or (part.table and part.table.rows)]


def _totals(report: Report) -> Part:
    counts, before = report.total.counts, report.total_before
    sums = ", ".join(f"{_words(name)} {counts[name]:,}" for name in _OUTCOMES if counts[name])
    change = f" (a week before {before.counts['injected']:,})" if before is not None else ""
    ripe = report.total.rates["completion"].value
    work = f"{counts['attempts']:,} attempts, {counts['rejected']:,} refused at injection"
    people = f"{report.people:,} different recipients, {_size(report.delivered_bytes)} delivered"
    lines = [f"injected {counts['injected']:,}{change} = {sums or 'nothing'}", f"{people}, {work}"]
    if ripe is not None:
        lines.append(
            f"{ripe:.1%} of it has come to an end{'' if report.total.ripe else '; the rest is still under way'}"
        )
    if report.latency is not None:
        lines.append(f"time to delivery: {_latency(report.latency)}")
    if report.quarantined:
        lines.append(f"{report.quarantined:,} log records could not be read: mtascope status")
    if report.identity_broken:
        lines.append(f"THE SUMS DO NOT ADD UP by {report.identity_broken:,} recipients: mtascope doctor")
    tiles = [
        Tile("injected", f"{counts['injected']:,}"),
        *(_tile(name, report.total.rates[key]) for name, key in _RATES),
    ]
    return Part("Totals", tiles, lines)


def _tile(name: str, rate: Ratio) -> Tile:
    verdict = rate.verdict if rate.verdict in {"good", "warning", "bad"} else ""
    return Tile(f"{name} rate", _share(rate), verdict)


def _incidents(report: Report) -> Part:
    rows = [
        [
            "open" if one.closed is None or one.closed > report.until else "over",
            _words(one.kind),
            one.provider,
            _moment(one.began),
            f"{one.level:.2%}" if one.level <= 1 else f"{one.level:,.0f}",
            "; ".join(f"{cause.dimension} {cause.value}" for cause in one.causes[:2]),
        ]
        for one in report.incidents[:10]
    ]
    return Part("Incidents", table=Table(("state", "what", "provider", "since", "level", "causes"), rows, (4,)))


def _providers(report: Report) -> Part:
    rows = [_provider(compared) for compared in report.providers[:30]]
    note = "In brackets: the same days a week before. In parentheses: too little mail for a verdict."
    if len(report.providers) > len(rows):
        note += f" {len(report.providers) - len(rows)} smaller ones are left out."
    head = ("provider", "injected", "delivered", *(name for name, _ in _RATES))
    return Part("Providers", table=Table(head, rows, range(1, len(head))), note=note)


def _provider(compared: Compared) -> list[str]:
    now, before = compared.now, compared.before
    cells = [compared.provider, f"{now.counts['injected']:,}", f"{now.counts['delivered']:,}"]
    return cells + [_against(now, before, name) for _, name in _RATES]


def _against(now: RateRow, before: RateRow | None, rate: str) -> str:
    past = before.rates[rate].value if before is not None else None
    return _share(now.rates[rate]) + (f" [{past:.2%}]" if past is not None else "")


def _reasons(name: str, reasons: Iterable[tuple[Reason, str]]) -> Part:
    rows = [
        [f"{reason.events:,}", reason.provider, f"{_words(reason.bounce_class)}: {meaning}", _reply(reason)]
        for reason, meaning in reasons
    ]
    return Part(name, table=Table(("events", "provider", "cause", "reply"), rows, (0,)))


def _reply(reason: Reason) -> str:
    whose = "" if reason.origin == "remote" else " (ours)"
    return " ".join(str(part) for part in (reason.code, reason.enhanced, reason.text) if part) + whose


def _new_sources(report: Report) -> Part:
    rows = [[one.domain, one.source_ip, f"{one.messages:,}", f"{one.passed:,}"] for one in report.new_sources]
    note = "Addresses that DMARC reports saw for the first time: yours to set up, or somebody else's to refuse."
    return Part("New senders in your name", table=Table(("domain", "address", "messages", "passed"), rows, (2, 3)),
                note=note if rows else "")  # fmt: skip


def _waiting(report: Report) -> Part:
    rows = [
        [one.domain, one.provider, f"{one.in_flight:,}", f"{one.deferred:,}", _time(one.oldest_s), one.reply or ""]
        for one in report.waiting
    ]
    head = ("domain", "provider", "waiting", "put off", "oldest", "last reply")
    return Part("What waits now", table=Table(head, rows, (2, 3, 4)))


def _domains(report: Report) -> Part:
    return _counted("Recipient domains", "domain", report.domains)


def _senders(report: Report) -> Part:
    return _counted("Sender domains", "sender_domain", report.senders)


def _counted(name: str, dimension: str, rows: Iterable[RateRow]) -> Part:
    names = ("injected", "delivered", "bounced", "expired", "deferred", "in_flight")
    cells = [[row.key[dimension] or "unknown", *(f"{row.counts[one]:,}" for one in names)] for row in rows]
    return Part(name, table=Table((_words(dimension), *map(_words, names)), cells, range(1, len(names) + 1)))


def _hours(report: Report) -> Part:
    names = ("injected", "delivered", "attempt_deferrals", "bounced", "expired", "rejected")
    rows = [[_moment(row.start or 0), *(f"{row.counts[one]:,}" for one in names)] for row in report.hours[:192]]
    head = ("hour", "injected", "delivered", "put off", "bounced", "expired", "refused")
    return Part("Hour by hour", table=Table(head, rows, range(1, len(head))), note="By when things happened, in UTC.")


def _unknown(report: Report) -> Part:
    rows = [[one.domain, one.provider, f"{one.recipients:,}", f"{one.share:.2%}"] for one in report.unknown]
    part = Table(("domain", "provider", "recipients", "of all"), rows, (2, 3))
    return Part("Domains whose provider is not known", table=part if report.unknown else None)


def _latency(latency: Latency) -> str:
    return ", ".join(
        f"{name} {_time(value)}" if value is not None else f"{name} more than {_time(latency.at_least or 0)}"
        for name, value in latency.all.items()
    )


def _share(rate: Ratio) -> str:
    if rate.value is None:
        return "no data"
    return f"({rate.value:.2%})" if rate.verdict == "insufficient" else f"{rate.value:.2%}"


def _time(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.3g} s"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _moment(instant: int) -> str:
    return format_instant(instant)[:16].replace("T", " ")
