"""Counts over time: what every recipient adds to which bucket, as signed rows that are only ever appended.

`PROFILE` says what a recipient counts as, over a flat row (analytics/recipients.py); `MEASURES` defines every count of
METRICS.md once, as a condition over such a profile plus the instant at which the *event clock* counts it; on the
*cohort clock* everything counts at injection. When a unit changes, what it added before is appended negated and what it
adds now is appended as it is; a figure is the sum of its bucket's rows. A late bounce thus corrects the bucket of its
send without rewriting anything (promise 10), and the table can be rebuilt from recipients and events at any time, which
the tests do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from analytics.dimensions import DIMENSIONS, ROLLED, Facet
from analytics.recipients import COLUMNS

__all__ = [
    "COUNTED_EVENTS",
    "MEASURES",
    "MEASURE_NAMES",
    "PROFILE",
    "ROLLED",
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

_LOOPS = "(SELECT provider FROM provider_label WHERE runs_loop)"
_ATTEMPT = "type IN ('delivery', 'deferral', 'bounce')"
_FAILED = "coalesce(terminal_outcome IN ('bounced', 'expired'), false)"
_DELIVERED = "coalesce(terminal_outcome = 'delivered', false)"


def _final(field: str) -> str:
    """A field of the failure that decided.

    An expired recipient counts by its last 4xx (METRICS.md): the text of the expiry itself is ours and says nothing
    about the provider.
    """
    last_4xx = f"coalesce(last_deferral_{field}, terminal_{field})"
    return f"CASE WHEN terminal_outcome = 'expired' THEN {last_4xx} ELSE terminal_{field} END"


def _verdict(applies: str, bounce_class: str, severity: str) -> str:
    judged = f"CASE WHEN {bounce_class} = 'unknown' THEN 'undetermined' ELSE coalesce({severity}, '') END"
    return f"CASE WHEN {applies} THEN {judged} END"


PROFILE: dict[str, str] = {
    "outcome": "coalesce(terminal_outcome, 'in_flight')",
    "verdict": _verdict(_FAILED, _final("class"), _final("severity")),
    "failed_locally": f"{_FAILED} AND coalesce({_final('origin')} = 'local', false)",
    "refused_remotely": "coalesce(terminal_outcome = 'bounced' AND terminal_origin = 'remote', false)",
    "at_once": f"{_DELIVERED} AND coalesce(delivered_attempt = 1, false) AND deferred_at IS NULL",
    "attempted": "first_attempt_at IS NOT NULL",
    "deferred": "deferred_at IS NOT NULL",
    "held_up": "held_up_at IS NOT NULL",
    "oob_verdict": _verdict(f"{_DELIVERED} AND oob_moment IS NOT NULL", "oob_class", "oob_severity"),
    "complained": "complained_at IS NOT NULL",
    # Only a provider that runs a feedback loop can complain; elsewhere silence means nothing (promise 6).
    "complainable": f"{_DELIVERED} AND provider_name IN {_LOOPS}",
    "tries": "coalesce(attempts, 0)::BIGINT",
    "tries_deferred": "coalesce(deferrals, 0)::BIGINT",
    "tries_held_up": "coalesce(local_attempts, 0)::BIGINT",
    # A hop that its next hop stands for counts as nothing but the tries that were made there.
    "absorbed": "successor IS NOT NULL",
}
"""What a recipient counts as: SQL over a flat row. Few profiles exist, so many recipients condense to few rows."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One count.

    `value` is SQL over a profile (a number or a condition); `event_at` the instant of the event clock, a column of a
    flat row, None if only the cohort clock knows it. `of_event` marks counts of attempts and refusals, which the event
    clock takes from events. `facet` says which of the recipient's failures it counts, if any: its traits are what the
    count can be split by.
    """

    name: str
    value: str
    event_at: str | None
    of_event: str | None = None
    facet: Facet = ""

    @property
    def counted(self) -> str:
        """SQL of what a row with weight `n` adds."""
        if self.of_event is not None:
            return f"n * ({self.value})::BIGINT"
        return f"CASE WHEN absorbed THEN 0 ELSE n * ({self.value})::BIGINT END"


_SEVERITIES = ("hard", "soft", "block", "undetermined")

MEASURES: tuple[Measure, ...] = (
    Measure("injected", "1", "injected_at"),
    Measure("in_flight", "outcome = 'in_flight'", None),
    *(Measure(name, f"outcome = '{name}'", "terminal_moment",
              facet="" if name in {"delivered", "transferred"} else "final")
      for name in ("delivered", "bounced", "expired", "admin_bounced", "suppressed", "transferred")),
    Measure("delivered_first", "at_once", "terminal_moment"),
    *(Measure(name, f"coalesce(verdict = '{name}', false)", "terminal_moment", facet="final") for name in _SEVERITIES),
    Measure("local_failures", "failed_locally", "terminal_moment", facet="final"),
    Measure("attempted", "attempted", "first_attempt_at"),
    Measure("deferred", "deferred", "first_attempt_at", facet="deferral"),
    Measure("deferred_locally", "held_up", "injected_at", facet="deferral"),
    Measure("oob_bounced", "oob_verdict IS NOT NULL", "oob_moment", facet="oob"),
    *(Measure(f"oob_{name}", f"coalesce(oob_verdict = '{name}', false)", "oob_moment", facet="oob")
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
        *PROFILE.values(),
        *(measure.event_at for measure in MEASURES if measure.event_at is not None),
        *(DIMENSIONS[name].of_recipient for name in ROLLED),
    )
)
"""Every expression over a flat row that decides which figures it adds to."""


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
    return f"SELECT sum(n)::BIGINT AS n, {columns} FROM {recipients} GROUP BY ALL HAVING sum(n) <> 0"


def summed(select: str, dimensions: Sequence[str] = ROLLED) -> str:
    """SELECT that adds up rows of `contributions`, leaving out buckets in which nothing is left."""
    keys = ", ".join(("clock", "bucket", *dimensions))
    sums = ", ".join(f"sum({name})::BIGINT AS {name}" for name in MEASURE_NAMES)
    kept = " OR ".join(f"{name} <> 0" for name in MEASURE_NAMES)
    return f"SELECT * FROM (SELECT {keys}, {sums} FROM ({select}) GROUP BY ALL) WHERE {kept}"


def compaction() -> str:
    """SELECT of the whole rollup with one row a key, old buckets coarsened; bind the fine horizon as $horizon."""
    keys = ", ".join(ROLLED)
    sums = ", ".join(f"sum({name})::BIGINT AS {name}" for name in MEASURE_NAMES)
    bucket = f"CASE WHEN bucket < $horizon THEN time_bucket(INTERVAL '{COARSE_BUCKET}', bucket) ELSE bucket END"
    return f"SELECT clock, {bucket} AS bucket, {keys}, {sums} FROM rollup GROUP BY ALL ORDER BY ALL"


def _of_recipients(recipients: str, dimensions: Sequence[str], clock: str, at: str, counted: Sequence[Measure]) -> str:
    names = {measure.name for measure in counted}
    keys = "".join(f", {DIMENSIONS[name].of_facet(counted[0].facet)} AS {name}" for name in dimensions)
    profile = ", ".join(f"{sql} AS {name}" for name, sql in PROFILE.items())
    values = ", ".join(
        f"{measure.counted} AS {measure.name}" if measure.name in names else f"0 AS {measure.name}"
        for measure in MEASURES
    )
    profiled = (
        f"SELECT time_bucket(INTERVAL '{BUCKET}', {at}) AS bucket{keys}, n, {profile} FROM {recipients} "
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
