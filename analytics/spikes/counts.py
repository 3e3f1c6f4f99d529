"""Counts of mail per step as text: lines in, `Counts` out. NDJSON or CSV of `t`, `series`, `sent`, `bounced`.

`t` may be an RFC 3339 stamp (UTC where it names no zone), seconds, milliseconds or microseconds since 1970, or a plain
count of seconds, minutes or steps since any beginning; which of these follows from its size and from the first gap.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from mta.events.errors import LimitExceeded, ParseError

__all__ = ["COLUMNS", "MAX_LINE", "Counts", "CountsReader", "StepClock"]

COLUMNS = ("t", "series", "sent", "bounced")
MAX_LINE = 65_536
_MAX_NAME = 512
_MAX_COUNT = 10**12
_STEP_SECONDS = 300.0
_EPOCH_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (1e8, 1.0))
"""From this size a number counts so many units a second since 1970."""


@dataclass(frozen=True, slots=True)
class Counts:
    """`bounced` of `sent` recipients of one series in the 5 minutes from `t`, which is kept as it was written."""

    t: str | int | float
    series: str
    sent: int
    bounced: int


class CountsReader:
    """Reads lines of one file; the first decides between NDJSON and CSV, and may name the columns of a CSV."""

    def __init__(self) -> None:
        self._columns: tuple[str, ...] | None = None
        self._json: bool | None = None

    def read(self, line: bytes) -> Counts | None:
        """The counts on a line; None for an empty line or a heading. ParseError names the field that is wrong."""
        if len(line) > MAX_LINE:
            raise LimitExceeded(f"longer than {MAX_LINE} bytes")
        line = line.strip()
        if not line:
            return None
        if self._json is None:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._json = line.startswith(b"{")
        return _from_fields(_json_fields(line)) if self._json else self._from_csv(line)

    def _from_csv(self, line: bytes) -> Counts | None:
        try:
            values = next(csv.reader([line.decode()], skipinitialspace=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise ParseError(f"no CSV in UTF-8: {error}") from error
        if self._columns is None:
            self._columns = COLUMNS
            if "series" in values:
                self._columns = tuple(value.strip() for value in values)
                return None
        if len(values) != len(self._columns):
            raise ParseError(f"{len(values)} columns where {len(self._columns)} are expected")
        fields: dict[str, object] = dict(zip(self._columns, values, strict=True))
        for name in ("t", "sent", "bounced"):
            fields[name] = _number_if_any(fields.get(name))
        return _from_fields(fields)


class StepClock:
    """Turns `t` into the number of the step."""

    def __init__(self) -> None:
        self._seconds: float | None = None
        """How long one unit of a small number is; unknown until two of them differ."""
        self._first: float | None = None

    def knows(self, t: str | float) -> bool:
        """Whether `step` can tell. If not, `t` is remembered, and a different one will settle it."""
        if isinstance(t, str) or self._seconds is not None or abs(t) >= _EPOCH_UNITS[-1][0]:
            return True
        if self._first is None or t == self._first:
            self._first = t
            return False
        gap = abs(t - self._first)
        self._seconds = 1.0 if gap % 300 == 0 else 60.0 if gap % 5 == 0 else _STEP_SECONDS
        return True

    def step(self, t: str | float) -> int:
        """The step that `t` lies in; ParseError when it is no time."""
        if isinstance(t, str):
            return int(_stamp(t) // _STEP_SECONDS)
        for least, units in _EPOCH_UNITS:
            if abs(t) >= least:
                return int(t / units // _STEP_SECONDS)
        return int(t * (self._seconds or _STEP_SECONDS) // _STEP_SECONDS)


def _json_fields(line: bytes) -> dict[str, object]:
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ParseError(f"no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ParseError("no JSON object")
    return fields


def _from_fields(fields: dict[str, object]) -> Counts:
    t, series = fields.get("t"), fields.get("series")
    if isinstance(t, bool) or not isinstance(t, (str, int, float)) or t == "":
        raise ParseError(f"t is {t!r}: write a time", where="t")
    if isinstance(series, bool) or not isinstance(series, (str, int)) or series == "":
        raise ParseError(f"series is {series!r}: write a name", where="series")
    if len(str(series)) > _MAX_NAME:
        raise LimitExceeded(f"longer than {_MAX_NAME} characters", where="series")
    sent, bounced = _count("sent", fields.get("sent")), _count("bounced", fields.get("bounced"))
    if bounced > sent:
        raise ParseError(f"{bounced} bounced of {sent} sent", where="bounced")
    return Counts(t, str(series), sent, bounced)


def _count(name: str, value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_COUNT:
        raise ParseError(f"{value!r} is no count", where=name)
    return value


def _number_if_any(value: object) -> object:
    """A CSV field as a number where it is one."""
    text = str(value or "").strip()
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def _stamp(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ParseError(f"{text!r} is no time: write 2026-01-31T12:00:00Z", where="t") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
