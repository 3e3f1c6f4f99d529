"""`mtascope query`: questions in SQL."""

from __future__ import annotations

from typing import Any

import click

from analytics.explore import explore
from exporter.formats import as_csv
from exporter.rows import table_answer
from mtascope.output import Exit, data_option, emit, json_option, say
from mtascope.questions import order
from mtascope.settings import load_settings

__all__ = ["command"]


@click.command()
@click.argument("sql")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=10_000, show_default=True, help="Rows at most.")
@click.option("--seconds", type=click.FloatRange(0.1, 3600), default=30, show_default=True, help="Time at most.")
@data_option
@click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
@json_option
def command(sql: str, limit: int, seconds: float, data_dir: str | None, config: str | None, *, as_json: bool) -> int:
    """One SELECT over the documented views; prints CSV, or JSON with names and types of the columns.

    Example: mtascope query "SELECT provider, sum(n) FROM v_recipient GROUP BY ALL"
    """
    found: dict[str, Any] = order(
        load_settings(config, data_dir),
        "/v1/query",
        {"sql": sql, "limit": limit, "seconds": seconds},
        lambda store: table_answer(explore(store, sql, limit=limit, seconds=seconds)),
    )
    if as_json:
        emit(found)
    else:
        rows = [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]
        click.echo(as_csv(rows).decode() if rows else ",".join(found["columns"]), nl=not rows)
    if found["cut"]:
        say(f"there are more than {limit} rows")
    return Exit.DONE
