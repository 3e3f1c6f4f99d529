"""What KumoMTA's own `/metrics` calls the facts that we ask of it.

Only those that recording rules bring under our vocabulary (`dashboards/fleet.py`). Names and labels are KumoMTA's
(`kumod --dump-metrics`, release 2025.12); a series appears there when it first moves.
"""

from __future__ import annotations

from mta.events.metric import Metric

__all__ = ["METRICS"]


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, "counter", text, labels, foreign=True)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, "gauge", text, labels, foreign=True)


METRICS: tuple[Metric, ...] = (
    _gauge("scheduled_count_total", "Messages in all scheduled queues."),
    _gauge("ready_count", "Messages in each ready queue.", "service"),
    _counter("total_messages_received", "Messages received.", "service"),
    _counter("total_messages_delivered", "Messages delivered.", "service"),
    _counter("total_messages_transfail", "Delivery attempts that failed for the moment.", "service"),
    _counter("total_messages_fail", "Delivery attempts that failed for good.", "service"),
    _counter("smtp_server_rejections", "Rejections by the SMTP listener.", "service"),
    _gauge("connection_count", "Connections that are open, of listeners and towards each site.", "service"),
    _gauge("disk_free_bytes", "Bytes free where spools and logs lie.", "name"),
)
