"""Counts over time: what every recipient adds to which bucket, as signed rows that are only ever appended.

A profile says what a recipient counts as (analytics/profile.py); `MEASURES` defines every count of METRICS.md once, as
a condition over such a profile plus the instant at which the *event clock* counts it; on the *cohort clock* everything
counts at injection. When a unit changes, what it added before is appended negated and what it adds now is appended as
it is; a figure is the sum of its bucket's rows. A late bounce thus corrects the bucket of its send without rewriting
anything (promise 10), and the table can be rebuilt from recipients and events at any time, which the tests do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from analytics.dimensions import DIMENSIONS, ROLLED, Facet
from analytics.profile import unfolded
from analytics.recipients import COLUMNS

__all__ = [
    "COUNTED_EVENTS",
    "MEASURES",
    "MEASURE_NAMES",
    "ROLLED",
    "TRIES",
    "Measure",
    "compaction",
    "condensed",
    "contributions",
    "create_rollup_table",
    "moments",
    "of_one_facet",
    "summed",
]

BUCKET = "1 minute"
COARSE_BUCKET = "5 minutes"
"""Buckets older than the fine horizon are merged into these."""
OLD_BUCKET = "15 minutes"
"""And much older ones into these: the days of every time zone begin at a multiple of it (METRICS.md rule 9)."""

_ATTEMPT = "type IN ('delivery', 'deferral', 'bounce')"


@dataclass(frozen=True, slots=True)
class Measure:
    """One count.

    `value` is SQL over the traits of a profile, or the name of a column to be summed up; `event_at` the instant of the
    event clock, a column of a flat row, None if only the cohort clock knows it. `of_event` marks counts of attempts and
    refusals, which the event clock takes from events. `facet` says which of the recipient's failures it counts, if any:
    its traits are what the count can be split by.
    """

    name: str
    value: str
    event_at: str | None
    of_event: str | None = None
    facet: Facet = ""

    @property
    def counted(self) -> str:
        """SQL of what a row adds that stands for `n` recipients and holds the sums of their tries."""
        if self.value in TRIES:
            return self.value
        if self.of_event is not None:
            return f"n * ({self.value})::BIGINT"
        return f"CASE WHEN absorbed THEN 0 ELSE n * ({self.value})::BIGINT END"


TRIES = {
    "tries": "n * coalesce(attempts, 0)::BIGINT",
    "tries_deferred": "n * coalesce(deferrals, 0)::BIGINT",
    "tries_held_up": "n * coalesce(local_attempts, 0)::BIGINT",
}
"""What is summed up rather than counted: SQL over a flat row."""

_SEVERITIES = ("hard", "soft", "block", "undetermined")

MEASURES: tuple[Measure, ...] = (
    Measure("injected", "1", "injected_at"),
    Measure("in_flight", "outcome = 'in_flight'", None),
    *(Measure(name, f"outcome = '{name}'", "terminal_moment",
              facet="" if name in {"delivered", "transferred"} else "final")
      for name in ("delivered", "bounced", "expired", "admin_bounced", "suppressed", "transferred")),
    Measure("delivered_first", "at_once", "terminal_moment"),
    *(Measure(name, f"verdict = '{name}'", "terminal_moment", facet="final") for name in _SEVERITIES),
    Measure("local_failures", "failed_locally", "terminal_moment", facet="final"),
    Measure("attempted", "attempted", "first_attempt_at"),
    Measure("deferred", "deferred", "first_attempt_at", facet="deferral"),
    Measure("deferred_locally", "held_up", "injected_at", facet="deferral"),
    Measure("oob_bounced", "oob_verdict <> ''", "oob_moment", facet="oob"),
    *(Measure(f"oob_{name}", f"oob_verdict = '{name}'", "oob_moment", facet="oob")
      for name in _SEVERITIES),
    Measure("complained", "complained", "complained_at"),
    Measure("complainable", "complainable", "terminal_moment"),
    Measure("attempts", "tries", None, f"{_ATTEMPT} AND origin = 'remote'"),
    Measure("attempt_deferrals", "tries_deferred", None, "type = 'deferral' AND origin = 'remote'", facet="deferral"),
    Measure("attempt_bounces", "refused_remotely", None, "type = 'bounce' AND origin = 'remote'", facet="final"),
    Measure("local_attempts", "tries_held_up", None, f"{_ATTEMPT} AND origin = 'local'", facet="deferral"),
    Measure("rejected", "0", None, "type = 'rejection'"),
)  # fmt: skip
"""Every count."""

MEASURE_NAMES = tuple(measure.name for measure in MEASURES)
COUNTED_EVENTS = " OR ".join(f"({measure.of_event})" for measure in MEASURES if measure.of_event)
"""SQL over an event row: some measure counts it."""


_COUNTED_BY = " ".join(
    (
        *TRIES.values(),
        *(measure.event_at for measure in MEASURES if measure.event_at is not None),
        *(DIMENSIONS[name].of_recipient for name in ROLLED),
    )
)
"""Every expression over a flat row that decides, besides its profile, which figures it adds to."""


def create_rollup_table() -> str:
    """DDL of `rollup`."""
    dimensions = ", ".join(f"{name} VARCHAR NOT NULL" for name in ROLLED)
    measures = ", ".join(f"{name} BIGINT NOT NULL" for name in MEASURE_NAMES)
    return f"CREATE TABLE rollup (clock rate_clock NOT NULL, bucket TIMESTAMP NOT NULL, {dimensions}, {measures})"


def moments(clock: str) -> list[tuple[str, list[Measure]]]:
    """At which columns of a flat row a clock counts what."""
    if clock == "cohort":
        return [("injected_at", list(MEASURES))]
    found: dict[str, list[Measure]] = {}
    for measure in MEASURES:
        if measure.event_at is not None:
            found.setdefault(measure.event_at, []).append(measure)
    return list(found.items())


def of_one_facet(measures: Sequence[Measure], dimensions: Sequence[str]) -> list[list[Measure]]:
    """Measures that one row can hold: all of them, unless traits of failures are asked for, which differ by facet."""
    if not any(DIMENSIONS[name].of_failure for name in dimensions):
        return [list(measures)]
    facets = dict.fromkeys(measure.facet for measure in measures)
    return [[measure for measure in measures if measure.facet == facet] for facet in facets]


def contributions(recipients: str | None, events: str | None, dimensions: Sequence[str] = ROLLED) -> str:
    """SELECT of (clock, bucket, dimensions..., measures...) that the rows of these relations add.

    Flat rows of recipients, with their weights, give the cohort clock and the outcomes of the event clock; event rows
    give attempts and refusals. Either relation may be None. Rows are not summed up: the caller groups them, or appends
    them as they are. A recipient may add several rows, one for each failure of it whose traits are asked for.
    """
    selects: list[str] = []
    if recipients is not None:
        selects.extend(
            _of_recipients(recipients, dimensions, clock, at, counted)
            for clock in ("cohort", "event")
            for at, measures in moments(clock)
            for counted in of_one_facet(measures, dimensions)
        )
    if events is not None:
        selects.extend(_of_events(events, dimensions))
    return " UNION ALL ".join(selects)


def condensed(recipients: str) -> str:
    """SELECT of flat rows that add the same as `recipients` do, by `ROLLED` dimensions only: few instead of many.

    They know only what a profile and a bucket need; instants are cut to the bucket, and `n` is the sum of the weights.
    """
    columns = ", ".join(
        f"time_bucket(INTERVAL '{BUCKET}', {column.name}) AS {column.name}"
        if column.sql_type == "TIMESTAMP"
        else column.name
        for column in COLUMNS
        if re.search(rf"\b{column.name}\b", _COUNTED_BY)
    )
    return f"SELECT sum(n)::BIGINT AS n, profile, {columns} FROM {recipients} GROUP BY ALL HAVING sum(n) <> 0"


def summed(select: str, dimensions: Sequence[str] = ROLLED) -> str:
    """SELECT that adds up rows of `contributions`, leaving out buckets in which nothing is left."""
    keys = ", ".join(("clock", "bucket", *dimensions))
    sums = ", ".join(f"sum({name})::BIGINT AS {name}" for name in MEASURE_NAMES)
    kept = " OR ".join(f"{name} <> 0" for name in MEASURE_NAMES)
    return f"SELECT * FROM (SELECT {keys}, {sums} FROM ({select}) GROUP BY ALL) WHERE {kept}"


def compaction() -> str:
    """SELECT of the rollup since `$since`, one row a key; buckets before `$fine` and before `$coarse` are coarser."""
    keys = ", ".join(ROLLED)
    sums = ", ".join(f"sum({name})::BIGINT AS {name}" for name in MEASURE_NAMES)
    bucket = (
        f"CASE WHEN bucket < make_timestamp($coarse) THEN time_bucket(INTERVAL '{OLD_BUCKET}', bucket) "
        f"WHEN bucket < make_timestamp($fine) THEN time_bucket(INTERVAL '{COARSE_BUCKET}', bucket) ELSE bucket END"
    )
    rows = "rollup WHERE bucket >= make_timestamp($since)"
    return f"SELECT clock, {bucket} AS bucket, {keys}, {sums} FROM {rows} GROUP BY ALL ORDER BY ALL"


def _of_recipients(recipients: str, dimensions: Sequence[str], clock: str, at: str, counted: Sequence[Measure]) -> str:
    names = {measure.name for measure in counted}
    keys = "".join(f", {DIMENSIONS[name].of_facet(counted[0].facet)} AS {name}" for name in dimensions)
    tries = ", ".join(f"{sql} AS {name}" for name, sql in TRIES.items())
    values = ", ".join(
        f"{measure.counted} AS {measure.name}" if measure.name in names else f"0 AS {measure.name}"
        for measure in MEASURES
    )
    profiled = (
        f"SELECT time_bucket(INTERVAL '{BUCKET}', {at}) AS bucket{keys}, n, {tries}, {unfolded()} FROM {recipients} "
        f"WHERE {at} IS NOT NULL"
    )
    named = "".join(f", {name}" for name in dimensions)
    return f"SELECT '{clock}'::rate_clock AS clock, bucket{named}, {values} FROM ({profiled})"


def _of_events(events: str, dimensions: Sequence[str]) -> list[str]:
    """Attempts count at their own time; a refusal, which has no unit, counts on both clocks at its time."""
    keys = "".join(f", {DIMENSIONS[name].of_event} AS {name}" for name in dimensions)
    selects = []
    for clock, wanted in (("event", COUNTED_EVENTS), ("cohort", "type = 'rejection'")):
        values = ", ".join(
            f"coalesce(({measure.of_event})::BIGINT, 0) AS {measure.name}"
            if measure.of_event
            else f"0 AS {measure.name}"
            for measure in MEASURES
        )
        selects.append(
            f"SELECT '{clock}'::rate_clock AS clock, time_bucket(INTERVAL '{BUCKET}', time) AS bucket{keys}, {values} "
            f"FROM {events} WHERE {wanted}"
        )
    return selects
