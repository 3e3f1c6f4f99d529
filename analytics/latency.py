"""How long delivery takes, by any dimension, with what has not arrived yet counted as "at least".

Leaving mail in flight out of a percentile makes a provider look faster the more it holds back. Here a recipient in
flight is one whose latency is not known but longer than its age (right-censored): it stands at the far end of the
order, so that a percentile that falls among them is not a number but a bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from analytics.dimensions import DIMENSIONS
from analytics.rates import Question
from analytics.relations import standing
from analytics.store import Store
from mta.events.instants import MINUTE

__all__ = ["QUANTILES", "Latency", "latencies"]

_OUTCOME = "coalesce(terminal_outcome, 'in_flight')"
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles in seconds of one group. None: that percentile is still in flight; it is at least `at_least`.

    `first` holds the percentiles of what was delivered at the first attempt, and nothing else.
    """

    key: Mapping[str, str]
    delivered: int
    in_flight: int
    all: Mapping[str, float | None]
    first: Mapping[str, float | None]
    at_least: float | None


def latencies(store: Store, question: Question) -> list[Latency]:
    """Percentiles from injection to the provider's final 2xx, by time of injection.

    Recipients whose injection is unknown are left out (METRICS.md section 1), and so are those that ended otherwise.
    """
    conditions = ["injection IS NOT NULL"]
    parameters: dict[str, object] = {"now": store.clock(), "quantiles": list(QUANTILES.values())}
    for bound, sign in (("since", ">="), ("until", "<")):
        if (instant := getattr(question, bound)) is not None:
            conditions.append(f"injection {sign} make_timestamp(${bound})")
            parameters[bound] = instant // MINUTE * MINUTE
    where = {"direction": ("outbound",), **(question.where or {})}
    for number, (name, values) in enumerate(where.items()):
        conditions.append(f"list_contains($where{number}, {DIMENSIONS[name].of_recipient})")
        parameters[f"where{number}"] = list(values)
    keys = "".join(f"{DIMENSIONS[name].of_recipient} AS {name}, " for name in question.by)
    recipients = standing(store, question.since, question.until)
    rows = store.query(
        f"""
        WITH waited AS (
            SELECT {keys} {_OUTCOME} = 'delivered' AS arrived, coalesce(delivered_attempt, 0) = 1 AS at_once,
                   (epoch_us(terminal_moment) - epoch_us(injection)) / 1e6 AS took,
                   ($now - epoch_us(injection)) / 1e6 AS age
            FROM (SELECT *, least(received_at, created_at) AS injection FROM {recipients})
            WHERE {" AND ".join(conditions)} AND {_OUTCOME} IN ('delivered', 'in_flight')
        )
        SELECT {"".join(f"{name}, " for name in question.by)}
               count(*) FILTER (arrived), count(*) FILTER (NOT arrived),
               quantile_disc(CASE WHEN arrived THEN greatest(took, 0) ELSE 'inf'::DOUBLE END, $quantiles),
               quantile_disc(greatest(took, 0), $quantiles) FILTER (arrived AND at_once),
               min(age) FILTER (NOT arrived)
        FROM waited GROUP BY ALL ORDER BY count(*) DESC
        """,
        parameters,
    )
    return [_latency(question.by, row) for row in rows]


def _latency(by: tuple[str, ...], row: tuple[object, ...]) -> Latency:
    arrived, waiting, everything, first, age = row[len(by) :]
    return Latency(
        key={name: str(value) for name, value in zip(by, row, strict=False)},
        delivered=int(arrived),  # type: ignore[call-overload]
        in_flight=int(waiting),  # type: ignore[call-overload]
        all=_named(everything),
        first=_named(first),
        at_least=None if age is None else float(age),  # type: ignore[arg-type]
    )


def _named(values: object) -> dict[str, float | None]:
    if not isinstance(values, list):
        return dict.fromkeys(QUANTILES)
    return {name: None if value == float("inf") else value for name, value in zip(QUANTILES, values, strict=True)}
