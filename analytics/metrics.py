"""The metrics that the store stands for: first-seen counters, event-time windows, and its own health.

Counters count *first-seen events* and live in the ingest transaction, so that restart, replay and retention never bend
a `rate()` (promise 10). What may be restated later (outcomes, windows) is a gauge.
"""

from __future__ import annotations

from analytics.senders import SENDERS
from mta.events.metric import Metric

__all__ = ["LATENCY_BUCKETS", "METRICS", "WINDOWS"]

LATENCY_BUCKETS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 1800, 3600, 7200, 14400, 43200, 86400, 172800)
"""Seconds. Half a second to two days: a healthy hand-over, greylisting, a queue's first retries, a queue's lifetime."""

WINDOWS = {"5m": 5, "15m": 15, "1h": 60, "6h": 360, "1d": 1440, "3d": 4320}
"""Event-time windows by label: minutes."""

METRICS: tuple[Metric, ...] = (
    Metric(
        "mtascope_events_total",
        "counter",
        "Events stored for the first time, by the node that wrote them and who said it.",
        ("node", "type", "origin"),
    ),
    Metric(
        "mtascope_provider_events_total",
        "counter",
        "Events stored for the first time, by mailbox provider.",
        ("provider", "type", "origin"),
    ),
    Metric(
        "mtascope_failures_total",
        "counter",
        "Failed attempts, late bounces and complaints stored for the first time, by provider and cause.",
        ("provider", "type", "bounce_group", "bounce_class"),
    ),
    Metric(
        "mtascope_delivery_latency_seconds",
        "histogram",
        "Time from injection to the provider's final 2xx, where the injection time is known.",
        ("provider",),
        unit="seconds",
        buckets=LATENCY_BUCKETS,
    ),
    Metric(
        "mtascope_window_recipients",
        "gauge",
        "Recipients by event time in the window that ends now; divide two measures to get a rate.",
        ("window", "provider", "measure"),
    ),
    Metric(
        "mtascope_window_attempts",
        "gauge",
        "Delivery attempts that the provider answered, by event time in the window that ends now.",
        ("window", "provider", "outcome"),
    ),
    *(
        Metric(
            f"mtascope_window_{kind}_mail",
            "gauge",
            f"Mail of the largest {kind}s by event time, in five-minute steps; `answered` and `deferred` count "
            "attempts, the other measures recipients.",
            ("window", kind, "measure"),
        )
        for kind in SENDERS
    ),
    Metric(
        "mtascope_recipients",
        "gauge",
        "Where every recipient stands: injected equals the sum of the other outcomes.",
        ("outcome",),
    ),
    Metric(
        "mtascope_identity_broken_recipients",
        "gauge",
        "Recipients by which the counting identity fails; anything but 0 is an incident.",
    ),
    Metric(
        "mtascope_unaccounted_recipients",
        "gauge",
        "Recipients without an outcome of whom nothing was heard for longer than a queue keeps mail.",
    ),
    Metric(
        "mtascope_in_flight_recipients",
        "gauge",
        "Recipients without an outcome yet; deferred ones have failed at least one attempt.",
        ("provider", "state"),
    ),
    Metric(
        "mtascope_queue_oldest_age_seconds",
        "gauge",
        "Age of the oldest recipient in flight, as the logs tell it.",
        ("provider",),
        unit="seconds",
    ),
    Metric(
        "mtascope_watermark_timestamp_seconds",
        "gauge",
        "Event time that each node's records have reached; a clock that runs ahead is clamped to now.",
        ("node",),
        unit="seconds",
    ),
    Metric(
        "mtascope_clock_ahead_seconds",
        "gauge",
        "How far the newest record of a node lay in the future when it was loaded.",
        ("node",),
        unit="seconds",
    ),
    Metric(
        "mtascope_snapshot_timestamp_seconds",
        "gauge",
        "When the figures of this page were computed.",
        unit="seconds",
    ),
    Metric("mtascope_source_success", "gauge", "Whether each source of this page could be read.", ("source",)),
    Metric("mtascope_series", "gauge", "Series on this page; the budget for a fleet of 20 nodes is 10,000."),
    Metric("mtascope_store_bytes", "gauge", "Size of the store on disk.", unit="bytes"),
    Metric("mtascope_store_events", "gauge", "Events in the store."),
    Metric("mtascope_quarantined_records", "gauge", "Records in quarantine, by reason.", ("reason",)),
    Metric(
        "mtascope_unattributed_feedback",
        "gauge",
        "Late bounces and complaints without a known send.",
        ("type",),
    ),
    Metric(
        "mtascope_incident_changes_total",
        "counter",
        "Incidents that were opened, renewed (worse, back, or lasting another day) and closed.",
        ("kind", "change"),
    ),
    Metric("mtascope_build_info", "info", "The running version.", ("version",), unit="info"),
)
