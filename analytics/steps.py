"""Counts by 5-minute step of event time: what the spike detector is fed, kept in the ingest transaction.

Each load appends the rows of what it stored for the first time; the sum of a key's rows is its count. So a restart, a
replay or a late record changes a step exactly once, four weeks are read without touching an event, and moving old
events elsewhere does not matter. The watcher adds the rows of finished steps up and drops those that nobody asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from mta.events.instants import DAY, HOUR, MINUTE

__all__ = [
    "KEPT",
    "MEASURES",
    "PARTS",
    "STEP",
    "StepCount",
    "count_complaints",
    "count_outcomes",
    "fill",
    "read",
    "read_past",
    "tidy",
]

STEP = 5 * MINUTE
PARTS = ("tenant", "pool")
"""Dimensions whose values are watched within each provider."""
MEASURES = {
    "ended": "type IN ('delivery', 'bounce', 'expiration')",
    "delivered": "type = 'delivery'",
    "blocked": "type = 'bounce' AND severity = 'block'",
    "answered": "type IN ('delivery', 'bounce', 'deferral') AND origin = 'remote'",
    "deferred": "type = 'deferral' AND origin = 'remote'",
    "complained": "type = 'complaint'",
}
"""Measure to condition on an event row. Complaints are counted when the mail that they are about is known."""
KEPT = 36 * DAY
"""How long steps are kept: four weeks before a month that is replayed would be more than anybody compares with."""


@dataclass(frozen=True, slots=True)
class StepCount:
    """Counts of one key in one step, which began at `step` microseconds. `dimension` is "" for the whole provider."""

    step: int
    provider: str
    dimension: str
    value: str
    ended: int
    delivered: int
    blocked: int
    answered: int
    deferred: int
    complained: int

    @property
    def failed(self) -> int:
        """Recipients that bounced or expired."""
        return self.ended - self.delivered


def count_outcomes(con: duckdb.DuckDBPyConnection, new: str) -> None:
    """Append the counts of the relation `new` (event rows that were never stored before)."""
    columns = {**MEASURES, "complained": "false"}
    con.execute(_appending(new, {name: name for name in ("provider", *PARTS)}, columns, "direction = 'outbound'"))


def count_complaints(con: duckdb.DuckDBPyConnection, attributed: str) -> None:
    """Append the complaints of the relation `attributed`: time, type and unit_id of reports whose mail was found."""
    columns = dict.fromkeys(MEASURES, "false") | {"complained": "true"}
    keys = {name: f"{name}.name" for name in ("provider", *PARTS)}
    con.execute(_appending(f"{attributed} JOIN unit USING (unit_id)", keys, columns, "type = 'complaint'"))


def fill(con: duckdb.DuckDBPyConnection) -> None:
    """Count everything that is stored: for a store that an earlier version wrote."""
    count_outcomes(con, "event")
    count_complaints(con, "(SELECT time, type, unit_id FROM feedback WHERE unit_id IS NOT NULL)")


def tidy(con: duckdb.DuckDBPyConnection, since: int, until: int) -> None:
    """Add up the rows of the steps in [`since`, `until`), and drop those older than `KEPT`."""
    bounds = {"since": since, "until": until}
    chosen = "step >= make_timestamp($since) AND step < make_timestamp($until)"
    con.execute(f"CREATE OR REPLACE TEMP TABLE tidied AS {summed(chosen)}", bounds)
    con.execute(f"DELETE FROM step_count WHERE {chosen}", bounds)
    con.execute("INSERT INTO step_count SELECT * FROM tidied ORDER BY ALL")
    con.execute("DELETE FROM step_count WHERE step < make_timestamp(?)", [max(0, until - KEPT)])


def summed(chosen: str) -> str:
    """SELECT of one row a key and step, of the rows that the condition chooses."""
    sums = ", ".join(f"sum({name})::BIGINT AS {name}" for name in MEASURES)
    return f"SELECT step, provider, dimension, value, {sums} FROM step_count WHERE {chosen} GROUP BY ALL"


def read(
    con: duckdb.DuckDBPyConnection, since: int, until: int, dimensions: Sequence[str] = ("", *PARTS)
) -> list[StepCount]:
    """The counts of the steps that begin in [`since`, `until`), in order of steps, a provider before its parts."""
    names = ", ".join(MEASURES)
    rows = con.execute(
        f"SELECT epoch_us(step), provider, dimension, value, {names} FROM ("
        + summed("step >= make_timestamp($since) AND step < make_timestamp($until) AND list_contains($of, dimension)")
        + ") ORDER BY ALL",
        {"since": max(0, since), "until": max(0, until), "of": list(dimensions)},
    ).fetchall()
    return [StepCount(*row) for row in rows]


def read_past(con: duckdb.DuckDBPyConnection, since: int, until: int, fine: int) -> list[StepCount]:
    """The counts of whole hours in [`since`, `until`): every `fine`-th by steps, the others as one count an hour."""
    names = ", ".join(MEASURES)
    sums = ", ".join(f"sum({name})::BIGINT" for name in MEASURES)
    at = (
        f"CASE WHEN epoch_us(step) // {HOUR} % $fine = 0 THEN epoch_us(step) ELSE epoch_us(step) // {HOUR} * {HOUR} END"
    )
    rows = con.execute(
        f"SELECT {at} AS moment, provider, dimension, value, {sums} FROM (SELECT step, provider, dimension, value, "
        f"{names} FROM step_count WHERE step >= make_timestamp($since) AND step < make_timestamp($until)) "
        "GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4",
        {"since": max(0, since) // HOUR * HOUR, "until": max(0, until) // HOUR * HOUR, "fine": fine},
    ).fetchall()
    return [StepCount(*row) for row in rows]


def _appending(relation: str, keys: dict[str, str], columns: dict[str, str], where: str) -> str:
    """INSERT of the provider's row, and of one for each tenant and pool that is named, for every step."""
    named = ", ".join(f"{sql} AS {name}" for name, sql in keys.items())
    flags = ", ".join(f"coalesce({condition}, false) AS {name}" for name, condition in columns.items())
    sums = ", ".join(f"count(*) FILTER ({name}) AS {name}" for name in columns)
    parts = "".join(f" WHEN grouping({part}) = 0 THEN {{}}" for part in PARTS)
    dimension = f"CASE{parts.format(*(repr(part) for part in PARTS))} ELSE '' END"
    value = f"CASE{parts.format(*PARTS)} ELSE '' END"
    sets = ", ".join(("(step, provider)", *(f"(step, provider, {part})" for part in PARTS)))
    return (
        f"INSERT INTO step_count (step, provider, dimension, value, {', '.join(columns)}) SELECT * FROM ("
        f"SELECT step, provider, {dimension} AS dimension, {value} AS value, {sums} "
        f"FROM (SELECT time_bucket(INTERVAL 5 MINUTE, time) AS step, {named}, {flags} FROM {relation} WHERE {where}) "
        f"WHERE {' OR '.join(columns)} GROUP BY GROUPING SETS ({sets})) WHERE dimension = '' OR value <> ''"
    )
