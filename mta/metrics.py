"""The metrics of the bundled MTA: their declaration, and the object through which one worker counts.

There is no global state: each worker has its own registry. What is a state of the moment (queue, connections, disk) is
not counted along but read from the worker when somebody scrapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import prometheus_client
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mta.events.metric import Metric

__all__ = ["METRICS", "LiveState", "MtaMetrics"]

_PREFIX = "mtascope_mta_"

METRICS: tuple[Metric, ...] = (
    Metric(
        f"{_PREFIX}messages_received_total",
        "counter",
        "Recipients accepted into the spool, each counted as a message of its own.",
        ("protocol",),
    ),
    Metric(
        f"{_PREFIX}feedback_mails_total",
        "counter",
        "Mails that came back to feedback domains and return paths, by what they were read as.",
        ("result",),
    ),
    Metric(
        f"{_PREFIX}suppressed_total",
        "counter",
        "Recipients that were not sent to because they are on the suppression list.",
    ),
    Metric(f"{_PREFIX}suppression_entries", "gauge", "Entries of the suppression list in use."),
    Metric(f"{_PREFIX}rejections_total", "counter", "Commands that the listener refused.", ("reason",)),
    Metric(
        f"{_PREFIX}attempts_total",
        "counter",
        "Delivery attempts by outcome; local ones failed before a peer answered.",
        ("outcome",),
    ),
    Metric(f"{_PREFIX}queue_messages", "gauge", "Messages that wait, never tried or retrying.", ("state",)),
    Metric(
        f"{_PREFIX}queue_domain_messages",
        "gauge",
        "Messages that wait, for the 50 fullest recipient domains and all other.",
        ("domain",),
    ),
    Metric(f"{_PREFIX}queue_oldest_age_seconds", "gauge", "Age of the oldest message that waits.", unit="seconds"),
    Metric(f"{_PREFIX}dead_letter_messages", "gauge", "Dead letters kept for the operator.", ("reason",)),
    Metric(f"{_PREFIX}connections", "gauge", "Open SMTP connections.", ("direction",)),
    Metric(
        f"{_PREFIX}tls_connections_total",
        "counter",
        "SMTP connections by what became of TLS: ok, failed or not_offered.",
        ("direction", "provider", "result", "tls_version"),
    ),
    Metric(
        f"{_PREFIX}tls_policy_sessions_total",
        "counter",
        "SMTP sessions out for which somebody asks for TLS, by who (shaping, route, sts, sts-testing, dane) and by "
        "result: success or a failure type of RFC 8460.",
        ("policy", "result"),
    ),
    Metric(f"{_PREFIX}log_records_total", "counter", "Log records that became durable.", ("type",)),
    Metric(
        f"{_PREFIX}journal_sync_seconds",
        "histogram",
        "Time that an fdatasync of the spool journal took.",
        unit="seconds",
        buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
    ),
    Metric(f"{_PREFIX}spool_bytes", "gauge", "Size of the spool journal.", unit="bytes"),
    Metric(f"{_PREFIX}spool_free_bytes", "gauge", "Free space on the disk of the spool.", unit="bytes"),
    Metric(f"{_PREFIX}start_timestamp_seconds", "gauge", "When the worker started.", unit="seconds"),
)
"""In the order in which they are shown."""

_BY_NAME = {metric.name: metric for metric in METRICS}
_KNOWN_LABELS: dict[str, tuple[tuple[str, ...], ...]] = {
    "messages_received_total": (("ESMTP",), ("HTTP",), ("Internal",)),
    "suppressed_total": (),
    "feedback_mails_total": tuple(
        (result,) for result in ("bounce", "complaint", "no-report", "no-failure", "forged", "expired", "unreadable")
    ),
    "tls_policy_sessions_total": tuple(
        (policy, result)
        for policy in ("shaping", "route", "sts", "sts-testing", "dane")
        for result in (
            *("success", "starttls-not-supported", "certificate-host-mismatch", "certificate-expired"),
            *("certificate-not-trusted", "validation-failure"),
        )
    ),
    "rejections_total": tuple(
        (reason,)
        for reason in (
            "relay-denied",
            "no-space",
            "log-backlog",
            "too-many-recipients",
            "too-large",
            "bad-address",
            "bad-content",
            "loop",
            "internal",
            "connections",
            "login",
            "syntax",
            "other",
        )
    ),
    "attempts_total": (("delivered",), ("deferred",), ("bounced",), ("local",)),
    "log_records_total": tuple(
        (kind,)
        for kind in (
            "Reception",
            "Delivery",
            "TransientFailure",
            "Bounce",
            "Expiration",
            "AdminBounce",
            "Rejection",
            "Feedback",
            "OOB",
        )
    ),
}


@dataclass(frozen=True, slots=True)
class LiveState:
    """The worker at one moment. `domains` holds the fullest; what the others hold is under "other"."""

    fresh: int = 0
    retrying: int = 0
    domains: Mapping[str, int] = field(default_factory=dict)
    oldest_age: float = 0.0
    dead_letters: Mapping[str, int] = field(default_factory=dict)
    inbound: int = 0
    outbound: int = 0
    spool_bytes: int = 0
    free_bytes: int = 0
    suppressed: int = 0


class MtaMetrics:
    """Counts for one worker, in a registry of its own. `watch` names where the state of the moment is read."""

    def __init__(self, started: float) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        self._counters = {name: self._counter(name) for name in _KNOWN_LABELS}
        self._counters["tls_connections_total"] = self._counter("tls_connections_total")
        sync = _BY_NAME[f"{_PREFIX}journal_sync_seconds"]
        self._hot = {
            (name, label): self._counters[name].labels(label)
            for name in ("attempts_total", "log_records_total", "messages_received_total")
            for (label,) in _KNOWN_LABELS[name]
        }
        self._sync = prometheus_client.Histogram(sync.name, sync.help, buckets=sync.buckets, registry=self.registry)
        self._started = started

    def _counter(self, name: str) -> prometheus_client.Counter:
        metric = _BY_NAME[_PREFIX + name]
        counter = prometheus_client.Counter(metric.name, metric.help, metric.labels, registry=self.registry)
        for labels in _KNOWN_LABELS.get(name, ()):
            counter.labels(*labels)
        return counter

    def watch(self, state: Callable[[], LiveState]) -> None:
        """Read gauges from `state` at each scrape."""
        self.registry.register(_Live(state, self._started))

    def received(self, messages: int, protocol: str = "ESMTP") -> None:
        """Messages were accepted, by ESMTP or HTTP."""
        self._hot["messages_received_total", protocol].inc(messages)

    def suppressed(self) -> None:
        """A recipient was not sent to."""
        self._counters["suppressed_total"].inc()

    def came_back(self, result: str) -> None:
        """A mail came back to a domain of ours and was read as that."""
        self._counters["feedback_mails_total"].labels(result).inc()

    def rejected(self, reason: str) -> None:
        """A command was refused."""
        self._counters["rejections_total"].labels(reason).inc()

    def attempted(self, outcome: str) -> None:
        """An attempt ended: delivered, deferred, bounced or local."""
        self._hot["attempts_total", outcome].inc()

    def tls(self, direction: str, provider: str, result: str, version: str) -> None:
        """A connection did (ok), tried (failed) or could not try (not_offered) TLS."""
        self._counters["tls_connections_total"].labels(direction, provider, result, version).inc()

    def tls_policy(self, policy: str, result: str) -> None:
        """A connection did what a policy asks of TLS, or did not."""
        self._counters["tls_policy_sessions_total"].labels(policy, result).inc()

    def expect_tls(self, providers: Iterable[str]) -> None:
        """Give the TLS series of these providers, and of clients, their zeros.

        Connections are opened when traffic begins and kept for long: a series that appeared with them would have hidden
        its only increase from `rate()`.
        """
        counter = self._counters["tls_connections_total"]
        for direction, provider in [("inbound", ""), *(("outbound", provider) for provider in providers)]:
            for result, version in (("ok", "TLSv1.3"), ("ok", "TLSv1.2"), ("failed", ""), ("not_offered", "")):
                counter.labels(direction, provider, result, version)

    def logged(self, kind: str) -> None:
        """A log record became durable."""
        counter = self._hot.get(("log_records_total", kind)) or self._counters["log_records_total"].labels(kind)
        counter.inc()

    def synced(self, seconds: float) -> None:
        """The journal was flushed."""
        self._sync.observe(seconds)

    def exposition(self) -> bytes:
        """Everything in Prometheus's text format."""
        return prometheus_client.generate_latest(self.registry)


class _Live(Collector):
    """Turns the state of the moment into gauges."""

    def __init__(self, read: Callable[[], LiveState], started: float) -> None:
        self._read = read
        self._started = started

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing: what is read must not be read at registration already."""
        return ()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """One family for each gauge that is declared."""
        state = self._read()
        yield _gauge("queue_messages", {"fresh": state.fresh, "retrying": state.retrying})
        yield _gauge("queue_domain_messages", state.domains)
        yield _gauge("queue_oldest_age_seconds", state.oldest_age)
        yield _gauge("dead_letter_messages", {"bounced": 0, "expired": 0, **state.dead_letters})
        yield _gauge("connections", {"inbound": state.inbound, "outbound": state.outbound})
        yield _gauge("spool_bytes", state.spool_bytes)
        yield _gauge("spool_free_bytes", state.free_bytes)
        yield _gauge("suppression_entries", state.suppressed)
        yield _gauge("start_timestamp_seconds", self._started)


def _gauge(name: str, value: Mapping[str, float] | float) -> GaugeMetricFamily:
    metric = _BY_NAME[_PREFIX + name]
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    if isinstance(value, Mapping):
        for label, number in value.items():
            family.add_metric([label], number)
    else:
        family.add_metric([], value)
    return family
