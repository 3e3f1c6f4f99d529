"""One mail that takes several hops of our own is one mail: content filters, relays, transfers between nodes.

Each hop logs a unit of its own, and every hop but the last ends as `transferred`. When the next hop's unit is known,
the earlier one points to it (`successor`) and counts as nothing but its attempts; what it knew (when the mail was
injected, whose it is, that it was deferred) is handed to its successor, which is a merge like any other and may happen
in any order. A transfer whose next hop tells us nothing stays what it is.

The next hop is the unit of the same recipient under the queue id that the transfer names, else the first one that was
seen later with the same Message-ID. What no log told within a day of the transfer is looked for no more.
"""

from __future__ import annotations

import duckdb

from analytics.lifecycle import FACTS
from mta.events.instants import DAY, HOUR

__all__ = ["LONGEST_CHAIN", "follow", "note"]

LONGEST_CHAIN = 16
"""Hops that one load follows; a longer way is followed at the next change of one of its units."""

_EARLIER, _LATER = HOUR, DAY
"""How long before the transfer is written down the next hop may have logged the mail (filters answer after they have
passed it on; clocks differ), and how long after."""

# A hop's end, its tries and its place are its own; everything else is about the mail.
_OWN = frozenset(
    {
        "message_key", "recipient_hash", "node", "mta", "domain", "provider", "first_event_at", "last_event_at",
        "attempts", "deferrals", "local_attempts", "delivered_attempt", "terminal", "successor",
    }
)  # fmt: skip
_HANDED_ON = tuple(fact for fact in FACTS if fact.name not in _OWN)


def note(con: duckdb.DuckDBPyConnection) -> None:
    """Remember the transfers among the events of `fresh`."""
    con.execute(
        "INSERT INTO hop SELECT unit_id, recipient_hash, time, successor_id, NULL FROM fresh "
        "WHERE type = 'transfer_out' AND recipient_hash IS NOT NULL"
    )


def follow(con: duckdb.DuckDBPyConnection) -> bool:
    """Fill `arriving` with what the hops of the units in `changed` change; False if that is nothing."""
    con.execute("CREATE OR REPLACE TEMP TABLE paired (unit_id UBIGINT, successor UBIGINT)")
    if con.execute("SELECT 1 FROM hop WHERE joined IS NULL LIMIT 1").fetchall():
        _pair(con)
    columns = ", ".join(
        f"CAST({'successor' if fact.name == 'successor' else 'NULL'} AS {fact.sql_type}) AS {fact.name}"
        for fact in FACTS
    )
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE arriving AS SELECT unit_id, {columns} FROM paired UNION ALL {_handed_on()}"
    )
    return bool(con.execute("SELECT 1 FROM arriving LIMIT 1").fetchall())


def _pair(con: duckdb.DuckDBPyConnection) -> None:
    """Find next hops: of transfers that this load changed among all units, of older ones among what it changed."""
    con.execute(_FIND_NEXT)
    con.execute(_BREAK_CIRCLES)
    con.execute(
        "UPDATE hop SET joined = p.successor FROM paired p WHERE hop.unit_id = p.unit_id AND hop.joined IS NULL"
    )


_FIND_NEXT = f"""
    INSERT INTO paired
    WITH pending AS (
        SELECT DISTINCT h.unit_id, h.recipient_hash, h.moment, h.successor_id, u.message_id, u.first_event_at,
               h.unit_id IN (SELECT unit_id FROM changed) AS touched
        FROM hop h JOIN unit u USING (unit_id)
        WHERE h.joined IS NULL AND u.terminal.outcome = 'transferred'
          AND h.moment >= (SELECT min(first_event_at) - INTERVAL {_LATER} MICROSECONDS FROM changed)
    ), candidates AS (
        SELECT p.unit_id, e.unit_id AS next_id, 0 AS rank, e.time AS seen, p.moment
        FROM pending p JOIN event e ON e.queue_id = p.successor_id AND e.recipient_hash = p.recipient_hash
        WHERE p.touched
        UNION ALL
        SELECT p.unit_id, f.unit_id, 0, f.time, p.moment
        FROM pending p JOIN fresh f ON f.queue_id = p.successor_id AND f.recipient_hash = p.recipient_hash
        UNION ALL
        SELECT p.unit_id, u.unit_id, 1, u.first_event_at, p.moment
        FROM pending p JOIN unit u ON u.message_id = p.message_id AND u.recipient_hash = p.recipient_hash
        WHERE p.touched AND (u.first_event_at, u.unit_id) > (p.first_event_at, p.unit_id)
        UNION ALL
        SELECT p.unit_id, c.unit_id, 1, c.first_event_at, p.moment
        FROM pending p JOIN changed c ON c.message_id = p.message_id AND c.recipient_hash = p.recipient_hash
        WHERE (c.first_event_at, c.unit_id) > (p.first_event_at, p.unit_id)
    )
    SELECT c.unit_id, c.next_id FROM candidates c SEMI JOIN unit u ON u.unit_id = c.next_id
    WHERE c.next_id <> c.unit_id
      AND c.seen BETWEEN c.moment - INTERVAL {_EARLIER} MICROSECONDS AND c.moment + INTERVAL {_LATER} MICROSECONDS
    QUALIFY row_number() OVER (PARTITION BY c.unit_id ORDER BY c.rank, c.seen, c.next_id) = 1
"""

# Clocks that disagree could make two hops each other's successor, and the mail would count as nothing: such pairs wait.
_BREAK_CIRCLES = f"""
    DELETE FROM paired WHERE unit_id IN (
        WITH RECURSIVE way AS (
            SELECT unit_id AS start, successor AS here, 1 AS length FROM paired
            UNION ALL
            SELECT way.start, link.successor, way.length + 1
            FROM way JOIN (SELECT unit_id, successor FROM unit WHERE successor IS NOT NULL
                           UNION ALL FROM paired) link ON link.unit_id = way.here
            WHERE way.here <> way.start AND way.length < {LONGEST_CHAIN}
        )
        SELECT start FROM way WHERE here = start
    )
"""


def _handed_on() -> str:
    """SELECT of what units in `changed` or `paired` know and their successors do not: nothing once all is told."""
    facts = {fact.name for fact in _HANDED_ON}
    columns = ", ".join(
        f"{f'p.{fact.name}' if fact.name in facts else f'CAST(NULL AS {fact.sql_type})'} AS {fact.name}"
        for fact in FACTS
    )
    news = " OR ".join(
        f"(p.{fact.name} IS NOT NULL AND (n.{fact.name} IS NULL OR "
        f"p.{fact.name} {'<' if fact.merge == 'min' else '>'} n.{fact.name}))"
        for fact in _HANDED_ON
    )
    return (
        f"SELECT p.next_id AS unit_id, {columns} FROM ("
        "SELECT u.*, coalesce(u.successor, q.successor) AS next_id FROM unit u LEFT JOIN paired q USING (unit_id) "
        "WHERE u.unit_id IN (SELECT unit_id FROM changed UNION ALL SELECT unit_id FROM paired)"
        f") p JOIN unit n ON n.unit_id = p.next_id WHERE {news}"
    )
