"""What reading one record gives: its events, the kind of thing it was about instead, or a `ParseError`.

A plain tuple of events is the common case and costs nothing extra; that is why "understood" has no class of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mta.events.event import Event

__all__ = ["ALIEN", "BLANK", "UNRECOGNISED", "Ignored", "LineParser", "Outcome"]


@dataclass(frozen=True, slots=True)
class Ignored:
    """The record was understood and is not about mail of the fleet; `kind` is a short stable word for counters."""

    kind: str


Outcome = tuple[Event, ...] | Ignored
"""Events of an understood record (at least one), or why it is none of ours."""

LineParser = Callable[[bytes], Outcome]
"""Reads one line without its line end. Raises ParseError, and nothing else, on whatever it cannot read."""

BLANK = Ignored("blank")
"""An empty line."""

ALIEN = Ignored("other-program")
"""A line of a program that is none of the dialect's, in a log that several share."""

UNRECOGNISED = Ignored("unrecognised")
"""A line of the dialect's server in a form that is not known. It may be about mail: its share is the dialect's gap."""
