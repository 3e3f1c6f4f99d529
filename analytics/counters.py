"""True counters: accumulators that change only in the transaction that stores the events they count (promise 10).

They count first-seen events by ingest, never outcomes, so nothing ever lowers them. A provider's label is fixed when it
is first named, so that a series never changes its meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import duckdb
import orjson

from analytics.metrics import LATENCY_BUCKETS

_KINDS = (
    ("reception", "remote"),
    ("delivery", "remote"),
    ("deferral", "remote"),
    ("deferral", "local"),
    ("bounce", "remote"),
    ("bounce", "local"),
    ("expiration", "local"),
    ("oob_bounce", "remote"),
    ("complaint", "remote"),
)
"""Series that every provider has from its first event on."""

__all__ = ["add", "count_events", "precreate", "read"]


def count_events(con: duckdb.DuckDBPyConnection, new: str) -> None:
    """Add the rows of the relation `new` (event rows) to every event counter."""
    provider = f"{new} LEFT JOIN provider_label USING (provider)"
    label = "coalesce(label, 'other')"
    _accumulate(con, "mtascope_events_total", ("node", "type::VARCHAR", "origin::VARCHAR"), new)
    _accumulate(
        con,
        "mtascope_provider_events_total",
        (label, "type::VARCHAR", "origin::VARCHAR"),
        provider,
        # What a log tells of a whole message has no provider, and Postfix tells it on several lines.
        where="domain <> '' OR type = 'rejection'",
    )
    _accumulate(
        con,
        "mtascope_failures_total",
        (label, "type::VARCHAR", "coalesce(bounce_group, 'unknown')", "bounce_class"),
        provider,
        where="bounce_class IS NOT NULL",
    )
    _count_latency(con, provider, label)


def precreate(con: duckdb.DuckDBPyConnection, labels: Iterable[str]) -> None:
    """Give providers their zero series: a counter that appears at 1 has hidden its first increase from `rate()`."""
    rows = [("mtascope_provider_events_total", _labels(label, *kind)) for label in labels for kind in _KINDS]
    for label in labels:
        rows.extend((f"mtascope_delivery_latency_seconds/{bound}", _labels(label)) for bound in _latency_parts())
    metrics, keys = zip(*rows, strict=True)
    # Lists in one statement: a statement a row takes longer than the whole rest of a load.
    con.execute(
        "INSERT INTO counter SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[]), 0 ON CONFLICT DO NOTHING",
        [list(metrics), list(keys)],
    )


def add(con: duckdb.DuckDBPyConnection, metric: str, labels: Sequence[str], value: float) -> None:
    """Add `value` to one accumulator."""
    con.execute(_UPSERT + "VALUES (?, ?, ?)" + _ON_CONFLICT, [metric, _labels(*labels), value])


def read(con: duckdb.DuckDBPyConnection) -> dict[str, dict[tuple[str, ...], float]]:
    """Every accumulator: metric name to label values to value. Histograms appear as `name/bound`, `name/sum`."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for metric, labels, value in con.execute("SELECT metric, labels, value FROM counter").fetchall():
        found.setdefault(metric, {})[tuple(orjson.loads(labels))] = value
    return found


_UPSERT = "INSERT INTO counter (metric, labels, value) "
_ON_CONFLICT = " ON CONFLICT (metric, labels) DO UPDATE SET value = counter.value + excluded.value"


def _accumulate(
    con: duckdb.DuckDBPyConnection, metric: str, labels: Sequence[str], relation: str, where: str = "true"
) -> None:
    con.execute(
        f"{_UPSERT} SELECT '{metric}', to_json([{', '.join(labels)}])::VARCHAR, count(*)::DOUBLE "
        f"FROM {relation} WHERE {where} GROUP BY ALL {_ON_CONFLICT}"
    )


def _labels(*values: str) -> str:
    """The key that `to_json` makes of the same list."""
    return orjson.dumps(values).decode()


def _latency_parts() -> list[str]:
    return [*(f"{bound:g}" for bound in LATENCY_BUCKETS), "+Inf", "sum"]


def _count_latency(con: duckdb.DuckDBPyConnection, relation: str, label: str) -> None:
    """Cumulative classic buckets of (delivery time - injection time), for deliveries whose injection is known."""
    counts = ", ".join(
        f"{{'part': '{bound:g}', 'value': (count(*) FILTER (seconds <= {bound:g}))::DOUBLE}}"
        for bound in LATENCY_BUCKETS
    )
    whole = "{'part': '+Inf', 'value': count(*)::DOUBLE}, {'part': 'sum', 'value': sum(seconds)}"
    known = (
        f"SELECT {label} AS label, greatest(0, epoch_us(time) - epoch_us(created)) / 1e6 AS seconds "
        f"FROM {relation} WHERE type = 'delivery' AND created IS NOT NULL"
    )
    con.execute(
        f"{_UPSERT} SELECT 'mtascope_delivery_latency_seconds/' || p.part, to_json([label])::VARCHAR, p.value "
        f"FROM (SELECT label, unnest([{counts}, {whole}]) AS p FROM ({known}) GROUP BY label) {_ON_CONFLICT}"
    )
