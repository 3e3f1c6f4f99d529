"""How much a new source may send today: plans day by day, counted durably and for all workers of the machine together.

The count of a day is one small file of JSON that is replaced under a lock. So that not every message costs a flush of
the disk, a worker takes a hundredth of the day's allowance at once; what it had taken and not used when it was killed
is lost for that day, never sent twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import orjson

from mta.delivery.settings import WarmUp
from mta.delivery.shared_file import exclusively, replace_file
from mta.events.instants import DAY, SECOND

__all__ = ["WarmUps", "allowance"]

_LOG = logging.getLogger(__name__)
_PORTIONS = 100
_LOOK_AGAIN = 60 * SECOND


def allowance(plan: WarmUp, day: int) -> int | None:
    """Messages on that day of the plan (0 is the first); None once the source is warm. Before the first day: none."""
    if day < 0:
        return 0
    if day < len(plan.per_day):
        return plan.per_day[day]
    allowed = float(plan.per_day[-1])
    for _ in range(day - len(plan.per_day) + 1):
        allowed = max(allowed, 1.0) * plan.growth
        if allowed > plan.until:
            return None
    return int(allowed)


class WarmUps:
    """The plans of all sources, with today's counts in a folder."""

    def __init__(self, plans: Iterable[WarmUp], folder: Path) -> None:
        self._plans = {(plan.source, plan.provider): plan for plan in plans}
        self._folder = folder
        self._day = 0
        self._portion: dict[tuple[str, str], int] = {}
        self._used_up: dict[tuple[str, str], int] = {}
        self.is_empty = not self._plans

    def has_room(self, source: str, provider: str, now: int) -> bool:
        """Whether that source may take another message for the provider."""
        key = self._key(source, provider)
        if key is None:
            return True
        self._turn_page(now)
        return self._portion.get(key, 0) > 0 or (self._used_up.get(key, 0) <= now and self._fetch(key, now))

    def count(self, source: str, provider: str) -> None:
        """A message was given to that source: `has_room` said that it may be."""
        key = self._key(source, provider)
        if key is not None and self._portion.get(key, 0) > 0:
            self._portion[key] -= 1

    def _key(self, source: str, provider: str) -> tuple[str, str] | None:
        for key in ((source, provider), (source, "*")):
            if key in self._plans:
                return key
        return None

    def _turn_page(self, now: int) -> None:
        if now // DAY != self._day:
            self._day = now // DAY
            self._portion.clear()
            self._used_up.clear()

    def _fetch(self, key: tuple[str, str], now: int) -> bool:
        """Take a portion of what is left of the day."""
        plan = self._plans[key]
        begins = datetime(plan.begins.year, plan.begins.month, plan.begins.day, tzinfo=UTC)
        allowed = allowance(plan, self._day - int(begins.timestamp() * SECOND) // DAY)
        if allowed is None:
            self._portion[key] = _PORTIONS
            return True
        try:
            taken = self._reserve(" ".join(key), allowed, max(1, allowed // _PORTIONS))
        except (OSError, ValueError) as error:
            _LOG.error("cannot count warm-up of %s: %s", key[0], error)
            taken = 0
        self._portion[key] = taken
        if not taken:
            self._used_up[key] = now + _LOOK_AGAIN
        return taken > 0

    def _reserve(self, name: str, allowed: int, wanted: int) -> int:
        path = self._folder / f"{datetime.fromtimestamp(self._day * DAY / SECOND, UTC):%Y%m%d}.json"
        with exclusively(self._folder / "lock"):
            counts = orjson.loads(path.read_bytes()) if path.exists() else {}
            taken = max(0, min(wanted, allowed - int(counts.get(name, 0))))
            if taken:
                counts[name] = int(counts.get(name, 0)) + taken
                replace_file(path, orjson.dumps(counts))
        return taken
