"""The metrics of taking records in, and the plain numbers behind those that do not live in the store."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from threading import Lock

from mta.events.instants import SECOND
from mta.events.metric import Metric

__all__ = [
    "BATCH_BUCKETS",
    "COMMIT_BUCKETS",
    "METRICS",
    "REFUSALS",
    "RESULTS",
    "ROADS",
    "CollectorHealth",
    "Distribution",
    "RoadHealth",
]

RESULTS = ("stored", "duplicate", "quarantined", "ignored")
"""What becomes of a record (promise 1): values of the label `result`."""

ROADS = ("http", "webhook", "lumberjack", "elasticsearch", "syslog", "otlp", "redis")
"""Roads on which others send; each lands what arrives in a folder of this name."""

REFUSALS = ("full", "busy", "disk", "limit", "unauthorised", "protocol", "timeout", "connections", "lost")
"""Why something was not accepted. Only `lost` (syslog over UDP) is gone: all other senders hear of it."""

BATCH_BUCKETS = (1, 10, 100, 1_000, 2_500, 5_000, 10_000, 50_000, 100_000)
COMMIT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

METRICS: tuple[Metric, ...] = (
    Metric(
        "mtascope_collector_records_total",
        "counter",
        "Input records by the road they came and what became of them; every record is in exactly one.",
        ("road", "result"),
    ),
    Metric(
        "mtascope_collector_files",
        "gauge",
        "Followed files that are held open, and those read to their end for good.",
        ("state",),
    ),
    Metric(
        "mtascope_collector_lag_seconds",
        "gauge",
        "Time since the newest event that was loaded happened; a quiet fleet lags too.",
        unit="seconds",
    ),
    Metric(
        "mtascope_collector_batch_records",
        "histogram",
        "Records in a committed batch.",
        buckets=BATCH_BUCKETS,
    ),
    Metric(
        "mtascope_collector_commit_seconds",
        "histogram",
        "Time that the store took to commit a batch.",
        unit="seconds",
        buckets=COMMIT_BUCKETS,
    ),
    Metric(
        "mtascope_collector_last_error_timestamp_seconds",
        "gauge",
        "When a source or the store last refused; 0 if never.",
        unit="seconds",
    ),
    Metric(
        "mtascope_collector_backlog_bytes",
        "gauge",
        "Stored bytes in followed files that have not been read yet.",
        unit="bytes",
    ),
    Metric("mtascope_collector_connections", "gauge", "Open connections of senders, by road.", ("road",)),
    Metric(
        "mtascope_collector_landed_records_total",
        "counter",
        "Records made durable and acknowledged, by road; counted since the process started.",
        ("road",),
    ),
    Metric(
        "mtascope_collector_refused_requests_total",
        "counter",
        "Requests, connections or datagrams not accepted, by road and reason; counted since the process started.",
        ("road", "reason"),
    ),
    Metric(
        "mtascope_collector_landing_bytes",
        "gauge",
        "Bytes that were accepted and wait on disk to be stored, by road.",
        ("road",),
        unit="bytes",
    ),
    Metric(
        "mtascope_collector_landing_capacity_bytes",
        "gauge",
        "Bytes that a road may keep on disk before it refuses more.",
        ("road",),
        unit="bytes",
    ),
    Metric(
        "mtascope_collector_landing_seconds",
        "histogram",
        "Time from having received a parcel to having it on disk: what a sender waits for.",
        ("road",),
        unit="seconds",
        buckets=COMMIT_BUCKETS,
    ),
)


class Distribution:
    """A histogram's numbers: `counts` per bucket (not cumulative, the last one is beyond all bounds), and `total`."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value; a value equal to a bound is within it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(slots=True)
class CollectorHealth:
    """How the collector is. Any thread may read: each field is replaced whole. Commits come from several threads.

    Instants are microseconds UTC, 0 meaning never.
    """

    files_open: int = 0
    files_finished: int = 0
    backlog_bytes: int = 0
    newest_event: int = 0
    last_error: int = 0
    last_error_text: str = ""
    batch_records: Distribution = field(default_factory=lambda: Distribution(BATCH_BUCKETS))
    commit_seconds: Distribution = field(default_factory=lambda: Distribution(COMMIT_BUCKETS))
    _lock: Lock = field(default_factory=Lock)

    def lag(self, now: int) -> float | None:
        """Seconds since the newest loaded event happened; None before the first. A clock ahead of ours is no lag."""
        return max(0, now - self.newest_event) / SECOND if self.newest_event else None

    def committed(self, *, records: int, seconds: float, newest_event: int) -> None:
        """A batch was committed."""
        with self._lock:
            self.batch_records.observe(records)
            self.commit_seconds.observe(seconds)
            self.newest_event = max(self.newest_event, newest_event)

    def failed(self, error: Exception, now: int) -> None:
        """Something refused."""
        self.last_error = now
        self.last_error_text = str(error)


@dataclass(slots=True)
class RoadHealth:
    """How one road is. The landing thread counts what landed, the event loop everything else."""

    connections: int = 0
    records: int = 0
    landing_bytes: int = 0
    capacity_bytes: int = 0
    refusals: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(REFUSALS, 0)))
    landing_seconds: Distribution = field(default_factory=lambda: Distribution(COMMIT_BUCKETS))
    last_refusal: str = ""

    def landed(self, records: int, seconds: float) -> None:
        """A parcel is durable."""
        self.records += records
        self.landing_seconds.observe(seconds)

    def refused(self, reason: str, detail: str = "") -> None:
        """Something was not accepted; `reason` is one of `REFUSALS`."""
        self.refusals[reason] += 1
        self.last_refusal = detail or reason
