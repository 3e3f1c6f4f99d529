"""The metrics of the watch: what is open, what is usual, and how the watch and those who tell of it are.

Baselines and bounds are event-time gauges: alert rules compare them with the windows of `analytics/metrics.py` as they
are. How many incidents there were is a counter of the store.
"""

from __future__ import annotations

from mta.events.metric import Metric

__all__ = ["METRICS"]

METRICS: tuple[Metric, ...] = (
    Metric(
        "mtascope_incident_open",
        "gauge",
        "Incidents that are open now and show at this provider, by their kind.",
        ("kind", "provider"),
    ),
    Metric(
        "mtascope_baseline_ratio",
        "gauge",
        "What is usual at this hour of the week: share bad of what was counted, over the last four weeks.",
        ("provider", "signal"),
        unit="ratio",
    ),
    Metric(
        "mtascope_baseline_lower_ratio",
        "gauge",
        "Lower end of the 95 % Wilson interval of the baseline.",
        ("provider", "signal"),
        unit="ratio",
    ),
    Metric(
        "mtascope_baseline_upper_ratio",
        "gauge",
        "Upper end of the 95 % Wilson interval of the baseline.",
        ("provider", "signal"),
        unit="ratio",
    ),
    Metric(
        "mtascope_baseline_hourly_recipients",
        "gauge",
        "What an hour usually counts at this time of the week: recipients, or attempts for deferrals.",
        ("provider", "signal"),
    ),
    Metric(
        "mtascope_rate_lower_ratio",
        "gauge",
        "Lower end of the one-sided 99 % Wilson bound of the rate by event time in the window that ended last.",
        ("window", "provider", "signal"),
        unit="ratio",
    ),
    Metric(
        "mtascope_watch_judged_timestamp_seconds",
        "gauge",
        "Event time up to which every 5-minute step was judged for spikes.",
        unit="seconds",
    ),
    Metric("mtascope_watch_series", "gauge", "Providers, and tenants and pools at them, that are watched for spikes."),
    Metric("mtascope_watch_step_seconds", "gauge", "CPU time that judging the last step took.", unit="seconds"),
    Metric(
        "mtascope_notifications_total",
        "counter",
        "Notifications of incidents: taken by the channel, refused or lost on the way, given up after three days.",
        ("channel", "result"),
    ),
    Metric("mtascope_notifications_waiting", "gauge", "Notifications that were not taken yet.", ("channel",)),
)
