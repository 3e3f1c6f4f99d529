"""What mail does over time, as PromQL over the store's first-seen counters: the flows that several boards show."""

from __future__ import annotations

from dashboards.panels import Query
from dashboards.promql import Series, quantile, rate, scoped

__all__ = ["TERMINAL", "latency", "per_minute", "received", "terminal"]

TERMINAL = ("delivery", "bounce", "expiration", "admin_bounce", "transfer_out")
"""Event types that end a recipient's journey: one of them for each recipient processed."""


def terminal() -> Series:
    """Recipients that reached an outcome."""
    return scoped("mtascope_provider_events_total").where(type=TERMINAL)


def received() -> Series:
    """Recipients accepted into a spool."""
    return scoped("mtascope_provider_events_total").where(type="reception")


def per_minute(counter: Series, *labels: str) -> str:
    """A counter's rate as people say it."""
    return f"{rate(counter, *labels)} * 60"


def latency() -> tuple[Query, ...]:
    """Time from injection to the provider's final 2xx at three quantiles."""
    seconds = scoped("mtascope_delivery_latency_seconds")
    return tuple(Query(quantile(q, seconds), f"p{q * 100:g}") for q in (0.5, 0.9, 0.99))
