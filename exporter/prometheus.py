"""The `/metrics` page: snapshots turned into metric families, in the order and with the names of the catalogue.

Nothing here queries or waits. Each source hands over its newest figures; one that fails leaves its own families out
and is named on the page, the others stay (an exception in one collector would otherwise fail the whole scrape).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry

from analytics.lifecycle import OUTCOMES
from analytics.metrics import METRICS
from analytics.snapshot import Snapshot
from collector.metrics import METRICS as COLLECTOR_METRICS
from collector.metrics import CollectorHealth, Distribution, RoadHealth
from dmarc.metrics import METRICS as DMARC_METRICS
from dmarc.metrics import MailboxHealth
from mta.events.metric import Metric

__all__ = [
    "MetricsPage",
    "PageSource",
    "collector_families",
    "mailbox_families",
    "relayed",
    "report_families",
    "road_families",
    "store_families",
]

Key = tuple[str, ...]
_DECLARED = {metric.name: metric for metric in METRICS}
_COLLECTOR = {metric.name: metric for metric in COLLECTOR_METRICS}
_DMARC = {metric.name: metric for metric in DMARC_METRICS}
_SERIES = _DECLARED["mtascope_series"]


class PageSource(Protocol):
    """Something that has families to show, now, without waiting."""

    def __call__(self) -> Iterable[Family]: ...  # noqa: D102


class _Once(Collector):
    """Families that were collected already, in the shape that the encoder asks for."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families

    def describe(self) -> Iterable[Family]:
        return ()


class MetricsPage:
    """Joins sources by name into one page and counts its series."""

    def __init__(self, sources: Mapping[str, PageSource]) -> None:
        self._sources = sources

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The page in the format that the client accepts, and its content type."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Once(self._families()))
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    def _families(self) -> list[Family]:
        families: dict[str, Family] = {}
        success = gauge(_DECLARED["mtascope_source_success"], {})
        for name, source in self._sources.items():
            try:
                for family in source():
                    _join(families, family)
            except Exception:  # noqa: BLE001  one broken source must not hide the others; it is shown as broken
                success.add_metric([name], 0)
            else:
                success.add_metric([name], 1)
        collected = [*families.values(), success]
        series = sum(len(family.samples) for family in collected) + 1
        return [*collected, gauge(_SERIES, {(): series})]


def _join(families: dict[str, Family], family: Family) -> None:
    """Families of one name are one family: several nodes have the same metrics."""
    known = families.get(family.name)
    if known is None:
        families[family.name] = family
    else:
        known.samples.extend(family.samples)


def relayed(text: str, node: str) -> Iterator[Family]:
    """The families of another process's page, each series with the label `node` added; its own runtime's left out."""
    for family in text_string_to_metric_families(text):
        if not family.name.startswith("mtascope_"):
            continue
        samples = family.samples
        family.samples = []
        for sample in samples:
            family.samples.append(sample._replace(labels={"node": node, **sample.labels}))
        yield family


def store_families(latest: Callable[[], Snapshot | None], version: str) -> PageSource:
    """What the store knows; nothing before its first snapshot."""

    def families() -> Iterable[Family]:
        build = InfoMetricFamily("mtascope_build", _DECLARED["mtascope_build_info"].help, value={"version": version})
        snapshot = latest()
        return [build] if snapshot is None else [build, *_of_snapshot(snapshot)]

    return families


def collector_families(health: CollectorHealth, clock: Callable[[], int]) -> PageSource:
    """How the collector is; its record counts live in the store and come with the snapshot."""

    def families() -> Iterable[Family]:
        lag = health.lag(clock())
        values: tuple[tuple[str, Mapping[Any, float]], ...] = (
            ("mtascope_collector_files", {("open",): health.files_open, ("finished",): health.files_finished}),
            ("mtascope_collector_lag_seconds", {} if lag is None else {(): lag}),
            ("mtascope_collector_last_error_timestamp_seconds", {(): health.last_error / 1e6}),
            ("mtascope_collector_backlog_bytes", {(): health.backlog_bytes}),
        )
        yield from (gauge(_COLLECTOR[name], of_name) for name, of_name in values)
        yield _distribution(_COLLECTOR["mtascope_collector_batch_records"], health.batch_records)
        yield _distribution(_COLLECTOR["mtascope_collector_commit_seconds"], health.commit_seconds)

    return families


def road_families(roads: Mapping[str, RoadHealth]) -> PageSource:
    """How the roads are on which others send; every road is there from the start, at 0."""

    def families() -> Iterable[Family]:
        health: list[tuple[Key, RoadHealth]] = [((road,), one) for road, one in roads.items()]
        gauges: tuple[tuple[str, Mapping[Any, float]], ...] = (
            ("mtascope_collector_connections", {labels: one.connections for labels, one in health}),
            ("mtascope_collector_landing_bytes", {labels: one.landing_bytes for labels, one in health}),
            ("mtascope_collector_landing_capacity_bytes", {labels: one.capacity_bytes for labels, one in health}),
        )
        yield from (gauge(_COLLECTOR[name], of_name) for name, of_name in gauges)
        landed = {labels: float(one.records) for labels, one in health}
        refused = {(*labels, reason): float(n) for labels, one in health for reason, n in one.refusals.items()}
        yield counter(_COLLECTOR["mtascope_collector_landed_records_total"], landed)
        yield counter(_COLLECTOR["mtascope_collector_refused_requests_total"], refused)
        waits = {labels: one.landing_seconds for labels, one in health}
        yield _distributions(_COLLECTOR["mtascope_collector_landing_seconds"], waits)

    return families


