"""`mtascope top`: what waits."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from analytics.queues import waiting
from mtascope.output import data_option, emit, json_option, say
from mtascope.questions import answer
from mtascope.settings import load_settings

__all__ = ["command"]


@click.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Domains at most.")
@data_option
@click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
@json_option
def command(limit: int, data_dir: str | None, config: str | None, *, as_json: bool) -> None:
    """The recipient domains with the most mail in flight, how old it is, and what was said last.

    Example: mtascope top --limit 10
    """
    rows: list[dict[str, Any]] = answer(
        load_settings(config, data_dir),
        "/v1/queues",
        {"limit": limit},
        lambda store: [asdict(found) for found in waiting(store, limit)],
    )
    if as_json:
        emit(rows)
        return
    if not rows:
        say("nothing waits")
    for row in rows:
        click.echo(
            f"{row['in_flight']:>8} in flight, {row['deferred']:>8} deferred  oldest {row['oldest_s']:>9.0f} s  "
            f"{row['domain']} ({row['provider']})  {row['reply'] or ''}"
        )
