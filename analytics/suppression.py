"""Whom the fleet does not send to any more: fed by failures as the policy says, by people, and read by the MTA.

Entries are kept by pseudonym; the address stays in clear only for entries that people add, and only if they want it.
Failures are counted in the transaction that stores them, so each counts once whatever is replayed. A report (late
bounce, complaint) counts only when it has found its send: a stranger who writes bounces of his own reaches nobody.

`publish` writes the list to the file that MTA workers map (`mta/events/suppression.py`).
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from analytics.store import Store
from analytics.suppressor import COLUMNS, merge_entries
from mta.events.address import canonical_address, split_address
from mta.events.errors import SettingsError
from mta.events.instants import SECOND, format_instant, from_datetime
from mta.events.suppression import NEVER, encode, tenant_key

__all__ = ["Entry", "add", "entries", "find", "forget", "publish", "remove"]

_MOST_AT_ONCE = 100_000
_PAGE = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One recipient that is not sent to. `tenant` is "" for the whole fleet; instants are microseconds.

    `recipient` is the pseudonym; entries that are added name their `address`, from which it is made.
    `source` is the event that caused it.
    """

    recipient: int = 0
    epoch: int = 0
    tenant: str = ""
    reason: str = "manual"
    bounce_class: str | None = None
    domain: str = ""
    added: int = 0
    expires: int | None = None
    source: str | None = None
    note: str | None = None
    address: str | None = None

    @property
    def position(self) -> str:
        """Where the entry stands in a listing: what the next page begins after."""
        return f"{self.recipient:016x}/{self.tenant}"

    def to_row(self) -> dict[str, Any]:
        """As JSON shows it. `recipient` is hexadecimal, because JSON's numbers are too short for it."""
        return {
            "recipient": f"{self.recipient:016x}",
            "epoch": self.epoch,
            "address": self.address,
            "domain": self.domain,
            "tenant": self.tenant,
            "reason": self.reason,
            "class": self.bounce_class,
            "added_at": format_instant(self.added),
            "expires_at": format_instant(self.expires) if self.expires is not None else None,
            "source_event": self.source,
            "note": self.note,
        }


def add(store: Store, wanted: Iterable[Entry]) -> int:
    """Put recipients on the list, in one transaction; how many entries are new or changed.

    An entry names an address, or the pseudonym and epoch of a key that this installation has: what an export holds.
    What is there already stays where it lasts longer.
    """
    now, keyring = store.clock(), store.keyring
    keep = store.suppression.settings.keep_addresses
    rows = []
    for entry in wanted:
        address = canonical_address(entry.address) if entry.address else None
        if address is None and entry.epoch not in keyring.recipient_keys:
            raise SettingsError("an entry needs an address, or a pseudonym of this installation", where=entry.domain)
        rows.append(
            (
                keyring.recipient_hash(address) if address else entry.recipient,
                keyring.epoch if address else entry.epoch,
                entry.tenant,
                entry.reason,
                entry.bounce_class,
                split_address(address)[1] if address else entry.domain,
                _moment(entry.added or now),
                _moment(entry.expires) if entry.expires is not None else None,
                entry.source,
                entry.note,
                address if keep else None,
            )
        )
    with store.writing() as con:
        con.execute(f"CREATE OR REPLACE TEMP TABLE wanted AS SELECT {COLUMNS} FROM suppression LIMIT 0")
        if rows:
            appender = con.appender("wanted")
            appender.append_rows(rows)
            appender.flush()
        changed = merge_entries(con, f"SELECT {COLUMNS} FROM wanted")
    store.suppression.changed = True
    return changed


def remove(store: Store, address: str, tenant: str | None = None) -> int:
    """Take a recipient off the list: for one tenant ("" is the entry for all), or altogether. How many entries went.

    The failures that were counted go too, so that an old one does not bring the entry back.
    """
    with store.writing() as con:
        removed = _delete(con, "suppression", store.recipient_hashes(address), tenant)
        _delete(con, "suppression_strike", store.recipient_hashes(address), tenant)
    store.suppression.changed = True
    return removed


def forget(con: duckdb.DuckDBPyConnection, hashes: Sequence[int]) -> int:
    """Forget a person who asked for it: what was said in clear and where it came from go, and counted failures.

    The entry itself stays, as a pseudonym: without it the person would be sent to again. `remove` takes it away.
    """
    _delete(con, "suppression_strike", hashes, None)
    return int(
        con.execute(
            "UPDATE suppression SET address = NULL, note = NULL, source_event = NULL, domain = '' "
            "WHERE list_contains(?::UBIGINT[], recipient_hash) "
            "AND (address IS NOT NULL OR note IS NOT NULL OR source_event IS NOT NULL OR domain <> '')",
            [list(hashes)],
        ).fetchall()[0][0]
    )


