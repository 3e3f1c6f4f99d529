"""`mtascope suppress`: whom the fleet does not send to."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TextIO

import click
import orjson

from analytics import suppression
from analytics.store import Store
from analytics.suppression import Entry
from mta.events.errors import SettingsError
from mta.events.instants import format_instant, parse_instant
from mtascope.output import Exit, data_option, emit, json_option, say
from mtascope.questions import answer, order
from mtascope.settings import Settings, load_settings

__all__ = ["command"]

_PAGE = 50_000
_FIELDS = ("address", "recipient", "epoch", "domain", "tenant", "reason", "note", "expires_at")
"""What an import reads of a row; other columns, such as an export has, are passed over."""

_config = click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
_tenant = click.option("--tenant", default=None, help="Entries for this tenant's mail only; '' for those of everybody.")


@click.group()
def command() -> None:
    """Whom not to send to: add, remove, list, import and export. The bundled MTA takes changes up within seconds.

    Example: mtascope suppress add someone@example.com --note "asked by phone"
    """


@command.command()
@click.argument("addresses", nargs=-1, required=True)
@click.option("--tenant", default="", help="Only for this tenant's mail.")
@click.option("--reason", default="manual", show_default=True, help="Lower-case word that says why.")
@click.option("--note", default=None, help="Anything more to remember.")
@click.option("--expires", default=None, help="When the entry ends, in RFC 3339; never unless told.")
@data_option
@_config
@json_option
def add(addresses: tuple[str, ...], tenant: str, reason: str, note: str | None, expires: str | None,
        data_dir: str | None, config: str | None, *, as_json: bool) -> None:  # fmt: skip
    """Put recipients on the list.

    Example: mtascope suppress add someone@example.com --tenant acme
    """
    if expires is not None:
        _instant(expires)
    given = {"tenant": tenant, "reason": reason, "note": note, "expires_at": expires}
    _report(_put(load_settings(config, data_dir), [{"address": one, **given} for one in addresses]), as_json=as_json)


@command.command()
@click.argument("addresses", nargs=-1, required=True)
@_tenant
@data_option
@_config
@json_option
def remove(
    addresses: tuple[str, ...], tenant: str | None, data_dir: str | None, config: str | None, *, as_json: bool
) -> int:
    """Send to these recipients again; exit code 1 if none of them was on the list.

    Example: mtascope suppress remove someone@example.com
    """
    settings = load_settings(config, data_dir)
    removed = 0
    for address in addresses:
        body = {"address": address, "tenant": tenant}
        removed += order(settings, "/v1/suppression/remove", body, _removal(settings, address, tenant))["removed"]
    _report({"removed": removed}, as_json=as_json)
    return Exit.DONE if removed else Exit.REFUSED


@command.command()
@click.argument("address")
@_tenant
@data_option
@_config
@json_option
def check(address: str, tenant: str | None, data_dir: str | None, config: str | None, *, as_json: bool) -> int:
    """Say whether mail to an address would be stopped, and why; exit code 1 if so.

    Example: mtascope suppress check someone@example.com --tenant acme
    """

    def ask(store: Store) -> dict[str, Any]:
        found = suppression.find(store, address, tenant)
        return {"suppressed": bool(found), "entries": [entry.to_row() for entry in found]}

    parameters = {"address": address} | ({"tenant": tenant} if tenant is not None else {})
    found: dict[str, Any] = answer(load_settings(config, data_dir), "/v1/suppression/check", parameters, ask)
    if as_json:
        emit(found)
    for entry in () if as_json else found["entries"]:
        say(f"{entry['reason']:12} since {entry['added_at']}  tenant {entry['tenant'] or '(all)'}")
    if not as_json and not found["suppressed"]:
        say("not suppressed")
    return Exit.REFUSED if found["suppressed"] else Exit.DONE


@command.command(name="list")
@_tenant
@click.option("--reason", default=None, help="Only entries with this reason.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Entries to show.")
@data_option
@_config
@json_option
def list_(tenant: str | None, reason: str | None, limit: int, data_dir: str | None, config: str | None,
          *, as_json: bool) -> None:  # fmt: skip
    """Show entries that hold now.

    Example: mtascope suppress list --reason complaint --json
    """
    rows = _rows(load_settings(config, data_dir), tenant, reason)
    for _, row in zip(range(limit), rows, strict=False):
        if as_json:
            emit(row)
        else:
            who = row["address"] or f"{row['recipient']} at {row['domain'] or '?'}"
            say(f"{who:44} {row['reason']:12} {row['class'] or '':18} until {row['expires_at'] or 'further notice'}")


@command.command()
@click.argument("path", type=click.Path(allow_dash=True))
@click.option("--format", "form", type=click.Choice(["csv", "ndjson"]), default=None, help="Else by the file's name.")
@_tenant
@click.option("--reason", default=None, help="Only entries with this reason.")
@data_option
@_config
@json_option
def export(path: str, form: str | None, tenant: str | None, reason: str | None, data_dir: str | None,
           config: str | None, *, as_json: bool) -> None:  # fmt: skip
    """Write the list to a file (`-`: standard output), for this installation's own import.

    Recipients are pseudonyms of this installation's keys; the address stands there only if it was kept in clear.

    Example: mtascope suppress export suppressed.csv
    """
    rows = _rows(load_settings(config, data_dir), tenant, reason)
    with nullcontext(sys.stdout) if path == "-" else Path(path).open("w", encoding="utf8", newline="") as out:
        count = _write(out, rows, _form(path, form))
    if as_json and path != "-":
        emit({"written": count})
    else:
        say(f"{count} entries written")


@command.command(name="import")
@click.argument("path", type=click.Path(allow_dash=True))
@click.option("--format", "form", type=click.Choice(["csv", "ndjson"]), default=None, help="Else by the file's name.")
@data_option
@_config
@json_option
def import_(path: str, form: str | None, data_dir: str | None, config: str | None, *, as_json: bool) -> None:
    """Add the entries of a CSV file with a header, or of an NDJSON file, to the list.

    A row needs `address`, or the `recipient` and `epoch` of an export; it may have `tenant`, `reason`, `note` and
    `expires_at`. Addresses become pseudonyms; [store.suppression] keep_addresses keeps them in clear, too.

    Example: mtascope suppress import unsubscribed.csv
    """
    settings = load_settings(config, data_dir)
    total = {"received": 0, "changed": 0}
    with nullcontext(sys.stdin) if path == "-" else Path(path).open(encoding="utf8", newline="") as source:
        for page in _pages(_read(source, _form(path, form), path)):
            found = _put(settings, page)
            total = {name: total[name] + found[name] for name in total}
    _report(total, as_json=as_json)


def _put(settings: Settings, rows: list[dict[str, Any]]) -> dict[str, Any]:
    def act(store: Store) -> dict[str, Any]:
        changed = suppression.add(store, map(_entry, rows))
        suppression.publish(store, settings.folder.suppression)
        return {"received": len(rows), "changed": changed}

    answered: dict[str, Any] = order(settings, "/v1/suppression", {"entries": rows}, act)
    return answered


def _removal(settings: Settings, address: str, tenant: str | None) -> Any:
    def act(store: Store) -> dict[str, Any]:
        removed = suppression.remove(store, address, tenant)
        suppression.publish(store, settings.folder.suppression)
        return {"removed": removed}

    return act


def _rows(settings: Settings, tenant: str | None, reason: str | None) -> Iterator[dict[str, Any]]:
    """All entries, a page at a time."""
    chosen = {name: value for name, value in (("tenant", tenant), ("reason", reason)) if value is not None}
    after = ""
    while True:
        asked = {**chosen, "limit": _PAGE, "cursor": after}
        rows: list[dict[str, Any]] = answer(settings, "/v1/suppression", asked, _listing(tenant, reason, after))
        yield from rows
        if len(rows) < _PAGE:
            return
        after = f"{rows[-1]['recipient']}/{rows[-1]['tenant']}"


def _listing(tenant: str | None, reason: str | None, after: str) -> Any:
    def ask(store: Store) -> list[dict[str, Any]]:
        found = suppression.entries(store, tenant=tenant, reason=reason, after=after, limit=_PAGE)
        return [entry.to_row() for entry in found]

    return ask


def _entry(row: Mapping[str, Any]) -> Entry:
    expires = row.get("expires_at")
    return Entry(
        address=row.get("address"),
        recipient=int(row.get("recipient") or "0", 16),
        epoch=int(row.get("epoch") or 0),
        domain=row.get("domain") or "",
        tenant=row.get("tenant") or "",
        reason=row.get("reason") or "import",
        note=row.get("note"),
        expires=_instant(expires) if expires else None,
    )


def _instant(text: str) -> int:
    try:
        return parse_instant(text)
    except ValueError as error:
        raise SettingsError(f"{text!r} is no time", remedy=f"write it as {format_instant(0)}") from error


def _form(path: str, form: str | None) -> str:
    return form or ("csv" if path.endswith(".csv") else "ndjson")


def _read(source: TextIO, form: str, where: str) -> Iterator[dict[str, Any]]:
    rows: Iterable[Any] = csv.DictReader(source) if form == "csv" else source
    for number, row in enumerate(rows, 1):
        try:
            values = row if form == "csv" else orjson.loads(row)
            found = {name: values[name] for name in _FIELDS if values.get(name) not in (None, "")}
            _entry(found)
        except (orjson.JSONDecodeError, AttributeError, ValueError) as error:
            raise SettingsError(f"entry {number} cannot be read: {error}", where=where) from error
        if "@" not in found.get("address", "") and "recipient" not in found:
            raise SettingsError(f"entry {number} names neither address nor recipient", where=where)
        if "recipient" in found and "address" not in found:
            found["epoch"] = int(found.get("epoch", 0))
        else:
            found = {name: value for name, value in found.items() if name not in {"recipient", "epoch", "domain"}}
        yield {"reason": "import", **found}


def _pages(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    page: list[dict[str, Any]] = []
    for row in rows:
        page.append(row)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page


def _write(out: TextIO, rows: Iterator[dict[str, Any]], form: str) -> int:
    count = 0
    writer = None
    for count, row in enumerate(rows, 1):  # noqa: B007 - the count is the answer
        if form == "ndjson":
            out.write(orjson.dumps(row).decode() + "\n")
            continue
        if writer is None:
            writer = csv.DictWriter(out, list(row))
            writer.writeheader()
        writer.writerow(row)
    return count


def _report(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit(found)
    else:
        say(", ".join(f"{name} {count}" for name, count in found.items()))
