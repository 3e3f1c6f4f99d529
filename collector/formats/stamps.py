"""Time stamps as logs write them: with or without zone, with or without year.

The two things a stamp may lack come from the `Context`. The year of a stamp without one follows from a clock: a log
line is not from the future. That needs no memory, so a log reads the same from whatever line one begins; it fails for
logs older than a year, for which the year can be given. Then the turn of the year is seen in the months.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from collector.formats.context import Context
from collector.quarantine import Reason
from mta.events.errors import ParseError
from mta.events.instants import DAY, from_datetime

__all__ = ["Stamps", "zone_named"]

_MONTHS = {
    name: number
    for number, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)  # noqa: SIM905
}
_LEAP_CYCLE = 8  # years after which a 29 February has certainly come again (1900 and 2100 have none)
_HALF_A_YEAR = 6  # months
_MAX_YEAR = 9000


def zone_named(name: str) -> tzinfo | None:
    """The zone of that name (`Europe/Berlin`); None, which means this machine's, for "". Raises ValueError."""
    if not name:
        return None
    if name.upper() in {"UTC", "GMT", "Z"}:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"no time zone {name[:64]!r}; write it as Europe/Berlin or UTC") from None


class Stamps:
    """Reads the stamps of one source. Most lines of a busy log share theirs with the line before: that one is kept."""

    __slots__ = ("_context", "_instant", "_month", "_text", "_year")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._text = "\n"  # no stamp
        self._instant = 0
        self._year = context.year
        self._month = 0

    def __call__(self, text: str) -> int:
        """The instant of `Nov  4 13:35:23`, `2026-11-04 13:35:23.250`, `2026-11-04T13:35:23+0100` and their kind.

        Raises ParseError.
        """
        if text == self._text:
            return self._instant
        try:
            instant = self._dated(text) if text[:1].isdigit() else self._yearless(text)
        except (ValueError, OverflowError, KeyError):
            raise ParseError(f"no time stamp: {text[:40]!r}", reason=Reason.MALFORMED) from None
        self._text, self._instant = text, instant
        return instant

    def _dated(self, text: str) -> int:
        date, mark, clock = text[:10], text[10:11], text[11:].replace(" ", "").replace(",", ".")
        return self._instant_of(datetime.fromisoformat(f"{date}{mark}{clock}"))

    def _yearless(self, text: str) -> int:
        name, day, clock = text.split()
        hour, minute, second = clock.split(":")
        month = _MONTHS[name]
        fields = (month, int(day), int(hour), int(minute), min(int(second), 59))  # 60: a leap second
        if self._year is not None:
            return self._in_known_year(month, fields)
        return self._not_in_future(fields)

    def _in_known_year(self, month: int, fields: tuple[int, int, int, int, int]) -> int:
        """In the year that was given, or the next when the months begin anew."""
        if self._month and abs(month - self._month) >= _HALF_A_YEAR:
            self._year = min(self._year or 0, _MAX_YEAR) + (1 if month < self._month else -1)
        self._month = month
        return self._instant_of(datetime(self._year or 1970, *fields))  # noqa: DTZ001 - gets its zone there

    def _not_in_future(self, fields: tuple[int, int, int, int, int]) -> int:
        if self._context.now is None:
            raise ParseError("a time stamp without a year", reason=Reason.MISSING_FIELD, remedy="tell the year")
        latest = self._context.now() + DAY
        year = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=latest)).year + 1
        for candidate in range(year, year - _LEAP_CYCLE - 2, -1):
            try:
                instant = self._instant_of(datetime(candidate, *fields))  # noqa: DTZ001 - gets its zone there
            except ValueError:  # 29 February
                continue
            if instant <= latest:
                return instant
        raise ValueError(fields)

    def _instant_of(self, moment: datetime) -> int:
        if moment.tzinfo is None:
            zone = self._context.zone
            moment = moment.astimezone() if zone is None else moment.replace(tzinfo=zone)
        instant = from_datetime(moment)
        if instant < 0:
            raise ValueError(instant)
        return instant
