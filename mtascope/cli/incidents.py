"""`mtascope incidents`: bounce spikes in the stored mail, and what changed when they began."""

from __future__ import annotations

import time
from typing import Any

import click

from analytics.incidents import replay
from exporter.rows import incident_rows
from mta.events.instants import format_instant
from mtascope.output import data_option, emit, json_option
from mtascope.questions import answer, instant
from mtascope.settings import load_settings

__all__ = ["command"]


@click.command("incidents")
@click.option("--since", default="7d", show_default=True, help="RFC 3339, or how long ago.")
@click.option("--until", default=None, help="RFC 3339, or how long ago (default: now).")
@data_option
@click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
@json_option
def command(since: str, until: str | None, data_dir: str | None, config: str | None, *, as_json: bool) -> None:
    """Bounce spikes found in the stored mail, the latest first, with the tenant, campaign or source that carries them.

    Decided at each step from its past only: a look at last month shows what would have been told then.

    Example: mtascope incidents --since 30d
    """
    start = instant("--since", since) or time.time_ns() // 1000
    end = instant("--until", until)
    rows: list[dict[str, Any]] = answer(
        load_settings(config, data_dir),
        "/v1/incidents",
        {"since": format_instant(start), "until": None if end is None else format_instant(end)},
        lambda store: incident_rows(replay(store, since=start, until=end)),
    )
    if as_json:
        emit(rows)
        return
    for row in rows:
        click.echo(_sentence(row))
        for cause in row["causes"]:
            click.echo(f"    {cause['dimension']} {cause['value']}: {_cause(cause)}")
        for reply in row["replies"]:
            click.echo(f"    {_reply(reply)}")
        for advice in row["advice"]:
            click.echo(f"    -> {advice}")
    if not rows:
        click.echo(f"no bounce spike since {format_instant(start)}")


def _sentence(row: dict[str, Any]) -> str:
    scope = "".join(f", {name} {value}" for name, value in row["scope"].items())
    end = f"until {_minute(row['closed'])}" if row["closed"] else "still open"
    what = "put off" if row["kind"] == "deferral_surge" else "bounced"
    rates = f"{row['level']:.1%} {what} instead of {row['baseline']:.1%}"
    counts = f"{row['numerator']} of {row['denominator']}"
    seen = f"since {_minute(row['began'])}, seen {_minute(row['opened'])}, {end}"
    return f"{row['provider']}{scope}: {rates} ({counts}) {seen}"


def _minute(stamp: str) -> str:
    """An instant for people: steps are whole minutes."""
    return f"{stamp[:10]} {stamp[11:16]}Z"


def _cause(cause: dict[str, Any]) -> str:
    return f"{cause['share']:.0%} of the excess on {cause['mail_share']:.0%} of the mail"


def _reply(reply: dict[str, Any]) -> str:
    heard = "new" if reply["new"] else "more than usual"
    return f"{reply['share']:.0%} {reply['bounce_class'] or 'unclassed'}, {heard}: {reply['text']}"