def find(store: Store, address: str, tenant: str | None = None) -> list[Entry]:
    """The entries that hold for an address now; with `tenant`, only those that stop its mail."""
    rows = store.query(
        f"SELECT {COLUMNS} FROM suppression WHERE list_contains($hashes::UBIGINT[], recipient_hash) "
        "AND (expires_at IS NULL OR expires_at > make_timestamp($now)) "
        "AND ($tenant IS NULL OR tenant IN ('', $tenant)) ORDER BY tenant",
        {"hashes": store.recipient_hashes(address), "now": store.clock(), "tenant": tenant},
    )
    return [_entry(row) for row in rows]


def entries(
    store: Store, *, tenant: str | None = None, reason: str | None = None, after: str = "", limit: int = _MOST_AT_ONCE
) -> list[Entry]:
    """Entries in the order of pseudonym and tenant; `after` is where the page before ended (`position`)."""
    pseudonym, _, last = after.partition("/")
    rows = store.query(
        f"SELECT {COLUMNS} FROM suppression WHERE ($tenant IS NULL OR tenant = $tenant) "
        "AND ($reason IS NULL OR reason = $reason) AND (expires_at IS NULL OR expires_at > make_timestamp($now)) "
        "AND (recipient_hash > $pseudonym::UBIGINT OR recipient_hash = $pseudonym::UBIGINT AND tenant > $last) "
        "ORDER BY recipient_hash, tenant LIMIT $limit",
        {
            "tenant": tenant,
            "reason": reason,
            "now": store.clock(),
            "pseudonym": _pseudonym(pseudonym) if pseudonym else 0,
            "last": last,
            "limit": limit,
        },
    )
    return [_entry(row) for row in rows]


def publish(store: Store, path: Path) -> bool:
    """Write the list for the MTA workers if it has changed since it was last written: whole, or not at all."""
    if not store.suppression.changed and path.exists():
        return False
    store.suppression.changed = False
    try:
        with store.writing() as con:
            content = _snapshot(con, sorted(store.keyring.recipient_keys), store.clock())
        _replace(path, content)
    except BaseException:
        store.suppression.changed = True
        raise
    return True


def _snapshot(con: duckdb.DuckDBPyConnection, epochs: Sequence[int], now: int) -> bytes:
    con.execute(
        "DELETE FROM suppression WHERE expires_at <= make_timestamp(?)",
        [now],
    )
    [(version,)] = con.execute(
        "UPDATE suppression_version SET version = version + 1, changed_at = make_timestamp(?) RETURNING version", [now]
    ).fetchall()
    names = [row[0] for row in con.execute("SELECT DISTINCT reason FROM suppression ORDER BY 1 LIMIT 256").fetchall()]
    tenants = [row[0] for row in con.execute("SELECT DISTINCT tenant FROM suppression").fetchall()]
    keys, ends, reasons = array("Q"), array("I"), bytearray()
    rows = con.execute(
        "SELECT xor(s.recipient_hash, f.fold) AS key, least(coalesce(ceil(epoch(s.expires_at)), $never), $never)"
        "::UINTEGER AS ends, coalesce(list_position($names::VARCHAR[], s.reason) - 1, 0)::UTINYINT AS reason "
        "FROM suppression s JOIN (SELECT unnest($tenants::VARCHAR[]) AS tenant, unnest($folds::UBIGINT[]) AS fold) f "
        "USING (tenant) ORDER BY key",
        {"never": NEVER, "names": names, "tenants": tenants, "folds": [tenant_key(tenant) for tenant in tenants]},
    )
    while page := rows.fetchmany(_PAGE):
        keys.extend(row[0] for row in page)
        ends.extend(row[1] for row in page)
        reasons.extend(row[2] for row in page)
    return encode(keys, ends, bytes(reasons), names=names, epochs=epochs, version=version)


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


def _delete(con: duckdb.DuckDBPyConnection, table: str, hashes: Sequence[int], tenant: str | None) -> int:
    return int(
        con.execute(
            f"DELETE FROM {table} WHERE list_contains($hashes::UBIGINT[], recipient_hash) "
            "AND ($tenant IS NULL OR tenant = $tenant)",
            {"hashes": list(hashes), "tenant": tenant},
        ).fetchall()[0][0]
    )


def _entry(row: Sequence[Any]) -> Entry:
    recipient, epoch, tenant, reason, bounce_class, domain, added, expires, source, note, address = row
    return Entry(
        recipient=recipient,
        epoch=epoch,
        tenant=tenant,
        reason=reason,
        bounce_class=bounce_class,
        domain=domain,
        added=from_datetime(added.replace(tzinfo=UTC)),
        expires=from_datetime(expires.replace(tzinfo=UTC)) if expires is not None else None,
        source=str(source) if source is not None else None,
        note=note,
        address=address,
    )


def _moment(instant: int) -> datetime:
    return datetime.fromtimestamp(instant / SECOND, UTC).replace(tzinfo=None)


def _pseudonym(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError as error:
        raise SettingsError(
            f"{text!r} is no pseudonym", remedy="16 hexadecimal digits, as an export has them"
        ) from error
