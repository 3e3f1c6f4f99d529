"""Instants: whole microseconds since 1970-01-01T00:00:00Z, as `int`.

One representation everywhere keeps arithmetic exact and cheap; text appears only at the edges, always RFC 3339 in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["DAY", "HOUR", "MINUTE", "SECOND", "format_instant", "from_datetime", "parse_instant", "scaled"]

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def from_datetime(moment: datetime) -> int:
    """The instant of an aware datetime; a naive one is refused (ValueError), because guessing a zone misdates mail."""
    if moment.tzinfo is None:
        raise ValueError("a datetime without a time zone names no instant")
    return (moment - _EPOCH) // _MICROSECOND


def parse_instant(text: str) -> int:
    """Read an RFC 3339 stamp; digits beyond microseconds are cut off. ValueError when it is none or has no zone."""
    return from_datetime(datetime.fromisoformat(text))


def format_instant(instant: int) -> str:
    """RFC 3339 in UTC with exactly six fractional digits: `2026-01-31T23:59:59.000001Z`.

    An instant outside the years 1 to 9999 raises OverflowError.
    """
    return (_EPOCH + timedelta(microseconds=instant)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def scaled(instant: int, origin: int, speed: float) -> int:
    """What a clock shows at `instant` that was right at `origin` and runs `speed` times as fast."""
    return origin + round((instant - origin) * speed)
