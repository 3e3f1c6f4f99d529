"""Where questions find recipients and events, whether they are still in the tables or sealed in parts.

A question says which time it is about and on which clock; what lies outside need not be read. The relations have the
columns of a flat row (analytics/recipients.py; count by `sum(n)`) and of the table `event` (analytics/schema). Ask with
`Store.query`, which fills in the parts that exist in the transaction of the question.
"""

from __future__ import annotations

from typing import Literal

from analytics.journeys import unpacked, unpacked_events
from analytics.parts import optional
from analytics.recipients import COLUMNS, flat
from analytics.store import Store

__all__ = ["Clock", "events", "units"]

Clock = Literal["event", "cohort"]

_COLUMNS = ", ".join(("n", *(column.name for column in COLUMNS)))


def units(store: Store, clock: Clock = "cohort", since: int | None = None, until: int | None = None) -> str:  # noqa: ARG001
    """SQL of the relation of recipients that may count in [`since`, `until`) on that clock (microseconds)."""
    sealed = optional(
        lambda rows: f" UNION ALL {unpacked(rows)} WHERE n <> 0",
        since,
        until,
        "injected" if clock == "cohort" else "moment",
    )
    return f"({flat('unit')} UNION ALL SELECT {_COLUMNS} FROM correction{sealed})"


def events(store: Store, since: int | None = None, until: int | None = None) -> str:
    """SQL of the relation of events that happened in [`since`, `until`)."""
    columns = store.event_columns
    sealed = optional(
        lambda rows: f" UNION ALL {unpacked_events(rows, columns, 'len(events) > 0')}", since, until, "moment"
    )
    return f"(SELECT {', '.join(columns)} FROM event{sealed})"
