"""Collector answers: do the logs of the fleet arrive, are they read, is anything lost, and does the store keep up."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, stat, timeseries

from dashboards import thresholds
from dashboards.board import Board, Row
from dashboards.panels import Query, bars, graph, number
from dashboards.promql import SCOPE, Series, highest, increase, metric, quantile, rate, total

__all__ = ["COLLECTOR"]


def _here(name: str) -> Series:
    return metric(name).like(**SCOPE)


def _records() -> Series:
    return _here("mtascope_collector_records_total")


# Is anything lost?


def _behind() -> stat.Panel:
    return number(
        "Behind by",
        "Does what is written show here at once? Time since the newest event that was loaded.",
        highest(_here("mtascope_collector_lag_seconds")),
        unit="s",
        line=thresholds.LAG,
    )


def _watermark() -> stat.Panel:
    return number(
        "Slowest node behind by",
        "Which node's records lag most? Time between now and what the slowest node has reached.",
        f"time() - min({_here('mtascope_watermark_timestamp_seconds')})",
        unit="s",
        line=thresholds.STALENESS,
    )


def _quarantined() -> stat.Panel:
    taken = _here("mtascope_snapshot_timestamp_seconds")  # an empty quarantine has no series: show 0, not "no data"
    return number(
        "In quarantine",
        "How many records could not be read? They are kept with their reason.",
        f"{total(_here('mtascope_quarantined_records'))} or 0 * {total(taken)}",
        line=thresholds.QUARANTINED,
    )


def _duplicates() -> stat.Panel:
    return number(
        "Came twice, last day",
        "How much comes over two roads, or is read again? Harmless: the same record is counted once.",
        increase(_records().where(result="duplicate"), over="1d"),
    )


def _clock() -> stat.Panel:
    return number(
        "Furthest clock ahead",
        "Does a node's clock run ahead? Its records land in the wrong minute.",
        highest(_here("mtascope_clock_ahead_seconds")),
        unit="s",
        line=thresholds.CLOCK,
    )


def _landing() -> stat.Panel:
    used, room = (
        total(_here("mtascope_collector_landing_bytes")),
        total(_here("mtascope_collector_landing_capacity_bytes")),
    )
    return number(
        "Landing in use",
        "How much of the room of the roads is taken by what waits for the store?",
        f"{used} / ({room} > 0)",
        unit="percentunit",
        line=thresholds.LANDING,
    )


# Flow


def _by_result() -> timeseries.Panel:
    return graph(
        "Records per second by result",
        "What becomes of what arrives? Duplicates are harmless: the same record over two roads, or read again.",
        [Query(rate(_records(), "result"), "{{result}}")],
        stacked=True,
    )


def _by_road() -> timeseries.Panel:
    return graph(
        "Records per second by road",
        "Which way do records come?",
        [Query(rate(_records(), "road"), "{{road}}")],
        stacked=True,
    )


def _by_node() -> timeseries.Panel:
    return graph(
        "Events per second by node",
        "Does every node of the fleet report? A node whose line ends writes no logs, or they do not reach us.",
        [Query(rate(_here("mtascope_events_total"), "node"), "{{node}}")],
        stacked=True,
    )


def _watermarks() -> timeseries.Panel:
    return graph(
        "Nodes behind by",
        "Which node lags, and since when? Time between now and the newest record of each.",
        [Query(f"time() - {highest(_here('mtascope_watermark_timestamp_seconds'), 'node')}", "{{node}}")],
        unit="s",
        line=thresholds.STALENESS,
    )


# The way through


def _commit() -> timeseries.Panel:
    seconds = _here("mtascope_collector_commit_seconds")
    return graph(
        "Time to commit a batch",
        "Is the store what holds us up?",
        [Query(quantile(q, seconds), f"p{q * 100:g}") for q in (0.5, 0.9, 0.99)],
        unit="s",
    )


def _landed() -> timeseries.Panel:
    seconds = _here("mtascope_collector_landing_seconds")
    return graph(
        "Time to land, p99",
        "How long does a sender wait for its receipt? From its bytes to the fsync, by road.",
        [Query(quantile(0.99, seconds, "road"), "{{road}}")],
        unit="s",
    )


def _refused() -> timeseries.Panel:
    refused = _here("mtascope_collector_refused_requests_total")
    return graph(
        "Requests refused per minute",
        "Who is turned away, and why? Wrong tokens, too large, too much at once.",
        [Query(f"{rate(refused, 'road', 'reason')} * 60", "{{road}}: {{reason}}")],
        stacked=True,
    )


def _files() -> bargauge.Panel:
    return bars(
        "Files",
        "How many files are followed, and in what state?",
        Query(total(_here("mtascope_collector_files"), "state"), "{{state}}"),
    )


def _backlog() -> timeseries.Panel:
    return graph(
        "Still to load",
        "How much lies there that is not loaded yet? Followed files and landed segments.",
        [
            Query(total(_here("mtascope_collector_backlog_bytes")), "files"),
            Query(total(_here("mtascope_collector_landing_bytes"), "road"), "landed: {{road}}"),
        ],
        unit="bytes",
        stacked=True,
    )


def _reasons() -> bargauge.Panel:
    return bars(
        "Quarantine by reason",
        "Why could it not be read?",
        Query(f"{total(_here('mtascope_quarantined_records'), 'reason')} > 0", "{{reason}}"),
    )


_LOST = Row(
    "Is anything lost?",
    ((4, _behind()), (4, _watermark()), (4, _quarantined()), (4, _duplicates()), (4, _clock()), (4, _landing())),
    height=4,
)
_FLOW = Row("What arrives", ((12, _by_result()), (12, _by_road()), (12, _by_node()), (12, _watermarks())))
_WAY = Row(
    "The way through",
    ((8, _commit()), (8, _landed()), (8, _refused()), (8, _backlog()), (8, _files()), (8, _reasons())),
)

COLLECTOR = Board(
    uid="mtascope-collector",
    title="Mail / Collector",
    description="Do the logs of the fleet arrive, are they read, and is anything lost?",
    rows=(_LOST, _FLOW, _WAY),
    tags=("mail", "infrastructure"),
    by_provider=False,
    by_window=False,
)
