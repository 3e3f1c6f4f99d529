"""Figures as pandas DataFrames, for notebooks. Needs the extra `notebooks`.

Answers are those of the API, column for column: a rate is `<rate>_num`, `_den`, `_value`, `_low`, `_high`, `_verdict`;
instants are `datetime64` in UTC. Where they come from is passed in: mtascope/notebooks.py knows a running owner, the
files of one that has stopped, and the API of another machine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pandas as pd

from mta.events.errors import SettingsError

__all__ = ["Frames", "Source"]

_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_INSTANTS = ("time", "first_seen", "last_seen", "began", "opened", "closed")
_SQL_INSTANTS = ("TIMESTAMP", "DATE")
_SQL_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")


class Source(Protocol):
    """Where answers come from: the rows of a list route, and the answer to SQL as `POST /v1/query` gives it."""

    def rows(self, route: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        """Every row, whatever the number of pages."""

    def table(self, sql: str, limit: int) -> dict[str, Any]:
        """Columns, types, rows, and whether it was cut."""


class Frames:
    """Asks a source and gives DataFrames."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def rates(
        self,
        by: Sequence[str] = ("provider",),
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        clock: str = "cohort",
        step: str | None = None,
        zone: str = "UTC",
        where: dict[str, str | Sequence[str]] | None = None,
    ) -> pd.DataFrame:
        """Counts and rates (docs/rates.md). `since` and `until`: a datetime, RFC 3339, or how long ago: `7d`."""
        asked = _question(by, since, until, where) | {"clock": clock, "step": step, "zone": zone}
        return _frame(self._source.rows("/v1/rates", _given(asked)))

    def latency(
        self,
        by: Sequence[str] = ("provider",),
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        where: dict[str, str | Sequence[str]] | None = None,
    ) -> pd.DataFrame:
        """Percentiles of the time to delivery in seconds; missing: still in flight, at least `at_least`."""
        return _frame(self._source.rows("/v1/latency", _given(_question(by, since, until, where))))

    def reasons(
        self,
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        where: dict[str, str | Sequence[str]] | None = None,
        limit: int = 1000,
    ) -> pd.DataFrame:
        """The replies behind failures, most frequent first."""
        asked = _question((), since, until, where) | {"by": None, "limit": limit}
        return _frame(self._source.rows("/v1/reasons", _given(asked)))

    def queues(self, limit: int = 1000) -> pd.DataFrame:
        """What waits now, by recipient domain."""
        return _frame(self._source.rows("/v1/queues", {"limit": limit}))

    def sql(self, text: str, limit: int = 1_000_000) -> pd.DataFrame:
        """One SELECT over the views of docs/sql.md. SettingsError if there are more rows than `limit`."""
        found = self._source.table(text, limit)
        if found["cut"]:
            raise SettingsError(f"more than {limit} rows", remedy="ask for less, or give a greater limit")
        frame = pd.DataFrame(found["rows"], columns=found["columns"])
        for name, kind in zip(found["columns"], found["types"], strict=True):
            frame[name] = _typed(frame[name], kind)
        return frame


def _question(
    by: Sequence[str],
    since: datetime | str | None,
    until: datetime | str | None,
    where: dict[str, str | Sequence[str]] | None,
) -> dict[str, Any]:
    chosen = {name: [values] if isinstance(values, str) else list(values) for name, values in (where or {}).items()}
    return {"by": ",".join(by), "since": _instant(since), "until": _instant(until), **chosen}


def _given(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}


def _instant(moment: datetime | str | None) -> str | None:
    """RFC 3339 of an aware datetime, of itself, or of a time ago."""
    if isinstance(moment, str) and (ago := _AGO.fullmatch(moment)):
        moment = datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: float(ago[1])})
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise SettingsError(f"{moment} has no time zone", remedy="give it one: tzinfo=UTC")
        return moment.astimezone(UTC).isoformat()
    return moment


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.json_normalize(rows, sep="_")
    for name in _INSTANTS:
        if name in frame.columns:
            frame[name] = pd.to_datetime(frame[name], utc=True)
    return frame


def _typed(column: pd.Series[Any], kind: str) -> pd.Series[Any]:
    """JSON tells instants and large numbers as text; the types of the answer bring them back."""
    if kind.startswith(_SQL_INSTANTS):
        return pd.to_datetime(column, utc=True)
    if kind.removeprefix("U") in _SQL_INTEGERS:
        unsigned = kind.startswith("U")
        return column.map(int, na_action="ignore").astype("UInt64" if unsigned else "Int64")
    return column
