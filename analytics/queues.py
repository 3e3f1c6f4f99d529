"""What waits, as the logs tell it: depth, age and last reply per recipient domain, for the moment of asking."""

from __future__ import annotations

from dataclasses import dataclass

from analytics.lifecycle import INJECTED_AT
from analytics.store import Store

__all__ = ["Waiting", "waiting"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Recipients in flight to one domain. Ages in seconds; `reply` is the last deferral's, None if there was none."""

    domain: str
    provider: str
    in_flight: int
    deferred: int
    oldest_s: float
    median_s: float
    reply: str | None
    bounce_class: str | None


def waiting(store: Store, limit: int = 50, tenant: str | None = None) -> list[Waiting]:
    """The domains with the most recipients in flight, of one tenant if it is named."""
    rows = store.query(
        f"""
        WITH open AS (
            SELECT unit_id, domain, provider.name AS provider,
                   coalesce(deferrals, 0) + coalesce(local_attempts, 0) AS tries,
                   ($now - epoch_us({INJECTED_AT})) / 1e6 AS age
            FROM unit WHERE terminal IS NULL AND ($tenant IS NULL OR tenant.name = $tenant)
        ), fullest AS (
            SELECT domain, any_value(provider) AS provider, count(*) AS n, count(*) FILTER (tries > 0) AS tried,
                   max(age) AS oldest, quantile_disc(age, 0.5) AS median
            FROM open GROUP BY domain ORDER BY n DESC, domain LIMIT $limit
        ), said AS (
            SELECT domain,
                   arg_max({{'code': code, 'enhanced': enhanced, 'text': text, 'class': bounce_class}}, time) AS last
            FROM event LEFT JOIN reply_template ON reply_template.id = event.template_id
            WHERE type = 'deferral' AND unit_id IN (SELECT unit_id FROM open) GROUP BY domain
        )
        SELECT f.domain, f.provider, f.n, f.tried, f.oldest, f.median,
               concat_ws(' ', last.code, last.enhanced, last.text), last.class
        FROM fullest f LEFT JOIN said USING (domain) ORDER BY f.n DESC, f.domain
        """,
        {"now": store.clock(), "limit": limit, "tenant": tenant},
    )
    return [Waiting(*(*row[:6], row[6] or None, row[7])) for row in rows]
