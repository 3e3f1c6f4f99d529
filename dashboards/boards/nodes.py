"""Nodes answers: how is each mail server of the fleet, the bundled MTA and KumoMTA side by side."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, stat, timeseries

from dashboards import fleet, thresholds
from dashboards.board import Board, Row
from dashboards.panels import Query, bars, graph, number
from dashboards.promql import RATE_INTERVAL, SCOPE, Series, metric

__all__ = ["NODES"]


def _here(name: str) -> Series:
    return metric(name).like(**SCOPE)


def _count() -> stat.Panel:
    return number("Nodes", "How many servers tell of themselves?", f"count({fleet.queued(_here)})", sparkline=False)


def _waiting() -> stat.Panel:
    return number("Messages waiting", "How much waits in the whole fleet?", f"sum({fleet.queued(_here)})")


def _flow() -> stat.Panel:
    delivered = f"sum({_outcome('delivered')}) * 60"
    return number("Delivered per minute", "How much goes out of the whole fleet?", delivered)


def _outcome(outcome: str) -> str:
    attempts = fleet.attempts(RATE_INTERVAL, _here)
    return f'({attempts}) and on (outcome) label_replace(vector(1), "outcome", "{outcome}", "", "")'


def _least_room() -> stat.Panel:
    return number(
        "Least room for a spool",
        "Which node will refuse mail first? Bytes free on the fullest spool disk.",
        f"min({fleet.spool_free(_here)})",
        unit="bytes",
        line=thresholds.SPOOL_FREE,
    )


def _queues() -> timeseries.Panel:
    return graph(
        "Messages waiting by node",
        "Does one node hold what the others do not?",
        [Query(fleet.queued(_here), "{{node}}")],
        stacked=True,
    )


def _received() -> timeseries.Panel:
    return graph(
        "Accepted per minute by node",
        "Is the load spread?",
        [Query(f"({fleet.received(RATE_INTERVAL, _here)}) * 60", "{{node}}")],
        stacked=True,
    )


def _attempts() -> timeseries.Panel:
    return graph(
        "Attempts per minute by outcome",
        "What do the fleet's attempts end in?",
        [Query(f"sum by (outcome) ({fleet.attempts(RATE_INTERVAL, _here)}) * 60", "{{outcome}}")],
        stacked=True,
        outcomes=("delivered", "deferred"),
    )


def _failing() -> timeseries.Panel:
    every = f"sum by (node) ({fleet.attempts(RATE_INTERVAL, _here)})"
    good = f"sum by (node) ({_outcome('delivered')})"
    return graph(
        "Attempts that failed, by node",
        "Is it the provider or one of our nodes? Attempts not delivered / attempts: a node that stands out is ours.",
        [Query(f"1 - {good} / ({every} > 0)", "{{node}}")],
        unit="percentunit",
        line=thresholds.DEFERRAL,
    )


def _rejections() -> timeseries.Panel:
    return graph(
        "Refused per minute by node",
        "Whose clients are turned away?",
        [Query(f"({fleet.rejected(RATE_INTERVAL, _here)}) * 60", "{{node}}")],
    )


def _connections() -> timeseries.Panel:
    return graph(
        "Open connections by node",
        "How many conversations does each node hold?",
        [Query(fleet.connections(_here), "{{node}}")],
    )


def _room() -> bargauge.Panel:
    return bars(
        "Room for the spool by node",
        "How long can each node still take mail? Bytes free.",
        Query(fleet.spool_free(_here), "{{node}}"),
        unit="bytes",
    )


NODES = Board(
    uid="mtascope-nodes",
    title="Mail / Nodes",
    description="How is each mail server of the fleet, the bundled MTA and KumoMTA side by side?",
    rows=(
        Row("The fleet", ((6, _count()), (6, _waiting()), (6, _flow()), (6, _least_room())), height=4),
        Row("By node", ((12, _queues()), (12, _received()), (12, _attempts()), (12, _failing()))),
        Row("At the door", ((8, _rejections()), (8, _connections()), (8, _room()))),
    ),
    tags=("mail", "infrastructure"),
    homes=("mtascope_mta_start_timestamp_seconds", "scheduled_count_total"),
    by_provider=False,
    by_window=False,
)
