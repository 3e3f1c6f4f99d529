"""Answers as the command line and the API print them: the same keys, instants as RFC 3339, seconds as numbers."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from analytics.domains import Served
from analytics.explore import Table
from analytics.incidents.incident import Incident
from analytics.incidents.journal import as_json
from analytics.latency import Latency
from analytics.rates import COUNTS, RATES, RateRow
from analytics.ratios import Ratio
from analytics.reasons import Reason
from analytics.trace import Traced
from analytics.uniques import Uniques
from mta.events.instants import format_instant

__all__ = [
    "incident_rows",
    "latency_rows",
    "rate_rows",
    "reason_rows",
    "served_row",
    "table_answer",
    "traced_row",
    "uniques_rows",
]


def rate_rows(rows: Sequence[RateRow], only: Collection[str] = ()) -> list[dict[str, Any]]:
    """Keys, the bucket's begin if steps were asked for, counts, then each ratio as an object.

    `only` names the counts and rates wanted, which is quicker where a board has thousands of rows.
    """
    counts = [name for name in COUNTS if not only or name in only]
    rates = [rate.name for rate in RATES if not only or rate.name in only]
    answer = []
    for row in rows:
        found: dict[str, Any] = dict(row.key)
        if row.start is not None:
            found["time"] = format_instant(row.start)
        found["ripe"] = row.ripe
        for name in counts:
            found[name] = row.counts[name]
        for name in rates:
            found[name] = _ratio(row.rates[name])
        answer.append(found)
    return answer


def _ratio(rate: Ratio) -> dict[str, Any]:
    return {
        "num": rate.num,
        "den": rate.den,
        "value": rate.value,
        "low": rate.low,
        "high": rate.high,
        "verdict": rate.verdict,
        "phi": rate.phi,
    }


def latency_rows(found: list[Latency]) -> list[dict[str, Any]]:
    """Latencies in seconds."""
    return [
        {
            **latency.key,
            "delivered": latency.delivered,
            "in_flight": latency.in_flight,
            "latency": dict(latency.all),
            "first_attempt": dict(latency.first),
            "at_least": latency.at_least,
        }
        for latency in found
    ]


def reason_rows(reasons: list[Reason]) -> list[dict[str, Any]]:
    """The replies behind failures."""
    return [
        {**asdict(reason), "first_seen": format_instant(reason.first_seen),
         "last_seen": format_instant(reason.last_seen)}
        for reason in reasons
    ]  # fmt: skip


def incident_rows(incidents: list[Incident]) -> list[dict[str, Any]]:
    """Incidents; `closed` is null while one is open."""
    return [as_json(incident) for incident in incidents]


def traced_row(found: Traced) -> dict[str, Any]:
    """A traced recipient with its events."""
    content = asdict(found)
    return {
        "ids": {"message_id": found.message_id, "queue_ids": list(found.queue_ids)},
        **{name: content[name] for name in ("recipient", "provider", "tenant", "campaign", "outcome")},
        "returned": found.returned,
        "complained": found.complained,
        "injected": format_instant(found.injected),
        "events": [{**event, "time": format_instant(event["time"])} for event in content["events"]],
    }


def served_row(one: Served) -> dict[str, Any]:
    """A provider that a domain was seen with."""
    return {**asdict(one), "first_seen": format_instant(one.first_seen), "last_seen": format_instant(one.last_seen)}


def uniques_rows(found: Sequence[Uniques]) -> list[dict[str, Any]]:
    """Different recipients, with the half width of the interval as a share of them."""
    return [
        {
            **one.key,
            **({} if one.start is None else {"time": format_instant(one.start)}),
            "recipients": one.recipients,
            "error": one.error,
        }
        for one in found
    ]


def table_answer(table: Table) -> dict[str, Any]:
    """An answer to SQL: JSON has no instants, addresses of bytes or numbers without end, so these are text."""
    return {
        "columns": list(table.columns),
        "types": list(table.types),
        "rows": [[_plain(value) for value in row] for row in table.rows],
        "cut": table.cut,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return f"{value.isoformat(timespec='microseconds')}Z" if value.tzinfo is None else value.isoformat()
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if value is None or isinstance(value, bool | str) or (isinstance(value, int) and abs(value) < _EXACT):
        return value
    return str(value)


_EXACT = 2**53
"""Whole numbers from here on are not read back exactly by every reader of JSON; hashes are such numbers."""
