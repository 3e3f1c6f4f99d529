"""The families of the watch and of those who tell of its incidents, for `/metrics`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client.metrics_core import Metric as Family

from analytics.incidents.metrics import METRICS
from analytics.incidents.watch import WatchHealth
from exporter.alerting.courier import CourierHealth
from exporter.prometheus import PageSource, counter, gauge

__all__ = ["watch_families"]

_DECLARED = {metric.name: metric for metric in METRICS}
_WINDOW = "1h"


def watch_families(watch: Callable[[], WatchHealth], courier: Callable[[], CourierHealth]) -> PageSource:
    """What was judged, what is open, what is usual, and what was told."""

    def families() -> Iterable[Family]:
        health, telling = watch(), courier()
        usual = health.baselines
        values: tuple[tuple[str, Mapping[Any, float]], ...] = (
            ("mtascope_incident_open", {(kind, label): count for kind, label, count in health.open}),
            ("mtascope_baseline_ratio", {(one.provider, one.signal): one.rate for one in usual}),
            ("mtascope_baseline_lower_ratio", {(one.provider, one.signal): one.low for one in usual}),
            ("mtascope_baseline_upper_ratio", {(one.provider, one.signal): one.high for one in usual}),
            ("mtascope_baseline_hourly_recipients", {(one.provider, one.signal): one.volume for one in usual}),
            (
                "mtascope_rate_lower_ratio",
                {(_WINDOW, one.provider, one.signal): one.lately_low for one in usual if one.lately_low is not None},
            ),
            ("mtascope_watch_judged_timestamp_seconds", {(): health.judged_to / 1e6}),
            ("mtascope_watch_series", {(): health.series}),
            ("mtascope_watch_step_seconds", {(): health.step_seconds}),
            ("mtascope_notifications_waiting", {(name,): count for name, count in telling.waiting.items()}),
        )
        yield from (gauge(_DECLARED[name], of_name) for name, of_name in values)
        yield counter(
            _DECLARED["mtascope_notifications_total"],
            {labels: float(count) for labels, count in telling.results.items()},
        )

    return families
