"""ISP: how each mailbox provider treats our mail. Gmail, Outlook and Yahoo stay open; each provider has a row."""

from __future__ import annotations

from grafana_foundation_sdk.builders import stat, timeseries

from dashboards import rates
from dashboards.board import Board, Row
from dashboards.flow import TERMINAL, latency, per_minute, terminal
from dashboards.panels import Query, graph, number, verdict
from dashboards.promql import SCOPE, Series, metric, scoped, total
from dashboards.rates import Rate

__all__ = ["ISP", "PINNED"]

PINNED = {"Gmail": "gmail", "Outlook": "microsoft-consumer", "Yahoo": "yahoo"}
"""The consumer mailboxes by the name people use. Mail that they host for companies (Google Workspace, Microsoft 365) is
judged by other rules and has rows of its own."""


# The three, whatever provider is chosen above


def _now(name: str, provider: str) -> stat.Panel:
    share = rates.DELIVERY.over("$window", select=lambda gauge: metric(gauge).like(**SCOPE).where(provider=provider))
    return verdict(f"{name} delivery rate", f"Does {name} take our mail?", share)


def _over_time(title: str, question: str, rate: Rate) -> timeseries.Panel:
    share = rate.over("$window", "provider", select=_of_the_three)
    return graph(
        title,
        f"{question} Each point covers the window before it. Computed as {share.meaning}.",
        [Query(share.value, "{{provider}}")],
        unit="percentunit",
        line=share.line,
    )


def _of_the_three(gauge: str) -> Series:
    return metric(gauge).like(**SCOPE).where(provider=tuple(PINNED.values()))


# Each provider


def _verdict(title: str, question: str, rate: Rate, window: str = "$window") -> stat.Panel:
    return verdict(title, question, rate.over(window, select=scoped))


def _volume() -> stat.Panel:
    return number(
        "Recipients with an outcome",
        "How much volume is behind these rates? Their denominator in the window.",
        total(scoped("mtascope_window_recipients").where(window="$window", measure="sent")),
    )


def _rates() -> timeseries.Panel:
    shown = {"delivered": rates.DELIVERY, "bounced": rates.BOUNCE, "deferred": rates.DEFERRAL}
    return graph(
        "Rates over time",
        "Since when? Delivered and bounced of recipients, deferred of attempts; each point is the window before it.",
        [Query(rate.over("$window", select=scoped).value, name) for name, rate in shown.items()],
        unit="percentunit",
        outcomes=shown,
    )


def _outcomes() -> timeseries.Panel:
    return graph(
        "Outcomes per minute",
        "What happens to mail for this provider?",
        [Query(per_minute(terminal(), "type"), "{{type}}")],
        stacked=True,
        outcomes=TERMINAL,
    )


def _failures_by_class() -> timeseries.Panel:
    failures = scoped("mtascope_failures_total")
    return graph(
        "Failures per minute by class",
        "Why does it fail? The ten most frequent bounce classes of failed attempts, bounces and complaints.",
        [Query(f"topk(10, {per_minute(failures, 'bounce_class')})", "{{bounce_class}}")],
        stacked=True,
    )


def _time_to_delivery() -> timeseries.Panel:
    return graph(
        "Time to delivery",
        "How long until this provider takes it? From injection to its final 2xx; not time to the inbox.",
        latency(),
        unit="s",
    )


_THREE_NOW = Row(
    "Gmail, Outlook, Yahoo",
    tuple((8, _now(name, provider)) for name, provider in PINNED.items()),
    height=5,
)
_THREE_OVER_TIME = Row(
    "Since when",
    (
        (12, _over_time("Delivery rate over time", "Since when do they not take our mail?", rates.DELIVERY)),
        (12, _over_time("Attempts deferred over time", "Are they slowing us down?", rates.DEFERRAL)),
    ),
)
_EACH = Row(
    "$provider",
    (
        (4, _verdict("Delivery rate", "Does this provider take our mail?", rates.DELIVERY)),
        (4, _verdict("Bounce rate", "How much of it comes back?", rates.BOUNCE)),
        (4, _verdict("Block rate", "Does it refuse us, rather than the recipient?", rates.BLOCK)),
        (4, _verdict("Attempt deferral rate", "Is it slowing us down?", rates.DEFERRAL)),
        (4, _verdict("Complaint rate, last day", "Do its users call our mail spam?", rates.COMPLAINT, "1d")),
        (4, _volume()),
        (6, _rates()),
        (6, _outcomes()),
        (6, _failures_by_class()),
        (6, _time_to_delivery()),
    ),
    height=6,
    repeat="provider",
)

ISP = Board(
    uid="mtascope-isp",
    title="Mail / ISP",
    description="How does each mailbox provider treat our mail?",
    rows=(_THREE_NOW, _THREE_OVER_TIME, _EACH),
    tags=("mail",),
)
