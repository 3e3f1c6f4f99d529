"""Why mail fails: the replies behind failures, by provider, most frequent first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analytics.store import Store

__all__ = ["Reason", "top_reasons"]


@dataclass(frozen=True, slots=True)
class Reason:
    """One reply template at one provider. Instants are microseconds."""

    provider: str
    type: str
    origin: str
    bounce_class: str
    bounce_group: str
    severity: str
    code: int | None
    enhanced: str | None
    text: str
    events: int
    first_seen: int
    last_seen: int


def top_reasons(store: Store, *, since: int, providers: Sequence[str] | None = None, limit: int = 50) -> list[Reason]:
    """Failures since an instant, grouped by provider, type and reply template; the most frequent `limit` of them."""
    rows = store.query(
        """
        SELECT provider, type::VARCHAR, origin::VARCHAR, coalesce(bounce_class, 'unknown'),
               coalesce(bounce_group, 'unknown'), coalesce(severity, 'soft'), code, enhanced, coalesce(text, ''),
               count(*) AS events, epoch_us(min(time)), epoch_us(max(time))
        FROM event LEFT JOIN reply_template ON reply_template.id = event.template_id
        WHERE time >= make_timestamp($since) AND bounce_class IS NOT NULL
          AND ($providers IS NULL OR list_contains($providers, provider))
        GROUP BY ALL ORDER BY events DESC, provider, coalesce(text, '') LIMIT $limit
        """,
        {"since": since, "providers": list(providers) if providers else None, "limit": limit},
    )
    return [Reason(*row) for row in rows]
