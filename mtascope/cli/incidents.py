"""`mtascope incidents`: what the watch found, what it would have found, and who takes care."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from typing import Any

import click

from analytics.incidents import journal
from analytics.incidents.journal import Silence
from analytics.incidents.kinds import Kind
from analytics.incidents.replay import replay
from analytics.spikes import SpikeSettings
from analytics.store import Store
from exporter.alerting.words import details, sentence
from exporter.rows import incident_rows
from mta.events.instants import DAY, MINUTE, format_instant
from mtascope.client import connect
from mtascope.output import Duration, Exit, data_option, emit, json_option, say
from mtascope.questions import answer, instant, order
from mtascope.resources import bounce_groups
from mtascope.settings import load_settings

__all__ = ["command"]

_config_option = click.option(
    "--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON)."
)
_author_option = click.option("--author", default=None, help="Who says so (default: the user's name).")


@click.group("incidents", invoke_without_command=True)
@click.option("--since", default=None, help="RFC 3339, or how long ago (default: 7d, with --dry-run 30d).")
@click.option("--until", default=None, help="RFC 3339, or how long ago (default: now).")
@click.option("--open", "only_open", is_flag=True, help="Only those that last.")
@click.option("--dry-run", is_flag=True, help="What would have been told, found anew from history; keeps nothing.")
@click.option("--threshold", type=click.FloatRange(0.1, 100), default=None, help="With --dry-run: evidence asked for.")
@click.option("--least-rise", type=click.FloatRange(0, 0.99), default=None, help="With --dry-run: 0.015 is 1.5 points.")
@click.option("--least-extra", type=click.FloatRange(0), default=None, help="With --dry-run: bounces an hour it costs.")
@data_option
@_config_option
@json_option
@click.pass_context
def command(  # noqa: PLR0913
    context: click.Context,
    since: str | None,
    until: str | None,
    threshold: float | None,
    least_rise: float | None,
    least_extra: float | None,
    data_dir: str | None,
    config: str | None,
    *,
    only_open: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Incidents, the latest first: where and since when, who carries them, what was answered, what to do.

    Example: mtascope incidents --dry-run --since 30d --threshold 7
    """
    if context.invoked_subcommand is not None:
        return
    settings = load_settings(config, data_dir)
    begin = instant("--since", since or ("30d" if dry_run else "7d")) or 0
    end = instant("--until", until)
    bounds = {"since": format_instant(max(0, begin)), "until": None if end is None else format_instant(end)}
    if dry_run:
        changes = {"threshold": threshold, "least_rise": least_rise, "least_extra_an_hour": least_extra}
        changes = {name: value for name, value in changes.items() if value is not None}
        spikes = settings.incidents.spikes.model_copy(update=changes)
        rows = answer(
            settings,
            "/v1/incidents/dry-run",
            bounds | changes,
            lambda store: _replayed(store, begin, end, spikes),
            timeout=None,
        )
    else:
        rows = answer(
            settings,
            "/v1/incidents",
            bounds | {"open": only_open or None},
            lambda store: _kept(store, begin, end, settings.incidents.spikes, only_open=only_open),
        )
    _print(rows, format_instant(max(0, begin)), as_json=as_json)


@command.command("acknowledge")
@click.argument("incident")
@_author_option
@data_option
@_config_option
@json_option
def acknowledge(incident: str, author: str | None, data_dir: str | None, config: str | None, *, as_json: bool) -> Exit:
    """Take care of an incident: it is not told again, only when it ends.

    Example: mtascope incidents acknowledge 9b2c6b5a7f0db1cc
    """
    name = author or getpass.getuser()

    def act(store: Store) -> Any:
        with store.writing() as con:
            known = journal.acknowledge(con, incident, name, store.clock())
        return {"id": incident, "known": known}

    url = f"/v1/incidents/{incident}/acknowledge"
    found: dict[str, Any] = order(load_settings(config, data_dir), url, {"author": name}, act)
    if not found.get("known", True):
        say(f"mtascope: {incident}: there is no such incident")
        return Exit.MISSING
    emit(found) if as_json else say(f"{incident} is acknowledged by {name}")
    return Exit.DONE


