"""`mtascope rates`: the table of rates."""

from __future__ import annotations

import time
from typing import Any

import click

from analytics.rates import Question, ask
from exporter.api import rate_rows
from mta.events.errors import SettingsError
from mta.events.instants import format_instant, parse_instant
from mtascope.client import connect
from mtascope.output import Duration, data_option, emit, json_option
from mtascope.settings import Settings, load_settings

__all__ = ["command"]

_TABLE = (
    ("injected", "injected"),
    ("in flight", "in_flight"),
    ("delivered", "delivered"),
    ("bounced", "bounced"),
    ("expired", "expired"),
)
_RATES = (
    ("delivery", "delivery_rate"),
    ("bounce", "bounce_rate"),
    ("deferral", "deferral_rate"),
    ("complaint", "complaint_rate"),
)


@click.command()
@data_option
@click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
@click.option("--by", default="provider", show_default=True, help="Dimensions, joined by commas; '' for one total.")
@click.option("--since", default=None, help="RFC 3339, or how long ago: 24h.")
@click.option("--until", default=None, help="RFC 3339, or how long ago: 1h.")
@click.option("--clock", type=click.Choice(["event", "cohort"]), default="cohort", show_default=True)
@click.option("--where", multiple=True, metavar="K=V", help="Only this part of the mail; repeatable.")
@json_option
def command(
    data_dir: str | None,
    config: str | None,
    by: str,
    since: str | None,
    until: str | None,
    clock: Any,
    where: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Delivery, bounce, deferral and complaint rates, with what they were divided by.

    Example: mtascope rates --by provider,tenant --since 24h --where provider=gmail
    """
    question = Question(
        by=tuple(name for name in by.split(",") if name),
        since=_instant("--since", since),
        until=_instant("--until", until),
        clock=clock,
        where=_selection(where),
    )
    rows = _answers(load_settings(config, data_dir), question)
    if as_json:
        emit(rows)
    else:
        click.echo(_table(question.by, rows))


def _answers(settings: Settings, question: Question) -> list[dict[str, Any]]:
    owner = connect(settings.folder)
    if owner is not None:
        parameters: dict[str, Any] = {
            "by": ",".join(question.by),
            "since": format_instant(question.since) if question.since is not None else None,
            "until": format_instant(question.until) if question.until is not None else None,
            "clock": question.clock,
            **{name: list(values) for name, values in (question.where or {}).items()},
        }
        answer: list[dict[str, Any]] = owner.get("/v1/rates", parameters)
        return answer
    from mtascope.owner import open_store

    with open_store(settings) as store:
        return rate_rows(ask(store, question))


def _instant(option: str, text: str | None) -> int | None:
    """An instant, or a duration before now."""
    if text is None:
        return None
    try:
        return parse_instant(text)
    except ValueError:
        pass
    try:
        return time.time_ns() // 1000 - Duration().convert(text, None, None)
    except click.BadParameter as error:
        raise SettingsError(f"{text!r} is no time", where=option, remedy="write 2026-01-31T12:00:00Z or 24h") from error


def _selection(where: tuple[str, ...]) -> dict[str, list[str]]:
    selection: dict[str, list[str]] = {}
    for item in where:
        name, equals, value = item.partition("=")
        if not equals:
            raise SettingsError(f"{item!r} selects nothing", where="--where", remedy="write provider=gmail")
        selection.setdefault(name, []).append(value)
    return selection


def _table(by: tuple[str, ...], rows: list[dict[str, Any]]) -> str:
    """Columns aligned for a terminal; a rate without verdict stands in parentheses."""
    head = [*by, *(title for title, _ in _TABLE), *(title for title, _ in _RATES)]
    lines = [head]
    for row in rows:
        counts = [str(row[name]) for _, name in _TABLE]
        lines.append([*(str(row[name]) for name in by), *counts, *(_percent(row[name]) for _, name in _RATES)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join("  ".join(_aligned(line, widths, len(by))) for line in lines)


def _aligned(line: list[str], widths: list[int], keys: int) -> list[str]:
    return [
        cell.ljust(width) if column < keys else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]


def _percent(rate: dict[str, Any]) -> str:
    if rate["value"] is None:
        return "no data"
    text = f"{100 * rate['value']:.2f} %"
    return f"({text})" if rate["verdict"] == "insufficient" else text