def mailbox_families(mailboxes: Mapping[str, MailboxHealth]) -> PageSource:
    """How the report mailboxes are; every one of the settings is there from the start."""

    def families() -> Iterable[Family]:
        health: list[tuple[Key, MailboxHealth]] = [((name,), one) for name, one in mailboxes.items()]
        up = {labels: float(one.connected) for labels, one in health}
        looked = {labels: one.looked / 1e6 for labels, one in health if one.looked}
        yield gauge(_DMARC["mtascope_dmarc_mailbox_up"], up)
        yield counter(_DMARC["mtascope_dmarc_mailbox_mails_total"], {labels: one.mails for labels, one in health})
        yield counter(_DMARC["mtascope_dmarc_mailbox_failures_total"], {labels: one.failures for labels, one in health})
        yield gauge(_DMARC["mtascope_dmarc_mailbox_last_look_timestamp_seconds"], looked)

    return families


def report_families(latest: Callable[[], Mapping[str, Mapping[Key, float]]]) -> PageSource:
    """What the reports say: values of metrics that `dmarc/metrics.py` declares, by their name."""

    def families() -> Iterable[Family]:
        for name, values in latest().items():
            metric = _DMARC[name]
            yield (counter if metric.type == "counter" else gauge)(metric, values)

    return families


def _distribution(metric: Metric, seen: Distribution) -> Family:
    return _distributions(metric, {(): seen})


def _distributions(metric: Metric, by_labels: Mapping[Key, Distribution]) -> Family:
    bounds = [*(str(float(bound)) for bound in metric.buckets), "+Inf"]
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, seen in by_labels.items():
        family.add_metric(labels, list(zip(bounds, accumulate(seen.counts), strict=True)), seen.total)
    return family


def _of_snapshot(snapshot: Snapshot) -> Iterator[Family]:
    yield from _counters(snapshot)
    values: tuple[tuple[str, Mapping[Any, float]], ...] = (
        ("mtascope_window_recipients", snapshot.window_recipients),
        ("mtascope_window_attempts", snapshot.window_attempts),
        ("mtascope_recipients", {(name,): snapshot.identity.recipients[name] for name in ("injected", *OUTCOMES)}),
        ("mtascope_identity_broken_recipients", {(): snapshot.identity.broken}),
        ("mtascope_unaccounted_recipients", {(): snapshot.unaccounted}),
        ("mtascope_in_flight_recipients", snapshot.in_flight),
        ("mtascope_queue_oldest_age_seconds", {(label,): age for label, age in snapshot.oldest_age.items()}),
        ("mtascope_watermark_timestamp_seconds", {(node,): at for node, (at, _) in snapshot.watermarks.items()}),
        ("mtascope_clock_ahead_seconds", {(node,): ahead for node, (_, ahead) in snapshot.watermarks.items()}),
        ("mtascope_snapshot_timestamp_seconds", {(): snapshot.taken_at / 1e6}),
        ("mtascope_store_bytes", {(): snapshot.store_bytes}),
        ("mtascope_store_events", {(): snapshot.store_events}),
        ("mtascope_quarantined_records", {(reason,): n for reason, n in snapshot.quarantined.items()}),
        ("mtascope_unattributed_feedback", {(kind,): n for kind, n in snapshot.unattributed.items()}),
        *snapshot.senders.items(),
    )
    for name, of_name in values:
        yield gauge(_DECLARED[name], of_name)


def gauge(metric: Metric, values: Mapping[Any, float]) -> GaugeMetricFamily:
    """A gauge family with these values."""
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _counters(snapshot: Snapshot) -> Iterator[Family]:
    for metric in (*METRICS, _COLLECTOR["mtascope_collector_records_total"]):
        if metric.type == "counter":
            yield counter(metric, snapshot.counters.get(metric.name, {}))
        elif metric.type == "histogram":
            yield _histogram(metric, snapshot.counters)


def counter(metric: Metric, values: Mapping[Key, float]) -> Family:
    """A counter family with these values."""
    family = CounterMetricFamily(metric.name.removesuffix("_total"), metric.help, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, accumulators: Mapping[str, Mapping[Key, float]]) -> Family:
    """Accumulators keep cumulative buckets as `name/bound` and the sum as `name/sum`."""
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    sums = accumulators.get(f"{metric.name}/sum", {})
    bounds = [*(f"{bound:g}" for bound in metric.buckets), "+Inf"]
    for labels, total in sums.items():
        buckets = [
            (_canonical(bound), accumulators.get(f"{metric.name}/{bound}", {}).get(labels, 0.0)) for bound in bounds
        ]
        family.add_metric(labels, buckets, total)
    return family


def _canonical(bound: str) -> str:
    """Bounds as Prometheus' own libraries write them: 1 is `1.0`."""
    return bound if bound == "+Inf" else str(float(bound))
