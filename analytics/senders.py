"""Who of us sends, and how it goes: event-time windows of each tenant and pool, for `/metrics`.

Labels stay bounded however many tenants there are: the largest of the last day by their names, all others as `other`.
These are gauges of the moment, so who is named may change. They are read from the five-minute steps that the watch for
spikes is fed with, which are added up as mail comes in.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from mta.events.instants import MINUTE

__all__ = ["NAMED", "OTHER", "SENDERS", "WINDOWS", "SenderKey", "sender_windows"]

NAMED = 20
"""Tenants, and pools, that have a label of their own."""
OTHER = "other"
WINDOWS = {"1h": 60, "1d": 1440}
"""Windows by label: minutes."""
SENDERS = ("tenant", "pool")

SenderKey = tuple[str, str, str]
"""Window, tenant or pool, measure."""

_MEASURES = {
    "sent": "ended",
    "delivered": "delivered",
    "block": "blocked",
    "complained": "complained",
    "answered": "answered",
    "deferred": "deferred",
}
"""Label to column; the last two count attempts, the others recipients."""


def sender_windows(con: duckdb.DuckDBPyConnection, now: int) -> dict[str, Mapping[SenderKey, int]]:
    """By metric name: figures of the windows that end now, in whole five-minute steps."""
    return {f"mtascope_window_{kind}_mail": _windows(con, kind, now) for kind in SENDERS}


def _windows(con: duckdb.DuckDBPyConnection, kind: str, now: int) -> dict[SenderKey, int]:
    named = _largest(con, kind, now)
    sums = ", ".join(f"sum({column})::BIGINT" for column in _MEASURES.values())
    found: dict[SenderKey, int] = {}
    for window, minutes in WINDOWS.items():
        rows = con.execute(
            f"SELECT CASE WHEN value IN (SELECT unnest(?::VARCHAR[])) THEN value ELSE '{OTHER}' END, {sums} "
            "FROM step_count WHERE dimension = ? AND step >= make_timestamp(?) AND step <= make_timestamp(?) "
            "GROUP BY 1",
            [named, kind, now - minutes * MINUTE, now],
        ).fetchall()
        values = {name: counts for name, *counts in rows}
        for name in (*named, OTHER):
            for measure, count in zip(_MEASURES, values.get(name, [0] * len(_MEASURES)), strict=True):
                found[window, name, measure] = count
    return found


def _largest(con: duckdb.DuckDBPyConnection, kind: str, now: int) -> list[str]:
    rows = con.execute(
        "SELECT value FROM step_count WHERE dimension = ? AND value NOT IN ('', ?) AND step >= make_timestamp(?) "
        "AND step <= make_timestamp(?) GROUP BY 1 ORDER BY sum(ended) DESC, 1 LIMIT ?",
        [kind, OTHER, now - WINDOWS["1d"] * MINUTE, now, NAMED],
    ).fetchall()
    return [row[0] for row in rows]
