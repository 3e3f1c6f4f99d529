"""What is known of recipient domains: which provider served them when, and which ones the map does not name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from analytics.relations import units
from analytics.store import Store
from mta.events.provider import OTHER, UNNAMED

__all__ = ["Served", "UnknownDomain", "history", "unknown_domains"]


@dataclass(frozen=True, slots=True)
class Served:
    """A provider that a domain was seen with, from first to last (microseconds)."""

    provider: str
    gateway: str | None
    first_seen: int
    last_seen: int


@dataclass(frozen=True, slots=True)
class UnknownDomain:
    """A recipient domain whose provider the map does not name, and how much of the mail goes there."""

    domain: str
    provider: str
    recipients: int
    share: float


def history(store: Store, domain: str) -> list[Served]:
    """The providers that a domain was seen with, the latest first."""
    rows = store.query(
        "SELECT provider, gateway, epoch_us(first_seen), epoch_us(last_seen) FROM provider_history "
        "WHERE domain = ? ORDER BY last_seen DESC, provider",
        [domain],
    )
    return [Served(*row) for row in rows]


def unknown_domains(
    store: Store, since: int | None = None, until: int | None = None, limit: int = 20
) -> list[UnknownDomain]:
    """Where most mail goes of which the map does not name the provider, by time of injection."""
    conditions: list[str] = ["direction = 'outbound'"]
    bounds: dict[str, Any] = {}
    for name, sign, instant in (("since", ">=", since), ("until", "<", until)):
        if instant is not None:
            conditions.append(f"injected_at {sign} make_timestamp(${name})")
            bounds[name] = instant
    rows = store.query(
        f"""
        WITH mail AS (
            SELECT domain, provider_name AS provider, sum(n)::BIGINT AS recipients
            FROM {units(store, "cohort", since, until)} WHERE {" AND ".join(conditions)} AND successor IS NULL
            GROUP BY ALL
        )
        SELECT domain, provider, recipients, recipients / (SELECT sum(recipients) FROM mail) FROM mail
        WHERE provider = '{OTHER}' OR starts_with(provider, '{UNNAMED}')
        ORDER BY recipients DESC, domain LIMIT $limit
        """,
        {**bounds, "limit": limit},
    )
    return [UnknownDomain(*row) for row in rows]
