"""From events in clear to rows that may be kept: addresses become pseudonyms, facts get their identity.

Works on columns, in SQL, because a million events cost what a thousand calls would. `clear` is a relation of
`mta.events.rows.COLUMNS` plus `record`, the number of the input record that told the event; `keyed` is made of it and
is the last place where an address stands in clear. Both are tables in memory.

What this computes is what `mta.events.pseudonym` and `mta.events.address` define; the tests hold them against each
other. Addresses that are not plainly `local@domain` in ASCII are few, and are left to Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

import duckdb

from mta.events.address import canonical_address, canonical_domain, split_address
from mta.events.event import Event, EventType
from mta.events.pseudonym import PURPOSES, Keyring
from mta.events.reply import next_queue_id
from mta.events.rows import COLUMNS, row

__all__ = ["ATTEMPTS", "create_clear", "hand_to_own_hops", "key", "tell"]

_PLAIN = "'[!#-;=?A-Z\\[-~]+@[0-9A-Za-z._-]*[0-9A-Za-z_-]'"
_LONGEST_DOMAIN = 255
ATTEMPTS = ", ".join(f"'{one}'" for one in EventType if one.is_attempt)
"""SQL: the types of which each is one attempt's result."""


def create_clear(con: duckdb.DuckDBPyConnection) -> None:
    """Make `clear`, empty."""
    columns = ", ".join(f"{name} {sql_type}" for name, sql_type in COLUMNS.items())
    con.execute(f"CREATE OR REPLACE TEMP TABLE clear (record UINTEGER NOT NULL, sure BOOLEAN, {columns})")


def tell(con: duckdb.DuckDBPyConnection, records: Iterable[tuple[int, tuple[Event, ...]]]) -> None:
    """Put the events of these numbered records into `clear`."""
    appender = con.appender("clear")
    appender.append_rows((number, True, *row(event)) for number, events in records for event in events)
    appender.flush()


def hand_to_own_hops(con: duckdb.DuckDBPyConnection, networks: Sequence[IPv4Network | IPv6Network]) -> None:
    """Change in `clear` what was tried with hosts of ours: content filters, relays, other nodes.

    A success hands the mail on; a failure is our own doing and no provider's word.
    """
    if not networks:
        return
    tried = con.execute(f"SELECT DISTINCT peer_ip FROM clear WHERE type IN ({ATTEMPTS}) AND peer_ip <> ''").fetchall()
    own = [address for (address,) in tried if any(ip_address(address) in network for network in networks)]
    if not own:
        return
    ours = f"type IN ({ATTEMPTS}) AND list_contains($own, peer_ip)"
    con.execute(
        f"UPDATE clear SET origin = 'local', peer_host = NULL WHERE {ours} AND type <> 'delivery'", {"own": own}
    )
    passed = con.execute(f"SELECT rowid, text FROM clear WHERE {ours} AND type = 'delivery'", {"own": own}).fetchall()
    con.execute(
        "UPDATE clear SET type = 'transfer_out', successor_id = coalesce(successor_id, next.id) FROM "
        "(SELECT unnest(?::BIGINT[]) AS row, unnest(?::VARCHAR[]) AS id) AS next WHERE clear.rowid = next.row",
        [[row for row, _ in passed], [next_queue_id(text) if text else None for _, text in passed]],
    )


def key(con: duckdb.DuckDBPyConnection, keyring: Keyring, table: str) -> int:
    """Make `table` of `clear`: its columns and `unit_id`, `message_key`, `recipient_hash`, `event_id`, two domains.

    Gives back how many events there are. `about` is the address that one is about, in clear: the original recipient,
    where a report names one. A complaint that names none is about nobody known: its recipient is our own mailbox.
    """
    _meet_odd_addresses(con)
    unit, message = _digest("unit", "node", "queue_id", "mailbox"), _digest("message", "node", "queue_id")
    person = _digest("recipient", "mailbox_about")
    [(count,)] = con.execute(
        f"""
        CREATE OR REPLACE TABLE {table} AS
        WITH spelt AS (
            SELECT clear.*, coalesce(nullif(original_recipient, ''), recipient) AS about,
                   coalesce(r.canonical, lower(recipient)) AS mailbox,
                   coalesce(o.canonical, lower(nullif(original_recipient, '')), mailbox) AS mailbox_about,
                   left(coalesce(o.domain, {_behind_at("nullif(original_recipient, '')")}, r.domain,
                                 {_behind_at("recipient")}), {_LONGEST_DOMAIN}) AS domain,
                   left(coalesce(s.domain, {_behind_at("sender")}), {_LONGEST_DOMAIN}) AS sender_domain
            FROM clear LEFT JOIN odd_address r ON r.written = recipient
            LEFT JOIN odd_address o ON o.written = original_recipient
            LEFT JOIN odd_address s ON s.written = sender
        ), pseudonymous AS (
            SELECT * EXCLUDE (sure, mailbox, mailbox_about, original_recipient, recipient, sender), {unit} AS unit_id,
                   {message} AS message_key,
                   CASE WHEN about <> '' AND (type <> 'complaint' OR original_recipient <> '') THEN {person} END
                       AS recipient_hash
            FROM spelt
        )
        SELECT *, sha256(concat_ws('|', unit_id, type, time, coalesce(attempt, 0), coalesce(code, 0), ordinal))[:32]
                  ::UUID AS event_id
        FROM pseudonymous
        """,
        {
            "unit": keyring.identity + PURPOSES["unit"],
            "message": keyring.identity + PURPOSES["message"],
            "recipient": keyring.recipient_keys[keyring.epoch] + PURPOSES["recipient"],
        },
    ).fetchall()
    return int(count)


def _meet_odd_addresses(con: duckdb.DuckDBPyConnection) -> None:
    """Make `odd_address`: each address that SQL cannot take apart, its canonical form and domain."""
    written = " UNION ".join(
        f"SELECT {column} FROM clear WHERE {column} <> '' AND NOT regexp_full_match({column}, {_PLAIN})"
        for column in ("recipient", "original_recipient", "sender")
    )
    odd = [address for (address,) in con.execute(written).fetchall()]
    con.execute(
        "CREATE OR REPLACE TEMP TABLE odd_address AS "
        "SELECT unnest(?::VARCHAR[]) AS written, unnest(?::VARCHAR[]) AS canonical, unnest(?::VARCHAR[]) AS domain",
        [odd, [canonical_address(one) for one in odd], [canonical_domain(split_address(one)[1]) for one in odd]],
    )


def _behind_at(column: str) -> str:
    return f"lower(substring({column}, strpos({column}, '@') + 1))"


def _digest(purpose: str, *parts: str) -> str:
    """SQL for what `Keyring` makes of these columns; the key is bound, so that no error message can show it."""
    text = " || ".join(f"length({part}) || ':' || {part}" for part in parts)
    return f"('0x' || sha256(${purpose}::BLOB || encode({text}))[:16])::UBIGINT"
