"""Sealing: what is finished and quiet leaves the hot tables for a part, with all its events, in one transaction.

A recipient leaves when it has an outcome and nothing was heard of it for a while (`horizon`), or when it has none and
was silent for longer than any queue keeps mail: then it is *unaccounted*, and counted as such (METRICS.md section 1).
What it told leaves with it. Refused mail, late reports and lines about whole messages leave when they are as old.

The file is written and synced before the transaction ends that names it and empties the tables: a crash leaves either
the rows where they were and a file that nobody names, or the file in their place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from analytics.dimensions import DIMENSIONS
from analytics.journeys import PLAIN, event_struct, packed
from analytics.lifecycle import merged, projection
from analytics.parts import Part, Parts
from analytics.recipients import COLUMNS, flat
from analytics.rollup import COUNTED_EVENTS, MEASURES
from mta.events.instants import format_instant

__all__ = ["Horizons", "seal"]


@dataclass(frozen=True, slots=True)
class Horizons:
    """Before which instants (microseconds) what must have been silent in order to leave.

    `finished` is for recipients with an outcome; `handed_on` for those handed to a hop that was not heard of yet;
    `silent` for those without an outcome.
    """

    finished: int
    handed_on: int
    silent: int


def seal(
    con: duckdb.DuckDBPyConnection,
    parts: Parts,
    columns: Mapping[str, str],
    horizons: Horizons,
    now: int,
    limit: int,
) -> Part | None:
    """Seal up to `limit` recipients, the longest silent first, into one part; None if nothing may leave.

    Call inside a transaction. `columns` are those of the table `event`.
    """
    _choose(con, horizons, limit)
    if not con.execute("SELECT count(*) FROM leaving").fetchall()[0][0]:
        return None
    _gather(con, event_struct(columns))
    [(first,)] = con.execute("SELECT epoch_us(min(injected_at)) FROM leaving WHERE n >= 0").fetchall()
    part = parts.write(con, _JOURNEYS, format_instant(first)[:10])
    if part is None:
        return None
    parts.enter(con, part, now)
    for table in ("unit", "event", "correction", "message"):
        con.execute(f"DELETE FROM {table} WHERE unit_id IN (SELECT unit_id FROM leaving)")
    for table in ("leaving_unit", "leaving", "told", "reach", "journey_events"):
        con.execute(f"DROP TABLE {table}")
    return part


_LAST_MOMENT = "greatest(last_event_at, oob.moment, complained_at)"


def _choose(con: duckdb.DuckDBPyConnection, horizons: Horizons, limit: int) -> None:
    """Make `leaving`: flat rows of what goes, each with its weight, kind and version."""
    con.execute(
        "CREATE OR REPLACE TEMP TABLE leaving_unit AS SELECT unit_id FROM unit WHERE CASE "
        "WHEN terminal IS NULL THEN last_event_at < make_timestamp($silent) "
        "WHEN terminal.outcome = 'transferred' AND successor IS NULL "
        f"THEN {_LAST_MOMENT} < make_timestamp($handed_on) "
        f"ELSE {_LAST_MOMENT} < make_timestamp($finished) END ORDER BY last_event_at LIMIT $limit",
        {"silent": horizons.silent, "handed_on": horizons.handed_on, "finished": horizons.finished, "limit": limit},
    )
    gone = "unit_id IN (SELECT unit_id FROM leaving_unit)"
    names = ", ".join(column.name for column in COLUMNS)
    version = "coalesce((SELECT max(c.version) + 1 FROM correction c WHERE c.unit_id = f.unit_id), 0)::UTINYINT"
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE leaving AS SELECT n, 'recipient' AS kind, {version} AS version, profile, "
        f"{names} "
        f"FROM ({flat('unit')}) f WHERE {gone} UNION ALL "
        f"SELECT n, 'recipient', version, profile, {names} FROM correction WHERE {gone}"
    )
    quiet = {"quiet": horizons.finished, "limit": limit}
    messages = flat("message", n="0", profile="0")
    con.execute(
        f"INSERT INTO leaving SELECT n, 'message', 0, profile, {names} FROM ({messages}) m "
        "WHERE last_event_at < make_timestamp($quiet) AND NOT EXISTS (SELECT 1 FROM unit u "
        "WHERE u.message_key = m.message_key AND u.unit_id NOT IN (SELECT unit_id FROM leaving_unit)) LIMIT $limit",
        quiet,
    )
    events = (
        "(SELECT * FROM event WHERE type IN ('rejection', 'oob_bounce', 'complaint') "
        "AND time < make_timestamp($quiet) AND unit_id NOT IN (SELECT unit_id FROM unit) LIMIT $limit)"
    )
    loose = flat(f"({merged(projection(events, 'true'))})", n="0", profile="0")
    con.execute(
        f"INSERT INTO leaving SELECT n, 'loose', 0, profile, {names} FROM ({loose}) "
        "WHERE unit_id NOT IN (SELECT unit_id FROM leaving)",
        quiet,
    )


_TOLD = tuple(measure for measure in MEASURES if measure.of_event is not None)
_COMPARED = tuple(dimension for dimension in DIMENSIONS.values() if not dimension.of_failure)


def _gather(con: duckdb.DuckDBPyConnection, struct: str) -> None:
    """Make `journey_events`: the events of each that leaves, as a list, and how often they count as what.

    Most have one or two: those are put together by joins, because gathering structs by aggregation takes ten times
    as long.
    """
    of_events = ", ".join(
        [f"({measure.of_event}) AS is_{measure.name}" for measure in _TOLD]
        + [f"{dimension.of_event} AS e_{dimension.name}" for dimension in _COMPARED]
    )
    of_rows = ", ".join(f"{dimension.of_recipient} AS r_{dimension.name}" for dimension in _COMPARED)
    differs = " OR ".join(f"e_{dimension.name} IS DISTINCT FROM r_{dimension.name}" for dimension in _COMPARED)
    counts = ", ".join(f"is_{measure.name}" for measure in _TOLD)
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE told AS SELECT e.unit_id, {struct} AS e, e.time, counts, {differs} AS differs, "
        f"{counts} FROM (SELECT *, {of_events}, ({COUNTED_EVENTS}) AS counts FROM event) e "
        f"JOIN (SELECT *, {of_rows} FROM leaving) r ON r.unit_id = e.unit_id AND r.n >= 0"
    )
    sums = ", ".join(f"count(*) FILTER (is_{measure.name})::USMALLINT AS told_{measure.name}" for measure in _TOLD)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE reach AS SELECT unit_id, min(rowid) AS first, max(rowid) AS last, "
        f"count(*) AS events, {sums}, min(time) FILTER (counts) AS told_first, max(time) FILTER (counts) AS told_last, "
        "coalesce(bool_or(differs) FILTER (counts), false) AS differs FROM told GROUP BY unit_id"
    )
    con.execute(
        "CREATE OR REPLACE TEMP TABLE journey_events AS "
        "SELECT r.unit_id, CASE WHEN r.events = 1 THEN [a.e] ELSE [a.e, b.e] END AS events "
        "FROM reach r JOIN told a ON a.rowid = r.first JOIN told b ON b.rowid = r.last WHERE r.events <= 2 UNION ALL "
        "SELECT unit_id, list(e) FROM told WHERE unit_id IN (SELECT unit_id FROM reach WHERE events > 2) "
        "GROUP BY unit_id"
    )


# Tries that differ in no dimension from their recipient and lie within one minute can be counted from its row alone.
_APART = "j.differs OR date_trunc('minute', j.told_first) <> date_trunc('minute', j.told_last)"
_NAMES = ", ".join(f"told_{measure.name}" for measure in _TOLD)
_JOURNEYS = (
    "SELECT * FROM ("
    + packed(
        f"(SELECT l.*, {PLAIN} AS plain, coalesce(g.events, []) AS events, {_NAMES}, "
        f"j.told_first AS told_at, coalesce({_APART}, false) AS told_apart FROM leaving l "
        "LEFT JOIN reach j ON j.unit_id = l.unit_id AND l.n >= 0 "
        "LEFT JOIN journey_events g ON g.unit_id = l.unit_id AND l.n >= 0)"
    )
    + ") ORDER BY plain DESC, injected_at, message_key, unit_id, n"
)
