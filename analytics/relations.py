"""Where questions find recipients and events, whether they are still in the tables or sealed in parts.

A question says which time it is about and on which clock; what lies outside need not be read. The relations have the
columns of a flat row (analytics/recipients.py; count by `sum(n)`) and of the table `event` (analytics/schema). Ask with
`Store.query`, which fills in the parts that exist in the transaction of the question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from analytics.dimensions import DIMENSIONS
from analytics.figures import Told
from analytics.journeys import unpacked, unpacked_events, unpacked_tries
from analytics.parts import optional
from analytics.recipients import COLUMNS, flat
from analytics.rollup import MEASURES
from analytics.store import Store

__all__ = ["Clock", "events", "standing", "told", "units"]

Clock = Literal["event", "cohort"]

_COLUMNS = ", ".join(("n", "profile", *(column.name for column in COLUMNS)))


def units(store: Store, clock: Clock = "cohort", since: int | None = None, until: int | None = None) -> str:  # noqa: ARG001
    """SQL of the relation of recipients that may count in [`since`, `until`) on that clock (microseconds)."""
    sealed = optional(
        lambda rows: f" UNION ALL {unpacked(rows)} WHERE n <> 0",
        since,
        until,
        "injected" if clock == "cohort" else "moment",
    )
    return f"({flat('unit')} UNION ALL SELECT {_COLUMNS} FROM correction{sealed})"


def standing(store: Store, since: int | None = None, until: int | None = None) -> str:  # noqa: ARG001  (as the others)
    """SQL of the relation of recipients injected in [`since`, `until`), each once and as it is now.

    For what cannot be summed with signs, such as percentiles. Of a recipient that was taken back, the version counts
    that was sealed after.
    """
    taken_back = "SELECT unit_id, version FROM correction UNION ALL SELECT unit_id, version FROM {0} WHERE n = -1"
    current = "NOT EXISTS (SELECT 1 FROM ({}) t WHERE t.unit_id = r.unit_id AND t.version >= r.version)"

    def sealed(rows: str) -> str:
        return f" UNION ALL {unpacked(f'{rows} r')} WHERE n = 1 AND {current.format(taken_back.format(rows))}"

    return f"({flat('unit')}{optional(sealed, since, until, 'injected')})"


def events(
    store: Store, since: int | None = None, until: int | None = None, *, about: str = "true", rows: str = "true"
) -> str:
    """SQL of the relation of events that happened in [`since`, `until`).

    `about` is a condition on `unit_id` or `message_key` that spares reading others; `rows` is one that only sealed rows
    have to meet (`kind`, `plain`), where the caller knows that others cannot matter.
    """
    columns = store.event_columns
    where = f"len(events) > 0 AND ({about}) AND ({rows})"
    sealed = optional(
        lambda relation: f" UNION ALL {unpacked_events(relation, columns, where)}", since, until, "moment"
    )
    return f"(SELECT {', '.join(columns)} FROM event WHERE {about}{sealed})"


def told(store: Store, clock: Clock, since: int | None, until: int | None, dimensions: Sequence[str]) -> Told:
    """What figures on a clock need to know of tries and refusals in [`since`, `until`).

    On the cohort clock that is refusals alone. Traits of failures are told by events, not by rows of recipients.
    """
    if clock == "cohort":
        return Told(events(store, since, until, rows="kind = 'loose'"))
    alone = "NOT told_apart"
    if any(DIMENSIONS[name].of_failure for name in dimensions):
        alone += " AND told_attempt_deferrals + told_attempt_bounces + told_local_attempts = 0"
    sealed = optional(lambda rows: f" UNION ALL {unpacked_tries(rows, alone)}", since, until, "moment")
    none = "SELECT n, profile, " + ", ".join(column.name for column in COLUMNS)
    counts = "".join(f", 0 AS told_{measure.name}" for measure in MEASURES if measure.of_event is not None)
    return Told(
        events(store, since, until, rows=f"NOT ({alone})"),
        f"({none}, injected_at AS told_at{counts} FROM correction WHERE false{sealed})",
    )
