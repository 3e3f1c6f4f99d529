"""ISP: how each mailbox provider treats our mail. Gmail, Outlook and Yahoo stay open; each provider has a row."""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries

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


def _pinned(name: str) -> Series:
    """The three, whatever provider is chosen above."""
    return metric(name).like(**SCOPE).where(provider=tuple(PINNED.values()))


def _three_now() -> Row:
    def of(provider: str) -> rates.Share:
        return rates.DELIVERY.over("$window", select=lambda name: metric(name).like(**SCOPE).where(provider=provider))

    return Row(
        "Gmail, Outlook, Yahoo",
        tuple(
            (8, verdict(f"{name} delivery rate", f"Does {name} take our mail?", of(provider)))
            for name, provider in PINNED.items()
        ),
        height=5,
    )


def _three_over_time() -> Row:
    def course(title: str, question: str, rate: Rate) -> timeseries.Panel:
        share = rate.over("$window", "provider", select=_pinned)
        return graph(
            title,
            f"{question} Each point covers the window before it. Computed as {share.meaning}.",
            [Query(share.value, "{{provider}}")],
            unit="percentunit",
            line=share.line,
        )

    return Row(
        "Since when",
        (
            (12, course("Delivery rate over time", "Since when do they not take our mail?", rates.DELIVERY)),
            (12, course("Attempts deferred over time", "Are they slowing us down?", rates.DEFERRAL)),
        ),
    )


def _each_provider() -> Row:
    def share(rate: Rate, window: str = "$window") -> rates.Share:
        return rate.over(window, select=scoped)

    stats = (
        verdict("Delivery rate", "Does this provider take our mail?", share(rates.DELIVERY)),
        verdict("Bounce rate", "How much of it comes back?", share(rates.BOUNCE)),
        verdict("Block rate", "Does it refuse us, rather than the recipient?", share(rates.BLOCK)),
        verdict("Attempt deferral rate", "Is it slowing us down?", share(rates.DEFERRAL)),
        verdict("Complaint rate, last day", "Do its users call our mail spam?", share(rates.COMPLAINT, "1d")),
        number(
            "Recipients with an outcome",
            "How much volume is behind these rates? Their denominator in the window.",
            total(scoped("mtascope_window_recipients").where(window="$window", measure="sent")),
        ),
    )
    return Row("$provider", tuple((4, panel) for panel in stats) + _courses(), height=6, repeat="provider")


def _courses() -> tuple[tuple[int, timeseries.Panel], ...]:
    courses = [
        Query(rate.over("$window", select=scoped).value, name)
        for rate, name in ((rates.DELIVERY, "delivered"), (rates.BOUNCE, "bounced"), (rates.DEFERRAL, "deferred"))
    ]
    failures = scoped("mtascope_failures_total")
    return (
        (
            6,
            graph(
                "Rates over time",
                "Since when? Delivered and bounced of recipients, deferred of attempts; each point covers the window "
                "before it.",
                courses,
                unit="percentunit",
                outcomes=("delivered", "bounced", "deferred"),
            ),
        ),
        (
            6,
            graph(
                "Outcomes per minute",
                "What happens to mail for this provider?",
                [Query(per_minute(terminal(), "type"), "{{type}}")],
                stacked=True,
                outcomes=TERMINAL,
            ),
        ),
        (
            6,
            graph(
                "Failures per minute by class",
                "Why does it fail? The ten most frequent bounce classes of failed attempts, bounces and complaints.",
                [Query(f"topk(10, {per_minute(failures, 'bounce_class')})", "{{bounce_class}}")],
                stacked=True,
            ),
        ),
        (
            6,
            graph(
                "Time to delivery",
                "How long until this provider takes it? From injection to its final 2xx; not time to the inbox.",
                latency(),
                unit="s",
            ),
        ),
    )


ISP = Board(
    uid="mtascope-isp",
    title="Mail / ISP",
    description="How does each mailbox provider treat our mail?",
    rows=(_three_now(), _three_over_time(), _each_provider()),
    tags=("mail",),
)
