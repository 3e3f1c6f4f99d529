"""Everything `/metrics` shows of the store, computed on a timer so that a scrape never waits for a query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import duckdb

from analytics import counters
from analytics.identity import Identity, check, unaccounted
from analytics.lifecycle import INJECTED_AT
from analytics.metrics import WINDOWS
from analytics.senders import SenderKey, sender_windows
from analytics.store import Store
from mta.events.instants import MINUTE, SECOND
from mta.events.intake import REASONS

__all__ = ["Snapshot", "WindowKey", "take_snapshot"]

WindowKey = tuple[str, str, str]
"""Window label, provider label, measure or outcome."""

_SENDERS_EVERY = 15 * SECOND
_LABEL = "coalesce(label, 'other')"
_LABELLED = "LEFT JOIN provider_label USING (provider)"
_RECIPIENT_MEASURES = {
    **{name: name for name in (
        "injected", "delivered", "bounced", "expired", "admin_bounced", "suppressed", "transferred", "delivered_first",
        "local_failures", "attempted", "deferred", "deferred_locally", "oob_bounced", "complained", "complainable",
        "rejected")},
    **{name: f"{name} + oob_{name}" for name in ("hard", "soft", "block", "undetermined")},
    "sent": "delivered + bounced + expired",
    "accepted": "delivered - oob_bounced",
}  # fmt: skip
"""Measure label to SQL over a rollup row."""
_ATTEMPT_MEASURES = {
    "delivered": "attempts - attempt_deferrals - attempt_bounces",
    "deferred": "attempt_deferrals",
    "bounced": "attempt_bounces",
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Figures of one moment (`taken_at`, microseconds). Keys are label values in the order of the metric's labels."""

    taken_at: int
    counters: Mapping[str, Mapping[tuple[str, ...], float]]
    identity: Identity
    unaccounted: int
    """Recipients that wait for longer than any queue keeps mail: in no gauge of what is in flight."""
    window_recipients: Mapping[WindowKey, int]
    window_attempts: Mapping[WindowKey, int]
    in_flight: Mapping[tuple[str, str], int]
    oldest_age: Mapping[str, float]
    """Provider label to seconds."""
    watermarks: Mapping[str, tuple[float, float]]
    """Node to (event time reached, how far its clock ran ahead), seconds."""
    store_bytes: int
    store_events: int
    quarantined: Mapping[str, int] = field(default_factory=dict)
    unattributed: Mapping[str, int] = field(default_factory=dict)
    senders: Mapping[str, Mapping[SenderKey, int]] = field(default_factory=dict)
    """Metric name to figures of tenants and pools, as of `senders_at`."""
    senders_at: int = 0


_EVENTS = "SELECT (SELECT count(*) FROM event) + (SELECT coalesce(sum(events), 0) FROM part)"


def take_snapshot(store: Store, before: Snapshot | None = None) -> Snapshot:
    """Read all figures in one transaction, so that they agree with each other.

    Windows of tenants and pools reach back for hours: those of the snapshot `before` hold for a quarter of a minute.
    """
    now = store.clock()
    fresh = before is not None and 0 <= now - before.senders_at < _SENDERS_EVERY
    con = store.cursor()
    try:
        con.begin()
        in_flight, oldest = _in_flight(con, now, now - store.queue_lifetime)
        return Snapshot(
            taken_at=now,
            counters=counters.read(con),
            identity=check(con),
            unaccounted=unaccounted(con, now - store.queue_lifetime),
            window_recipients=_windows(con, now, _RECIPIENT_MEASURES),
            window_attempts=_windows(con, now, _ATTEMPT_MEASURES),
            in_flight=in_flight,
            oldest_age=oldest,
            watermarks=_watermarks(con),
            store_bytes=store.size(),
            store_events=int(con.execute(_EVENTS).fetchall()[0][0]),
            quarantined=_quarantined(con),
            unattributed=_unattributed(con),
            senders=before.senders if before and fresh else sender_windows(con, now),
            senders_at=before.senders_at if before and fresh else now,
        )
    finally:
        con.rollback()
        con.close()


def _windows(con: duckdb.DuckDBPyConnection, now: int, measures: Mapping[str, str]) -> dict[WindowKey, int]:
    """Sums by event time. A window reaches back from the running minute, which is included, by whole minutes."""
    sums = ", ".join(f"sum({sql})::BIGINT" for sql in measures.values())
    found: dict[WindowKey, int] = {}
    labels = [row[0] for row in con.execute("SELECT DISTINCT label FROM provider_label").fetchall()]
    for window, minutes in WINDOWS.items():
        rows = con.execute(
            f"SELECT {_LABEL}, {sums} FROM rollup {_LABELLED} WHERE clock = 'event' AND direction = 'outbound' "
            "AND bucket >= make_timestamp($since) AND bucket <= make_timestamp($now) GROUP BY 1",
            {"since": now // MINUTE * MINUTE - minutes * MINUTE, "now": now},
        ).fetchall()
        values = {label: sums for label, *sums in rows}
        for label in labels:
            for measure, value in zip(measures, values.get(label, [0] * len(measures)), strict=True):
                found[window, label, measure] = value
    return found


def _in_flight(
    con: duckdb.DuckDBPyConnection, now: int, heard_since: int
) -> tuple[dict[tuple[str, str], int], dict[str, float]]:
    """What is in flight by provider and state, of what was heard of at all lately, and the oldest of it."""
    rows = con.execute(
        f"SELECT {_LABEL}, CASE WHEN coalesce(deferrals, 0) + coalesce(local_attempts, 0) > 0 THEN 'deferred' "
        f"ELSE 'fresh' END AS state, count(*), epoch_us(min({INJECTED_AT})) "
        "FROM unit LEFT JOIN provider_label ON provider_label.provider = unit.provider.name "
        "WHERE terminal IS NULL AND last_event_at >= make_timestamp(?) GROUP BY 1, 2",
        [heard_since],
    ).fetchall()
    counts: dict[tuple[str, str], int] = {}
    oldest: dict[str, float] = {}
    for label in (row[0] for row in con.execute("SELECT DISTINCT label FROM provider_label").fetchall()):
        counts[label, "fresh"] = counts[label, "deferred"] = 0
        oldest[label] = 0.0
    for label, state, count, since in rows:
        counts[label, state] = count
        oldest[label] = max(oldest.get(label, 0.0), (now - since) / 1e6)
    return counts, oldest


def _watermarks(con: duckdb.DuckDBPyConnection) -> dict[str, tuple[float, float]]:
    rows = con.execute("SELECT node, epoch_us(reached), ahead_us FROM watermark").fetchall()
    return {node: (reached / 1e6, ahead / 1e6) for node, reached, ahead in rows}


def _quarantined(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    rows = con.execute("SELECT reason, count(*) FROM quarantine GROUP BY 1").fetchall()
    return {**dict.fromkeys(REASONS, 0), **dict(rows)}


def _unattributed(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    rows = con.execute("SELECT type::VARCHAR, count(*) FROM feedback WHERE unit_id IS NULL GROUP BY 1").fetchall()
    return {"oob_bounce": 0, "complaint": 0, **dict(rows)}
