"""Incidents answers: what is wrong now, is it more than is usual at this hour of the week, and does the watch watch."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, stat, timeseries

from dashboards import rates, thresholds
from dashboards.board import Board, Row
from dashboards.panels import Query, bars, graph, number
from dashboards.promql import SCOPE, Series, highest, increase, metric, scoped, total
from dashboards.rates import Rate

__all__ = ["INCIDENTS"]


def _here(name: str) -> Series:
    return metric(name).like(**SCOPE)


def _open() -> stat.Panel:
    return number(
        "Open now",
        "Is anything wrong? Incidents of the detector, each with a cause: see `mtascope incidents`.",
        f"{total(scoped('mtascope_incident_open'))} or vector(0)",
        line=thresholds.FIRING,
        names={"0": "none"},
        sparkline=False,
    )


def _opened() -> stat.Panel:
    return number(
        "Opened, last week",
        "Is it a quiet week? Incidents that were opened in seven days.",
        f"{increase(_here('mtascope_incident_changes_total').where(change='opened'), over='1w')} or vector(0)",
        sparkline=False,
    )


def _judged() -> stat.Panel:
    return number(
        "Judged up to, ago",
        "Does the watch keep up? Time since the last five-minute step that it judged; a step is judged when its mail "
        "is in.",
        f"time() - {highest(_here('mtascope_watch_judged_timestamp_seconds'))}",
        unit="s",
        line=thresholds.WATCH,
    )


def _series() -> stat.Panel:
    return number(
        "Watched",
        "How much is watched? Providers, and tenants and pools at them.",
        total(_here("mtascope_watch_series")),
    )


def _waiting() -> stat.Panel:
    return number(
        "Notifications waiting",
        "Does anybody hear of it? Notifications that Alertmanager, a webhook or a mail server has not taken yet.",
        f"{total(_here('mtascope_notifications_waiting'))} or vector(0)",
        line=thresholds.NOTIFICATIONS,
        sparkline=False,
    )


def _where() -> bargauge.Panel:
    return bars(
        "Open incidents by kind and provider",
        "What kind of trouble is it, and where does it show?",
        Query(f"{total(scoped('mtascope_incident_open'), 'kind', 'provider')} > 0", "{{provider}}: {{kind}}"),
    )


def _course() -> timeseries.Panel:
    return graph(
        "Open incidents",
        "Since when? Open incidents by kind.",
        [Query(total(scoped("mtascope_incident_open"), "kind"), "{{kind}}")],
        stacked=True,
    )


def _against_usual(title: str, question: str, rate: Rate, signal: str) -> timeseries.Panel:
    """The rate of the last hour by provider beside what is usual at this hour of the week."""
    usual = scoped("mtascope_baseline_ratio").where(signal=signal)
    return graph(
        title,
        f"{question} The share of the last hour, beside what this hour of the week usually brings (four weeks).",
        [
            Query(rate.over("1h", "provider", select=scoped).value, "{{provider}}"),
            Query(highest(usual, "provider"), "usual: {{provider}}"),
        ],
        unit="percentunit",
        line=rate.line,
    )


def _volume() -> timeseries.Panel:
    usual = scoped("mtascope_baseline_hourly_recipients").where(signal="bounce")
    sent = scoped("mtascope_window_recipients").where(window="1h", measure="sent")
    return graph(
        "Volume against what is usual",
        "Is something missing? Recipients with an outcome in the last hour as a share of what this hour of the week "
        "usually has; far below one is silence, far above one a campaign.",
        [Query(f"{total(sent, 'provider')} / ({highest(usual, 'provider')} > 10)", "{{provider}}")],
    )


_NOW = Row(
    "Is anything wrong?",
    ((5, _open()), (5, _opened()), (5, _judged()), (4, _series()), (5, _waiting())),
    height=4,
)
_WHAT = Row("What, where, since when", ((12, _where()), (12, _course())))
_USUAL = Row(
    "Against what is usual",
    (
        (12, _against_usual("Bounces against what is usual", "Who bounces more than usual?", rates.BOUNCE, "bounce")),
        (12, _against_usual("Blocks against what is usual", "Who blocks more than usual?", rates.BLOCK, "block")),
        (
            12,
            _against_usual(
                "Deferrals against what is usual", "Who defers more than usual?", rates.DEFERRAL, "deferral"
            ),
        ),
        (12, _volume()),
    ),
)

INCIDENTS = Board(
    uid="mtascope-incidents",
    title="Mail / Incidents",
    description="What is wrong now, is it more than usual, and does anybody hear of it?",
    rows=(_NOW, _WHAT, _USUAL),
    tags=("mail",),
    by_window=False,
    since="now-24h",
)
