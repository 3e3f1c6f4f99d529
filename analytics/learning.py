"""Which provider serves which domain, as the log tells it, with its history.

METRICS.md section 4: the MX that was really used tells; what it told is remembered for attempts that reach no host, and
with first and last seen, because domains move. A host that the map knows is believed before one that it does not.
"""

from __future__ import annotations

import duckdb

from analytics.enrich import EVIDENCE
from mta.events.provider import UNNAMED, Provider

__all__ = ["learn", "learned", "remember"]

_TOLD = """
    SELECT domain, provider, arg_max(provider_group, time) AS provider_group, arg_max(gateway, time) AS gateway,
           max(evidence) AS evidence, min(time) AS first_seen, max(time) AS last_seen
    FROM {} WHERE evidence IN ({}, {}) AND domain <> '' GROUP BY domain, provider
"""
_KEEP = """
    INSERT INTO provider_history FROM seen ON CONFLICT (domain, provider) DO UPDATE SET
    evidence = greatest(provider_history.evidence, excluded.evidence),
    first_seen = least(provider_history.first_seen, excluded.first_seen),
    last_seen = greatest(provider_history.last_seen, excluded.last_seen)
"""
# Of several the one that the map knows, then the latest: whatever order the log was read in.
_LATEST = """
    INSERT OR REPLACE INTO learned_provider
    SELECT domain, provider, provider_group, gateway, first_seen, last_seen FROM provider_history
    WHERE domain IN (SELECT domain FROM seen)
    QUALIFY row_number() OVER (
        PARTITION BY domain ORDER BY NOT starts_with(provider, 'mx:') DESC, last_seen DESC, provider) = 1
    RETURNING domain, provider, provider_group, gateway
"""


def learn(con: duckdb.DuckDBPyConnection) -> dict[str, Provider]:
    """Remember what the events in `fresh` tell; the domains of which something else is known now."""
    con.execute(f"CREATE OR REPLACE TEMP TABLE seen AS {_TOLD.format('fresh', EVIDENCE['mx'], EVIDENCE['mx-domain'])}")
    return _kept(con)


def remember(con: duckdb.DuckDBPyConnection, domain: str, provider: Provider, at: int) -> dict[str, Provider]:
    """Remember what DNS told of a domain at that instant; the domains of which something else is known now."""
    con.execute(
        "CREATE OR REPLACE TEMP TABLE seen AS SELECT ? AS domain, ? AS provider, ? AS provider_group, "
        "?::VARCHAR AS gateway, ?::UTINYINT AS evidence, make_timestamp(?) AS first_seen, "
        "make_timestamp(?) AS last_seen",
        [domain, provider.name, provider.group, provider.gateway, EVIDENCE[provider.evidence], at, at],
    )
    return _kept(con)


def learned(con: duckdb.DuckDBPyConnection) -> dict[str, Provider]:
    """Everything that was learned."""
    return _by_domain(con.execute("SELECT domain, provider, provider_group, gateway FROM learned_provider").fetchall())


def _kept(con: duckdb.DuckDBPyConnection) -> dict[str, Provider]:
    con.execute(_KEEP)
    return _by_domain(con.execute(_LATEST).fetchall())


def _by_domain(rows: list[tuple[str, str, str, str | None]]) -> dict[str, Provider]:
    return {
        domain: Provider(name, group, gateway, "mx-domain" if name.startswith(UNNAMED) else "mx")
        for domain, name, group, gateway in rows
    }
