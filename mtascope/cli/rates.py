"""`mtascope rates`: the table of rates."""

from __future__ import annotations

from typing import Any

import click

from analytics.buckets import STEPS, Step
from analytics.latency import QUANTILES, latencies
from analytics.rates import Question, ask
from exporter.formats import ENCODERS
from exporter.rows import latency_rows, rate_rows
from mta.events.errors import SettingsError
from mta.events.instants import format_instant
from mtascope.output import data_option, emit, json_option
from mtascope.questions import answer, instant
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
@click.option("--step", type=click.Choice(STEPS), default=None, help="Cut the answer into steps of time.")
@click.option("--zone", default="UTC", show_default=True, help="IANA zone of steps of a day and longer.")
@click.option(
    "--format", "as_format", type=click.Choice(["table", "json", "ndjson", "csv"]), default="table", show_default=True
)
@click.option("--latency", is_flag=True, help="Add the percentiles of the time to delivery.")
@json_option
def command(  # noqa: PLR0913, PLR0917  (one parameter an option)
    data_dir: str | None,
    config: str | None,
    by: str,
    since: str | None,
    until: str | None,
    clock: Any,
    where: tuple[str, ...],
    step: str | None,
    zone: str,
    as_format: str,
    *,
    latency: bool,
    as_json: bool,
) -> None:
    """Delivery, bounce, deferral and complaint rates, with what they were divided by.

    Example: mtascope rates --by provider,tenant --since 7d --step 1d --zone Europe/Berlin --where provider=gmail
    """
    question = Question(
        by=tuple(name for name in by.split(",") if name),
        since=instant("--since", since),
        until=instant("--until", until),
        clock=clock,
        where=_selection(where),
        step=None if step is None else Step(step, zone),
    )
    if latency and step is not None:
        raise SettingsError("latency is not cut into steps", where="--latency", remedy="leave out --step")
    settings = load_settings(config, data_dir)
    rows = _answers(settings, question)
    if latency:
        rows = _with_latency(settings, question, rows)
    if as_json or as_format == "json":
        emit(rows)
    elif as_format == "table":
        click.echo(_table((*(("time",) if step else ()), *question.by), rows))
    else:
        click.echo(ENCODERS[as_format](rows).decode(), nl=False)  # type: ignore[index]  # click knows the names


def _answers(settings: Settings, question: Question) -> list[dict[str, Any]]:
    parameters = _parameters(question)
    rows: list[dict[str, Any]] = answer(
        settings, "/v1/rates", parameters, lambda store: rate_rows(ask(store, question))
    )
    return rows


def _with_latency(settings: Settings, question: Question, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the percentiles of their group; None where nothing was delivered or waits."""
    found = answer(
        settings, "/v1/latency", _parameters(question), lambda store: latency_rows(latencies(store, question))
    )
    by_key = {tuple(latency[name] for name in question.by): latency for latency in found}
    return [{**row, "latency": by_key.get(tuple(row[name] for name in question.by))} for row in rows]


def _parameters(question: Question) -> dict[str, Any]:
    return {
        "by": ",".join(question.by),
        "since": format_instant(question.since) if question.since is not None else None,
        "until": format_instant(question.until) if question.until is not None else None,
        "clock": question.clock,
        "step": question.step.name if question.step is not None else None,
        "zone": question.step.zone if question.step is not None else None,
        **{name: list(values) for name, values in (question.where or {}).items()},
    }


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
    timed = any("latency" in row for row in rows)
    head = [*by, *(title for title, _ in _TABLE), *(title for title, _ in _RATES), *(QUANTILES if timed else ())]
    lines = [head]
    for row in rows:
        counts = [str(row[name]) for _, name in _TABLE]
        times = [_seconds(row["latency"], name) for name in QUANTILES] if timed else []
        lines.append([*(str(row[name]) for name in by), *counts, *(_percent(row[name]) for _, name in _RATES), *times])
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


def _seconds(latency: dict[str, Any] | None, quantile: str) -> str:
    """A percentile; one that is still in flight is a bound."""
    if latency is None:
        return "no data"
    value = latency["latency"][quantile]
    if value is not None:
        return f"{value:.3g} s"
    return f"> {latency['at_least']:.3g} s" if latency["at_least"] is not None else "no data"
