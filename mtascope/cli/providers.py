"""`mtascope providers`: who serves which domain."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from analytics.domains import history, unknown_domains
from exporter.rows import served_row
from mta.events.address import canonical_domain
from mta.events.instants import format_instant
from mtascope.output import data_option, emit, json_option, say
from mtascope.questions import answer, instant
from mtascope.resources import provider_map
from mtascope.settings import load_settings

__all__ = ["command"]

_config_option = click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file.")


@click.group()
def command() -> None:
    """Which mailbox provider serves a domain: by the map, by what was seen, and what nobody knows.

    Example: mtascope providers unknown --since 7d
    """


@command.command("unknown")
@click.option("--since", default="7d", show_default=True, help="RFC 3339, or how long ago.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@data_option
@_config_option
@json_option
def unknown(since: str, limit: int, data_dir: str | None, config: str | None, *, as_json: bool) -> None:
    """The domains with the most mail whose provider the map does not name.

    Example: mtascope providers unknown --limit 50
    """
    begin = instant("--since", since) or 0
    rows: list[dict[str, Any]] = answer(
        load_settings(config, data_dir),
        "/v1/domains/unknown",
        {"since": format_instant(begin), "limit": limit},
        lambda store: [asdict(one) for one in unknown_domains(store, begin, None, limit)],
    )
    if as_json:
        emit(rows)
    for row in () if as_json else rows:
        click.echo(f"{row['recipients']:>10}  {row['share']:6.2%}  {row['domain']:40} {row['provider']}")


@command.command("history")
@click.argument("domain")
@data_option
@_config_option
@json_option
def seen(domain: str, data_dir: str | None, config: str | None, *, as_json: bool) -> None:
    """The providers that a domain was seen with, the latest first.

    Example: mtascope providers history example.com
    """
    rows: list[dict[str, Any]] = answer(
        load_settings(config, data_dir),
        "/v1/domains/history",
        {"domain": domain},
        lambda store: [served_row(one) for one in history(store, canonical_domain(domain))],
    )
    if as_json:
        emit(rows)
    elif not rows:
        say(f"nothing was seen of {domain}")
    for row in () if as_json else rows:
        click.echo(f"{row['first_seen'][:19]}  {row['last_seen'][:19]}  {row['provider']}")


@command.command("lookup")
@click.argument("domain")
@click.argument("mx", required=False)
@data_option
@_config_option
@json_option
def lookup(domain: str, mx: str | None, data_dir: str | None, config: str | None, *, as_json: bool) -> None:
    """Whom the map names for a domain, and for the MX host that its mail goes to.

    Example: mtascope providers lookup example.com aspmx.l.google.com
    """
    own = load_settings(config, data_dir).providers
    found = provider_map(own.names, own.groups).lookup(canonical_domain(domain), mx)
    if as_json:
        emit(asdict(found))
    else:
        gateway = f", a filter of its own ({found.gateway})" if found.gateway else ""
        click.echo(f"{found.name} (group {found.group}{gateway}), by {found.evidence}")
