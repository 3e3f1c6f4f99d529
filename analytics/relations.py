"""Where questions find recipients and events: the names of the tables, in one place.

A question says which time it is about and on which clock; what lies outside need not be read. The relations have the
columns of `unit` (analytics/lifecycle.py) and of `event` (analytics/schema).
"""

from __future__ import annotations

from typing import Literal

from analytics.store import Store

__all__ = ["Clock", "events", "units"]

Clock = Literal["event", "cohort"]


def units(store: Store, clock: Clock = "cohort", since: int | None = None, until: int | None = None) -> str:  # noqa: ARG001
    """SQL of the relation of units that may count in [`since`, `until`) (microseconds, None: open) on that clock."""
    return "unit"


def events(store: Store, since: int | None = None, until: int | None = None) -> str:  # noqa: ARG001
    """SQL of the relation of events that happened in [`since`, `until`)."""
    return "event"
