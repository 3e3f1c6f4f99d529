"""What a log cannot say about itself: passed to a parser when it is opened, so that parsing stays a pure function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo

__all__ = ["Context"]


@dataclass(frozen=True, slots=True)
class Context:
    """Surroundings of one source.

    `node` names the server in records that do not name theirs. `zone` is that of time stamps that do not tell theirs;
    None is the zone of this machine. A stamp without a year is taken to be in `year`, going on to the next one at its
    end; else it is the latest that is not more than a day after `now` (microseconds UTC, called when needed).
    """

    node: str = ""
    zone: tzinfo | None = None
    year: int | None = None
    now: Callable[[], int] | None = None
