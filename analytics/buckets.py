"""Steps of time that answers are cut into: minutes and hours in UTC; days, weeks and months as people live them.

A day of a zone is not always 24 hours long, and not every zone's days begin at a whole hour of UTC. Buckets of a day
and more are therefore cut in local time and told by the instant at which they begin; figures are kept finely enough for
it (METRICS.md rule 9).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mta.events.errors import SettingsError
from mta.events.instants import HOUR, MINUTE, from_datetime

__all__ = ["STEPS", "Step"]

_FIXED = {
    "1m": MINUTE, "5m": 5 * MINUTE, "10m": 10 * MINUTE, "15m": 15 * MINUTE, "30m": 30 * MINUTE,
    "1h": HOUR, "2h": 2 * HOUR, "3h": 3 * HOUR, "6h": 6 * HOUR, "12h": 12 * HOUR,
}  # fmt: skip
_CALENDAR = {"1d": "day", "1w": "week", "1mo": "month"}
STEPS = (*_FIXED, *_CALENDAR)
"""Every step that can be asked for, by length; weeks begin on Monday."""


@dataclass(frozen=True, slots=True)
class Step:
    """One of `STEPS`, in an IANA zone that matters from a day on. SettingsError names what is unknown."""

    name: str
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.name not in STEPS:
            raise SettingsError(f"{self.name!r} is no step", remedy="one of " + ", ".join(STEPS))
        self._tz()

    @property
    def length(self) -> int | None:
        """Microseconds of a step of fixed length; None for days, weeks and months."""
        return _FIXED.get(self.name)

    def sql(self, instant: str) -> str:
        """SQL of the bucket of a UTC TIMESTAMP expression; the zone is bound as `$zone` for days and longer."""
        if self.length is not None:
            return f"time_bucket(to_microseconds({self.length}), {instant})"
        return f"date_trunc('{_CALENDAR[self.name]}', timezone($zone, timezone('UTC', {instant})))"

    @property
    def parameters(self) -> dict[str, str]:
        """What `sql` binds."""
        return {} if self.length is not None else {"zone": self.zone}

    def start(self, bucket: datetime) -> int:
        """The instant at which a bucket, as `sql` gives it, begins."""
        if self.length is not None:
            return from_datetime(bucket.replace(tzinfo=UTC))
        return self._instant(bucket)

    def end(self, bucket: datetime) -> int:
        """The instant at which it ends."""
        if self.length is not None:
            return self.start(bucket) + self.length
        if self.name == "1mo":
            return self._instant((bucket.replace(day=1) + timedelta(days=32)).replace(day=1))
        return self._instant(bucket + timedelta(days=7 if self.name == "1w" else 1))

    @property
    def whole_hours(self) -> bool:
        """Buckets begin and end at whole hours of UTC, so that hourly figures can answer."""
        if self.length is not None:
            return self.length % HOUR == 0
        year = datetime.now(UTC).year
        offsets = (datetime(year, month, 1, tzinfo=self._tz()).utcoffset() for month in (1, 7))
        return all(offset is not None and offset % timedelta(hours=1) == timedelta(0) for offset in offsets)

    def _instant(self, local: datetime) -> int:
        """The first instant that a clock in the zone shows as `local`, or would if it did not skip it."""
        return from_datetime(local.replace(tzinfo=self._tz(), fold=0).astimezone(UTC))

    def _tz(self) -> ZoneInfo:
        try:
            return ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise SettingsError(f"{self.zone[:64]!r} is no time zone", remedy="name one as Europe/Berlin") from error
