"""The hour-of-week baseline as plain numbers, so that alert rules can be plain comparisons.

Prometheus keeps two weeks and could not compute them: what the same hour of the week (an hour more on either side)
brought in the last four weeks, and Wilson's bounds of the last hour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import duckdb

from analytics.ratios import wilson
from mta.events.instants import DAY, HOUR

__all__ = ["SIGNALS", "Baseline", "baselines"]

SIGNALS = {
    "bounce": ("ended", "ended - delivered"),
    "block": ("ended", "blocked"),
    "deferral": ("answered", "deferred"),
    "complaint": ("delivered", "complained"),
}
"""Label of the metric to what is counted and what of it is bad, as SQL over a step."""
_WEEKS = 4
_ONE_SIDED_99 = 2.326348


@dataclass(frozen=True, slots=True)
class Baseline:
    """Of one provider label and signal: `rate` with its 95 % bounds, `volume` an hour, and what the last hour shows.

    `lately_low` is the lower end of Wilson's 99 % bound of the last hour's rate; None where it had no mail.
    """

    provider: str
    signal: str
    rate: float
    low: float
    high: float
    volume: float
    lately_low: float | None


def baselines(con: duckdb.DuckDBPyConnection, at: int) -> list[Baseline]:
    """For the hour that ends at `at`, the end of a step; nothing for providers without mail at that time of week."""
    spans = " OR ".join(
        f"(step >= make_timestamp({begin}) AND step < make_timestamp({begin + 3 * HOUR}))" for begin in _begins(at)
    )
    lately = f"step >= make_timestamp({at - HOUR}) AND step < make_timestamp({at})"
    sums = ", ".join(
        f"sum({counted}) FILTER ({spans})::BIGINT, sum({bad}) FILTER ({spans})::BIGINT, "
        f"sum({counted}) FILTER ({lately})::BIGINT, sum({bad}) FILTER ({lately})::BIGINT"
        for counted, bad in SIGNALS.values()
    )
    weeks = ", ".join(
        f"max((step >= make_timestamp({begin}) AND step < make_timestamp({begin + 3 * HOUR}))::INT)"
        for begin in _begins(at)
    )
    rows = con.execute(
        f"SELECT coalesce(label, 'other'), list_sum([{weeks}]), {sums} "
        f"FROM step_count LEFT JOIN provider_label USING (provider) WHERE dimension = '' AND ({spans} OR {lately}) "
        "GROUP BY 1 ORDER BY 1"
    ).fetchall()
    return [one for label, known, *counts in rows for one in _of_label(label, known, counts)]


def _begins(at: int) -> list[int]:
    """An hour before the hour that ends at `at`, in each of the last weeks."""
    return [at - week * 7 * DAY - 2 * HOUR for week in range(1, _WEEKS + 1)]


def _of_label(label: str, weeks: int, counts: list[int | None]) -> list[Baseline]:
    found = []
    for place, signal in enumerate(SIGNALS):
        counted, bad, counted_now, bad_now = (count or 0 for count in counts[4 * place : 4 * place + 4])
        if counted <= 0 or not weeks:
            continue
        # Complaints come later than their mail: in a short time there may be more of them than of deliveries.
        low, high = wilson(min(bad, counted), counted)
        lately = _lower_99(min(bad_now, counted_now), counted_now) if counted_now else None
        volume = counted / (3 * weeks)
        found.append(Baseline(label, signal, min(1.0, bad / counted), low, high, volume, lately))
    return found


def _lower_99(bad: int, counted: int) -> float:
    share, z2 = bad / counted, _ONE_SIDED_99**2
    centre = share + z2 / (2 * counted)
    spread = _ONE_SIDED_99 * math.sqrt(share * (1 - share) / counted + z2 / (4 * counted * counted))
    return max(0.0, (centre - spread) / (1 + z2 / counted))
