"""Counts over time: what every unit adds to which bucket, as signed rows that are only ever appended.

`MEASURES` defines every count of METRICS.md once, as a condition over a unit row plus the instant at which the *event
clock* counts it; on the *cohort clock* everything counts at injection. When a unit changes, what it added before is
appended negated and what it adds now is appended as it is; a figure is the sum of its bucket's rows. A late bounce thus
corrects the bucket of its send without rewriting anything (promise 10), and the table can be rebuilt from `unit` at any
time, which the tests do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analytics.dimensions import DIMENSIONS, ROLLED, Facet
from analytics.lifecycle import INJECTED_AT, OUTCOME

__all__ = [
    "MEASURES",
    "MEASURE_NAMES",
    "ROLLED",
    "Measure",
    "compaction",
    "contributions",
    "create_rollup_table",
    "summed",
]

BUCKET = "1 minute"
COARSE_BUCKET = "5 minutes"
"""Buckets older than the fine horizon are merged into these."""

_LOOPS = "(SELECT provider FROM provider_label WHERE runs_loop)"
_ATTEMPT = "type IN ('delivery', 'deferral', 'bounce')"
_FINAL_FAILURE = f"{OUTCOME} IN ('bounced', 'expired')"


def _final(field: str) -> str:
    """A field of the failure that decided.

    An expired recipient counts by its last 4xx (METRICS.md): the text of the expiry itself is ours and says nothing
    about the provider.
    """
    last_4xx = f"coalesce(last_deferral.{field}, terminal.{field})"
    return f"CASE WHEN {OUTCOME} = 'expired' THEN {last_4xx} ELSE terminal.{field} END"


@dataclass(frozen=True, slots=True)
class Measure:
    """One count.

    `value` is SQL over a unit row (a number); `event_at` the instant of the event clock, None if only the cohort clock
    knows it. `of_event` marks counts of attempts and refusals, which the event clock takes from events. `facet` says
    which of the unit's failures it counts, if any: its traits are what the count can be split by.
    """

    name: str
    value: str
    event_at: str | None
    of_event: str | None = None
    facet: Facet = ""


def _if(condition: str) -> str:
    return f"coalesce(({condition})::BIGINT, 0)"


def _severity(severity: str) -> str:
    unknown = f"{_final('class')} = 'unknown'"
    final = f"{_FINAL_FAILURE} AND {unknown}" if severity == "undetermined" else (
        f"{_FINAL_FAILURE} AND {_final('severity')} = '{severity}' AND NOT coalesce({unknown}, false)")  # fmt: skip
    return _if(final)


def _oob_severity(severity: str) -> str:
    if severity == "undetermined":
        return _if(f"{OUTCOME} = 'delivered' AND oob.class = 'unknown'")
    return _if(f"{OUTCOME} = 'delivered' AND oob.severity = '{severity}' AND oob.class <> 'unknown'")


_SEVERITIES = ("hard", "soft", "block", "undetermined")

MEASURES: tuple[Measure, ...] = (
    Measure("injected", "1", INJECTED_AT),
    Measure("in_flight", _if(f"{OUTCOME} = 'in_flight'"), None),
    *(Measure(name, _if(f"{OUTCOME} = '{name}'"), "terminal.moment",
              facet="" if name in {"delivered", "transferred"} else "final")
      for name in ("delivered", "bounced", "expired", "admin_bounced", "suppressed", "transferred")),
    Measure("delivered_first", _if(f"{OUTCOME} = 'delivered' AND delivered_attempt = 1 AND deferred_at IS NULL"),
            "terminal.moment"),
    *(Measure(name, _severity(name), "terminal.moment", facet="final") for name in _SEVERITIES),
    Measure("local_failures", _if(f"{_FINAL_FAILURE} AND {_final('origin')} = 'local'"), "terminal.moment",
            facet="final"),
    Measure("attempted", _if("first_attempt_at IS NOT NULL"), "first_attempt_at"),
    Measure("deferred", _if("deferred_at IS NOT NULL"), "first_attempt_at", facet="deferral"),
    Measure("deferred_locally", _if("held_up_at IS NOT NULL"), INJECTED_AT, facet="deferral"),
    Measure("oob_bounced", _if(f"{OUTCOME} = 'delivered' AND oob IS NOT NULL"), "oob.moment", facet="oob"),
    *(Measure(f"oob_{name}", _oob_severity(name), "oob.moment", facet="oob") for name in _SEVERITIES),
    Measure("complained", _if("complained_at IS NOT NULL"), "complained_at"),
    # Only a provider that runs a feedback loop can complain; elsewhere silence means nothing (promise 6).
    Measure("complainable", _if(f"{OUTCOME} = 'delivered' AND provider.name IN {_LOOPS}"), "terminal.moment"),
    Measure("attempts", "coalesce(attempts, 0)::BIGINT", None, f"{_ATTEMPT} AND origin = 'remote'"),
    Measure("attempt_deferrals", "coalesce(deferrals, 0)::BIGINT", None, "type = 'deferral' AND origin = 'remote'",
            facet="deferral"),
    Measure("attempt_bounces", _if("terminal.outcome = 'bounced' AND terminal.origin = 'remote'"), None,
            "type = 'bounce' AND origin = 'remote'", facet="final"),
    Measure("local_attempts", "coalesce(local_attempts, 0)::BIGINT", None, f"{_ATTEMPT} AND origin = 'local'",
            facet="deferral"),
    Measure("rejected", "0", None, "type = 'rejection'"),
)  # fmt: skip

MEASURE_NAMES = tuple(measure.name for measure in MEASURES)


def create_rollup_table() -> str:
    """DDL of `rollup`."""
    dimensions = ", ".join(f"{name} VARCHAR NOT NULL" for name in ROLLED)
    measures = ", ".join(f"{name} BIGINT NOT NULL" for name in MEASURE_NAMES)
    return f"CREATE TABLE rollup (clock rate_clock NOT NULL, bucket TIMESTAMP NOT NULL, {dimensions}, {measures})"


def contributions(units: str | None, events: str | None, dimensions: Sequence[str] = ROLLED, *, sign: int = 1) -> str:
    """SELECT of (clock, bucket, dimensions..., measures...) that the rows of these relations add.

    Unit rows give the cohort clock and the outcomes of the event clock; event rows give attempts and refusals. Either
    relation may be None. Rows are not summed up: the caller groups them, or appends them as they are. A unit may add
    several rows, one for each failure of it whose traits are asked for.
    """
    selects: list[str] = []
    if units is not None:
        moments = dict.fromkeys(measure.event_at for measure in MEASURES if measure.event_at is not None)
        times = [("cohort", INJECTED_AT, list(MEASURES))]
        times += [("event", at, [measure for measure in MEASURES if measure.event_at == at]) for at in moments]
        selects.extend(
            _of_units(units, dimensions, clock, at, counted, sign)
            for clock, at, measures in times
            for counted in _together(measures, dimensions)
        )
    if events is not None:
        selects.extend(_of_events(events, dimensions, sign))
    return " UNION ALL ".join(selects)


def _together(measures: Sequence[Measure], dimensions: Sequence[str]) -> list[list[Measure]]:
    """Measures that one row can hold: all of them, unless traits of failures are asked for, which differ by facet."""
    if not any(DIMENSIONS[name].of_failure for name in dimensions):
        return [list(measures)]
    facets = dict.fromkeys(measure.facet for measure in measures)
    return [[measure for measure in measures if measure.facet == facet] for facet in facets]


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


def _of_units(units: str, dimensions: Sequence[str], clock: str, at: str, counted: Sequence[Measure], sign: int) -> str:
    names = {measure.name for measure in counted}
    keys = "".join(f", {DIMENSIONS[name].of_facet(counted[0].facet)} AS {name}" for name in dimensions)
    values = ", ".join(
        f"{sign} * {_counted(measure)} AS {measure.name}" if measure.name in names else f"0 AS {measure.name}"
        for measure in MEASURES
    )
    return (
        f"SELECT '{clock}'::rate_clock AS clock, time_bucket(INTERVAL '{BUCKET}', {at}) AS bucket{keys}, {values} "
        f"FROM {units} WHERE {at} IS NOT NULL"
    )


def _counted(measure: Measure) -> str:
    """What a unit adds: a hop that its next hop stands for adds only the tries that were made there."""
    return measure.value if measure.of_event else f"CASE WHEN successor IS NULL THEN {measure.value} ELSE 0 END"


def _of_events(events: str, dimensions: Sequence[str], sign: int) -> list[str]:
    """Attempts count at their own time; a refusal, which has no unit, counts on both clocks at its time."""
    keys = "".join(f", {DIMENSIONS[name].of_event} AS {name}" for name in dimensions)
    selects = []
    counted = " OR ".join(f"({measure.of_event})" for measure in MEASURES if measure.of_event)
    for clock, wanted in (("event", counted), ("cohort", "type = 'rejection'")):
        values = ", ".join(
            f"{sign} * {_if(measure.of_event)} AS {measure.name}" if measure.of_event else f"0 AS {measure.name}"
            for measure in MEASURES
        )
        selects.append(
            f"SELECT '{clock}'::rate_clock AS clock, time_bucket(INTERVAL '{BUCKET}', time) AS bucket{keys}, {values} "
            f"FROM {events} WHERE {wanted}"
        )
    return selects
