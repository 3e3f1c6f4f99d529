"""Senders answers: which tenant or pool of ours is in trouble, and which one is the trouble."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, table, timeseries

from dashboards import thresholds
from dashboards.board import Board, Row
from dashboards.panels import Column, Query, bars, graph, ranking
from dashboards.promql import SCOPE, Series, metric, total
from dashboards.thresholds import Line

__all__ = ["SENDERS"]


def _mail(kind: str, measure: str, window: str = "$window") -> Series:
    name = f"mtascope_window_{kind}_mail"
    return metric(name).like(**SCOPE).where(window=window, measure=measure)


def _share(kind: str, part: str, whole: str, line: Line) -> str:
    """Part of whole by tenant or pool, where there is enough for a verdict."""
    return f"{total(_mail(kind, part), kind)} / ({total(_mail(kind, whole), kind)} >= {line.floor})"


def _undelivered(kind: str) -> str:
    sent = total(_mail(kind, "sent"), kind)
    return f"1 - {total(_mail(kind, 'delivered'), kind)} / ({sent} >= {thresholds.BOUNCE.floor})"


def _listed(kind: str, plural: str) -> table.Panel:
    return ranking(
        f"Largest {plural}",
        f"Who sends how much, and how does it go? The twenty largest {plural} of the day; all others together are "
        "`other`. A share is shown only where the volume allows a verdict.",
        kind,
        (
            Column("Recipients", total(_mail(kind, "sent"), kind)),
            Column("Not delivered", _undelivered(kind), "percentunit"),
            Column("Blocked", _share(kind, "block", "sent", thresholds.BOUNCE), "percentunit"),
            Column("Attempts deferred", _share(kind, "deferred", "answered", thresholds.DEFERRAL), "percentunit"),
            Column("Complaints", total(_mail(kind, "complained"), kind)),
        ),
    )


def _volume(kind: str, plural: str) -> timeseries.Panel:
    return graph(
        f"Volume of {plural}",
        f"Who sends more than before? Recipients with an outcome in the last hour, by {kind}.",
        [Query(total(_mail(kind, "sent", "1h"), kind), f"{{{{{kind}}}}}")],
        stacked=True,
    )


def _trouble(kind: str, plural: str) -> timeseries.Panel:
    return graph(
        f"Not delivered, by {kind}",
        f"Which of the {plural} is in trouble, and since when? Recipients not delivered / recipients with an outcome.",
        [Query(_undelivered(kind), f"{{{{{kind}}}}}")],
        unit="percentunit",
        line=thresholds.BOUNCE,
    )


def _blocks(kind: str, plural: str) -> bargauge.Panel:
    return bars(
        f"Blocks by {kind}",
        f"Which of the {plural} spoils the reputation of all? Recipients refused for who we are, in the window.",
        Query(f"topk(10, {total(_mail(kind, 'block'), kind)} > 0)", f"{{{{{kind}}}}}"),
    )


def _complaints(kind: str, plural: str) -> bargauge.Panel:
    return bars(
        f"Complaints by {kind}",
        f"Whose mail is called spam? Complaints received in a day about mail of each of the {plural}.",
        Query(f"topk(10, {total(_mail(kind, 'complained', '1d'), kind)} > 0)", f"{{{{{kind}}}}}"),
    )


def _rows(kind: str, plural: str) -> tuple[Row, Row]:
    return (
        Row(plural.capitalize(), ((16, _listed(kind, plural)), (8, _blocks(kind, plural))), height=10),
        Row(
            f"Course of {plural}",
            ((8, _volume(kind, plural)), (8, _trouble(kind, plural)), (8, _complaints(kind, plural))),
        ),
    )


SENDERS = Board(
    uid="mtascope-senders",
    title="Mail / Senders",
    description="Which tenant or pool of ours is in trouble, and which one is the trouble?",
    rows=(*_rows("tenant", "tenants"), *_rows("pool", "pools")),
    tags=("mail",),
    by_provider=False,
    windows=("1h", "1d"),
)
