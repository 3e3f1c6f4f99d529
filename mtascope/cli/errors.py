"""`mtascope errors`: why mail failed."""

from __future__ import annotations

import time
from typing import Any

import click

from analytics.reasons import top_reasons
from exporter.rows import reason_rows
from mta.events.instants import format_instant
from mtascope.output import data_option, emit, json_option
from mtascope.questions import answer, instant
from mtascope.settings import load_settings

__all__ = ["command"]


@click.command()
@click.option("--by", type=click.Choice(["provider"]), default="provider", show_default=True)
@click.option("--provider", multiple=True, help="Only this provider; repeatable.")
@click.option("--since", default="24h", show_default=True, help="RFC 3339, or how long ago.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@data_option
@click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
@json_option
def command(
    by: str,  # noqa: ARG001  (the one grouping there is; named in the contract of the command line)
    provider: tuple[str, ...],
    since: str,
    limit: int,
    data_dir: str | None,
    config: str | None,
    *,
    as_json: bool,
) -> None:
    """The replies behind failures, most frequent first, with the cause that each was classed as.

    Example: mtascope errors --provider gmail --since 6h
    """
    start = instant("--since", since) or time.time_ns() // 1000
    where = {"provider": provider} if provider else None
    rows: list[dict[str, Any]] = answer(
        load_settings(config, data_dir),
        "/v1/reasons",
        {"since": format_instant(start), "provider": list(provider) or None, "limit": limit},
        lambda store: reason_rows(top_reasons(store, since=start, where=where, limit=limit)),
    )
    if as_json:
        emit(rows)
        return
    for row in rows:
        reply = " ".join(str(row[part]) for part in ("code", "enhanced", "text") if row[part])
        whose = " (ours)" if row["origin"] == "local" else ""
        click.echo(f"{row['events']:>8}  {row['provider']:<20}  {row['type']}{whose} [{row['bounce_class']}]  {reply}")