@command.command("silence")
@click.option("--for", "duration", type=Duration(), required=True, help="How long: 2h, 1d.")
@click.option("--reason", required=True, help="Why, for those who look later.")
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), default=None)
@click.option("--provider", default=None)
@click.option("--tenant", default=None)
@click.option("--pool", default=None)
@_author_option
@data_option
@_config_option
@json_option
def silence(
    duration: int,
    reason: str,
    author: str | None,
    data_dir: str | None,
    config: str | None,
    *,
    as_json: bool,
    **parts: str | None,
) -> None:
    """Tell nobody of incidents that match, for a while; they are found and kept all the same.

    Example: mtascope incidents silence --for 2h --provider gmail --reason "warm-up of the new pool"
    """
    wanted = {"author": author or getpass.getuser(), "reason": reason, **parts}

    def act(store: Store) -> Any:
        made = Silence(id=f"{store.clock():x}", since=store.clock(), until=store.clock() + duration, **wanted)  # type: ignore[arg-type]
        with store.writing() as con:
            journal.add_silence(con, made)
        return {"id": made.id, "until": format_instant(made.until)}

    body = wanted | {"minutes": max(1, duration // MINUTE)}
    made = order(load_settings(config, data_dir), "/v1/silences", body, act)
    emit(made) if as_json else say(f"silence {made['id']} until {made['until']}")


@command.command("unsilence")
@click.argument("silence_id")
@data_option
@_config_option
@json_option
def unsilence(silence_id: str, data_dir: str | None, config: str | None, *, as_json: bool) -> Exit:
    """End a silence now.

    Example: mtascope incidents unsilence 5f1c0a77
    """
    settings = load_settings(config, data_dir)
    owner = connect(settings.folder)
    if owner is not None:
        owner.delete(f"/v1/silences/{silence_id}")
    elif not order(settings, "", None, lambda store: _end(store, silence_id)):
        say(f"mtascope: {silence_id}: no such silence lasts")
        return Exit.MISSING
    if as_json:
        emit({"id": silence_id, "ended": True})
    return Exit.DONE


@command.command("silences")
@data_option
@_config_option
@json_option
def silences(data_dir: str | None, config: str | None, *, as_json: bool) -> None:
    """Silences that last or are to come.

    Example: mtascope incidents silences
    """
    rows: list[dict[str, Any]] = answer(load_settings(config, data_dir), "/v1/silences", {}, _silences)
    if as_json:
        emit(rows)
        return
    for row in rows:
        parts = " ".join(f"{name}={row[name]}" for name in ("kind", "provider", "tenant", "pool") if row[name])
        click.echo(
            f"{row['id']}  until {row['until'][:16]}Z  {parts or 'everything'}  {row['author']}: {row['reason']}"
        )


def _print(rows: list[dict[str, Any]], since: str, *, as_json: bool) -> None:
    if as_json:
        emit(rows)
        return
    for row in rows:
        click.echo(f"{_mark(row)}{sentence(row)}  [{row['id']}]")
        for line in details(row):
            click.echo(f"    {line}")
    if not rows:
        click.echo(f"no incident since {since}")


def _mark(row: Mapping[str, Any]) -> str:
    return f"({row['acknowledged_by']} takes care) " if row["acknowledged_by"] else ""


def _kept(
    store: Store, since: int, until: int | None, spikes: SpikeSettings, *, only_open: bool
) -> list[dict[str, Any]]:
    """What is kept; where no watch has ever run over this store, what it would have found."""
    con = store.cursor()
    try:
        watched = con.execute("SELECT count(*) FROM watch_state").fetchall()[0][0]
        end = store.clock() + DAY if until is None else until
        found = journal.find(con, since=max(0, since), until=end, only_open=only_open)
    finally:
        con.close()
    if watched:
        return incident_rows(found)
    return [row for row in _replayed(store, since, until, spikes) if not (only_open and row["closed"])]


def _replayed(store: Store, since: int, until: int | None, spikes: SpikeSettings) -> list[dict[str, Any]]:
    return incident_rows(replay(store, since=since, until=until, settings=spikes, groups=bounce_groups()))


def _silences(store: Store) -> list[dict[str, Any]]:
    from exporter.api.incidents import silence_row

    con = store.cursor()
    try:
        return [silence_row(one) for one in journal.silences(con, store.clock())]
    finally:
        con.close()


def _end(store: Store, silence_id: str) -> bool:
    with store.writing() as con:
        return journal.end_silence(con, silence_id, store.clock())
