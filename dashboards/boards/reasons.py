"""Bounces and Reasons answers: why does mail fail, at whom, and what changed against yesterday and last week."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, stat, timeseries

from dashboards import rates, thresholds
from dashboards.board import Board, Row
from dashboards.flow import per_minute
from dashboards.panels import Query, bars, graph, number, verdict
from dashboards.promql import RATE_INTERVAL, Series, increase, scoped, total
from dashboards.rates import Rate, Share

__all__ = ["REASONS"]

_ENDED = ("bounce", "expiration", "admin_bounce")


def _failures(*types: str) -> Series:
    failures = scoped("mtascope_failures_total")
    return failures.where(type=types) if types else failures


def _share(rate: Rate, *labels: str, window: str = "$window") -> Share:
    return rate.over(window, *labels, select=scoped)


def _top(count: int, expr: str) -> str:
    return f"topk({count}, {expr} > 0)"


# How much


def _bounced() -> stat.Panel:
    return verdict("Bounced", "How much mail comes back, all causes together?", _share(rates.BOUNCE))


def _blocked() -> stat.Panel:
    return verdict("Blocked", "How much is refused for who we are, not for whom we mail?", _share(rates.BLOCK))


def _hard() -> stat.Panel:
    return verdict("Bad addresses", "How good are our lists?", _share(rates.HARD))


def _deferred() -> stat.Panel:
    return verdict("Attempts deferred", "How often are we told to try again?", _share(rates.DEFERRAL))


def _unknown() -> stat.Panel:
    unclassed = increase(_failures().where(bounce_class="unknown"), over="1d")
    every = increase(_failures(), over="1d")
    return number(
        "Not understood, last day",
        "How many failures have a reason that no rule knows? Tell us about them: `mtascope errors` shows the replies.",
        f"({unclassed} or 0 * {every}) / ({every} > 0)",
        unit="percentunit",
        line=thresholds.UNKNOWN,
    )


def _late() -> stat.Panel:
    late = scoped("mtascope_window_recipients").where(window="$window", measure="oob_bounced")
    return number(
        "Came back late",
        "How many recipients bounced after the provider had taken the mail?",
        total(late),
    )


# Why


def _by_group() -> timeseries.Panel:
    return graph(
        "Failures per minute by kind of cause",
        "What kind of trouble is it, and since when? Failed attempts, bounces, late bounces and complaints.",
        [Query(per_minute(_failures(), "bounce_group"), "{{bounce_group}}")],
        stacked=True,
    )


def _by_class() -> timeseries.Panel:
    return graph(
        "Bounces per minute by class",
        "Which reason ends it for good? Recipients that bounced, expired or were cancelled, the ten largest classes.",
        [Query(f"topk(10, {per_minute(_failures(*_ENDED), 'bounce_class')})", "{{bounce_class}}")],
        stacked=True,
    )


def _deferrals_by_class() -> timeseries.Panel:
    return graph(
        "Deferrals per minute by class",
        "Why are we told to wait? Attempts answered with 4xx or failed here, the ten largest classes.",
        [Query(f"topk(10, {per_minute(_failures('deferral'), 'bounce_class')})", "{{bounce_class}}")],
        stacked=True,
    )


def _top_reasons() -> bargauge.Panel:
    return bars(
        "Reasons of the last hour",
        "What should be looked at first? Failures by class within an hour, the fifteen largest.",
        Query(_top(15, increase(_failures(), "bounce_class", over="1h")), "{{bounce_class}}"),
    )


def _at_whom() -> bargauge.Panel:
    return bars(
        "Reasons by provider, last hour",
        "Whose words are they? Failures by provider and class within an hour, the fifteen largest.",
        Query(_top(15, increase(_failures(), "provider", "bounce_class", over="1h")), "{{provider}}: {{bounce_class}}"),
    )


# What changed


def _against_yesterday() -> timeseries.Panel:
    return graph(
        "Failures against yesterday and last week",
        "Is this an ordinary day? Failures per minute now, a day ago and a week ago.",
        [
            Query(per_minute(_failures()), "now"),
            Query(f"sum(rate({_failures()}[{RATE_INTERVAL}] offset 1d)) * 60", "a day ago"),
            Query(f"sum(rate({_failures()}[{RATE_INTERVAL}] offset 1w)) * 60", "a week ago"),
        ],
    )


def _shift() -> bargauge.Panel:
    hour = increase(_failures(), "bounce_class", over="1h")
    day = f"sum by (bounce_class) (increase({_failures()}[1d])) / 24"
    return bars(
        "More than usual",
        "Which reason has grown? Failures of the last hour beyond the average hour of the last day, by class.",
        Query(_top(10, f"{hour} - ({day})"), "{{bounce_class}}"),
    )


def _by_provider() -> timeseries.Panel:
    share = _share(rates.BLOCK, "provider")
    return graph(
        "Block rate by provider",
        f"Who refuses us for who we are? Computed as {share.meaning}.",
        [Query(share.value, "{{provider}}")],
        unit="percentunit",
        line=share.line,
    )


_HOW_MUCH = Row(
    "How much",
    ((4, _bounced()), (4, _blocked()), (4, _hard()), (4, _deferred()), (4, _late()), (4, _unknown())),
    height=4,
)
_WHY = Row("Why", ((12, _by_group()), (12, _by_class()), (12, _deferrals_by_class()), (12, _top_reasons())))
_CHANGED = Row(
    "Where, and what changed",
    ((12, _at_whom()), (12, _shift()), (12, _by_provider()), (12, _against_yesterday())),
)

REASONS = Board(
    uid="mtascope-reasons",
    title="Mail / Bounces and Reasons",
    description="Why does mail fail, at whom, and what changed?",
    rows=(_HOW_MUCH, _WHY, _CHANGED),
    tags=("mail",),
)
