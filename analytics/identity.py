"""The counting identity is checked, never assumed.

    injected = in_flight + delivered + bounced + expired + admin_bounced + suppressed + transferred

The figures (`rollup`) and the recipients (`unit`) are kept by different statements; they must tell the same sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from analytics.lifecycle import OUTCOME, OUTCOMES

__all__ = ["Identity", "broken_at_load", "check", "unaccounted"]

_SUMS = ", ".join(f"coalesce(sum({name}), 0)::BIGINT" for name in ("injected", *OUTCOMES))


# Recipients that stand in `unit`, those that were sealed, and less those of them that were taken back.
_COUNTED = f"""
    SELECT outcome, sum(n) FROM (
        SELECT {OUTCOME} AS outcome, count(*) AS n FROM unit WHERE successor IS NULL GROUP BY 1
        UNION ALL SELECT outcome, recipients FROM part_outcome
        UNION ALL SELECT coalesce(terminal_outcome, 'in_flight'), n FROM correction WHERE successor IS NULL
    ) GROUP BY outcome
"""
_UNITS = """
    SELECT (SELECT count(*) FROM unit WHERE successor IS NULL)
         + (SELECT coalesce(sum(recipients), 0) FROM part_outcome)
         + (SELECT coalesce(sum(n), 0) FROM correction WHERE successor IS NULL)
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """Sums by outcome, as the figures tell them and as the recipients do."""

    figures: Mapping[str, int]
    recipients: Mapping[str, int]

    @property
    def broken(self) -> int:
        """Recipients by which the identity fails, within the figures or between figures and recipients; 0 is right."""
        within = abs(self.figures["injected"] - sum(self.figures[name] for name in OUTCOMES))
        between = sum(abs(self.figures[name] - self.recipients[name]) for name in ("injected", *OUTCOMES))
        return within + between

    @property
    def holds(self) -> bool:
        """Everything adds up."""
        return self.broken == 0


def check(con: duckdb.DuckDBPyConnection) -> Identity:
    """Both sums, from one snapshot of the database."""
    figures = con.execute(f"SELECT {_SUMS} FROM rollup WHERE clock = 'cohort'").fetchall()[0]
    counted = {outcome: int(count) for outcome, count in con.execute(_COUNTED).fetchall()}
    recipients = {name: counted.get(name, 0) for name in OUTCOMES}
    return Identity(
        dict(zip(("injected", *OUTCOMES), figures, strict=True)), {"injected": sum(counted.values()), **recipients}
    )


def unaccounted(con: duckdb.DuckDBPyConnection, before: int) -> int:
    """Recipients without an outcome that were silent since `before`, or were sealed so.

    They stay counted among those in flight, for the identity; this says how many of them nobody should wait for.
    """
    rows = con.execute(
        "SELECT (SELECT count(*) FROM unit WHERE terminal IS NULL AND successor IS NULL "
        "AND last_event_at < make_timestamp($before)) "
        "+ (SELECT coalesce(sum(recipients), 0) FROM part_outcome WHERE outcome = 'in_flight' AND name <> 'gone') "
        "+ (SELECT coalesce(sum(n), 0) FROM correction WHERE successor IS NULL AND terminal_outcome IS NULL)",
        {"before": before},
    ).fetchall()
    return int(rows[0][0])


def broken_at_load(con: duckdb.DuckDBPyConnection) -> int:
    """The part of the check that is cheap enough for every load: the figures' totals against the number of units."""
    injected, *outcomes = con.execute(f"SELECT {_SUMS} FROM rollup WHERE clock = 'cohort'").fetchall()[0]
    units = int(con.execute(_UNITS).fetchall()[0][0])
    return int(abs(injected - sum(outcomes)) + abs(injected - units))
