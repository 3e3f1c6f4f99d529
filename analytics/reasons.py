"""Why mail fails: the replies behind failures, by provider, most frequent first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analytics.dimensions import DIMENSIONS
from analytics.relations import events
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


def top_reasons(
    store: Store,
    *,
    since: int,
    until: int | None = None,
    where: Mapping[str, Sequence[str]] | None = None,
    limit: int = 50,
) -> list[Reason]:
    """Failures in [`since`, `until`), grouped by provider, type and reply template; the most frequent `limit` of them.

    `where` maps dimensions to the values wanted.
    """
    conditions = ["time >= make_timestamp($since)"]
    parameters: dict[str, Any] = {"since": since, "limit": limit}
    if until is not None:
        conditions.append("time < make_timestamp($until)")
        parameters["until"] = until
    for number, (name, values) in enumerate((where or {}).items()):
        conditions.append(f"list_contains($where{number}, {DIMENSIONS[name].of_event})")
        parameters[f"where{number}"] = list(values)
    rows = store.query(
        f"""
        SELECT provider, type::VARCHAR, origin::VARCHAR, coalesce(bounce_class, 'unknown'),
               coalesce(bounce_group, 'unknown'), coalesce(severity, 'soft'), code, enhanced, coalesce(text, ''),
               count(*) AS events, epoch_us(min(time)), epoch_us(max(time))
        FROM {events(store, since, until)} failed LEFT JOIN reply_template ON reply_template.id = failed.template_id
        WHERE {" AND ".join(conditions)} AND bounce_class IS NOT NULL
        GROUP BY ALL ORDER BY events DESC, provider, coalesce(text, '') LIMIT $limit
        """,
        parameters,
    )
    return [Reason(*row) for row in rows]
