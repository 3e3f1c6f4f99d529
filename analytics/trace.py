"""What happened to one message: by Message-ID, queue id or recipient, across hops and nodes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from analytics.lifecycle import INJECTED_AT, OUTCOME
from analytics.store import Store

__all__ = ["Traced", "TracedEvent", "trace"]

_PLACEHOLDER = re.compile(r"\{(?:addr|host|ip|n|path|id)\}")


@dataclass(frozen=True, slots=True)
class TracedEvent:
    """One event of a traced recipient. `time` in microseconds; `text` as the peer wrote it, addresses masked."""

    time: int
    type: str
    origin: str
    attempt: int | None
    code: int | None
    enhanced: str | None
    text: str | None
    bounce_class: str | None
    peer_host: str | None
    peer_ip: str | None
    tls_version: str | None
    source: str | None
    node: str
    queue_id: str


@dataclass(frozen=True, slots=True)
class Traced:
    """One recipient of one message: its ids, where it went, how it ended, and every event in order of time.

    `recipient` is the address only if the question named it; else the store knows its domain alone.
    """

    message_id: str | None
    queue_ids: tuple[str, ...]
    recipient: str
    provider: str
    tenant: str | None
    campaign: str | None
    injected: int
    outcome: str
    returned: bool
    complained: bool
    events: tuple[TracedEvent, ...]


def trace(store: Store, identifier: str, limit: int = 100, tenant: str | None = None) -> list[Traced]:
    """Everything known about an identifier, the newest message first; at most `limit` recipients, of that tenant only.

    `<id@host>` and `id@host` are Message-IDs or recipients, whichever is found; anything else is a queue id.
    """
    wanted = identifier.strip().removeprefix("<").removesuffix(">")
    hashes = store.recipient_hashes(wanted) if "@" in wanted else []
    units = _units(store, wanted, hashes, limit, tenant)
    events = _events(store, [row[0] for row in units])
    for unit, late in _reports(store, [row[0] for row in units]):
        events.setdefault(unit, []).append(late)
    return [_traced(row, events.get(row[0], []), wanted if row[2] in hashes else None) for row in units]


def _units(store: Store, wanted: str, hashes: Sequence[int], limit: int, tenant: str | None) -> list[tuple[Any, ...]]:
    """Recipients of messages with that Message-ID, queue id or recipient, with all hops of the same Message-ID."""
    return store.query(
        f"""
        WITH direct AS (
            SELECT unit_id, message_id, successor FROM unit
            WHERE message_id = $wanted OR list_contains($hashes::UBIGINT[], recipient_hash)
               OR message_key IN (SELECT DISTINCT message_key FROM event WHERE queue_id = $wanted)
        )
        SELECT unit_id, message_id, recipient_hash, domain, provider.name, tenant.name, campaign.name,
               epoch_us({INJECTED_AT}) AS injected, {OUTCOME}, oob IS NOT NULL, complained_at IS NOT NULL
        FROM unit
        WHERE ($tenant IS NULL OR tenant.name = $tenant) AND (unit_id IN (SELECT unit_id FROM direct)
           OR successor IN (SELECT unit_id FROM direct) OR unit_id IN (SELECT successor FROM direct)
           OR (message_id IN (SELECT message_id FROM direct) AND recipient_hash IN
               (SELECT recipient_hash FROM unit WHERE unit_id IN (SELECT unit_id FROM direct))))
        ORDER BY injected DESC, unit_id LIMIT $limit
        """,
        {"wanted": wanted, "hashes": list(hashes), "limit": limit, "tenant": tenant},
    )


def _events(store: Store, units: Sequence[int]) -> dict[int, list[TracedEvent]]:
    """Events of these units, and those of their whole messages."""
    rows = store.query(
        """
        WITH wanted AS (SELECT unit_id, message_key FROM unit WHERE list_contains($units::UBIGINT[], unit_id))
        SELECT w.unit_id, epoch_us(e.time), e.type::VARCHAR, e.origin::VARCHAR, e.attempt, e.code, e.enhanced, t.text,
               e.parameters, e.bounce_class, e.peer_host, e.peer_ip, e.tls_version, e.source, e.node, e.queue_id
        FROM wanted w JOIN event e
          ON e.unit_id = w.unit_id OR (e.message_key = w.message_key AND e.recipient_hash IS NULL AND e.domain = '')
        LEFT JOIN reply_template t ON t.id = e.template_id
        """,
        {"units": list(units)},
    )
    return _grouped(rows)


def _reports(store: Store, units: Sequence[int]) -> Iterable[tuple[int, TracedEvent]]:
    """Late bounces and complaints that were attributed to these units."""
    rows = store.query(
        """
        SELECT f.unit_id, epoch_us(f.time), e.type::VARCHAR, e.origin::VARCHAR, e.attempt, e.code, e.enhanced, t.text,
               e.parameters, e.bounce_class, e.peer_host, e.peer_ip, e.tls_version, e.source, e.node, e.queue_id
        FROM feedback f JOIN event e ON e.event_id = f.event_id
        LEFT JOIN reply_template t ON t.id = e.template_id WHERE list_contains($units::UBIGINT[], f.unit_id)
        """,
        {"units": list(units)},
    )
    return ((unit, event) for unit, events in _grouped(rows).items() for event in events)


def _grouped(rows: Iterable[tuple[Any, ...]]) -> dict[int, list[TracedEvent]]:
    found: dict[int, list[TracedEvent]] = {}
    for unit, *before, text, parameters, bounce_class, host, ip, tls, source, node, queue_id in rows:
        after = (_filled(text, parameters), bounce_class, host, ip, tls, source, node, queue_id)
        found.setdefault(unit, []).append(TracedEvent(*(*before, *after)))
    return found


def _filled(text: str | None, parameters: Sequence[str] | None) -> str | None:
    """The reply as it was: the template with its parameters put back in order."""
    if not text or not parameters:
        return text
    values = iter(parameters)
    return _PLACEHOLDER.sub(lambda found: next(values, found[0]), text)


def _traced(row: tuple[Any, ...], events: list[TracedEvent], address: str | None) -> Traced:
    _, message_id, _, domain, provider, tenant, campaign, injected, outcome, returned, complained = row
    ordered = sorted(events, key=lambda event: (event.time, event.type != "reception"))
    return Traced(
        message_id=message_id,
        queue_ids=tuple(dict.fromkeys(event.queue_id for event in ordered if event.queue_id)),
        recipient=address or f"*@{domain}",
        provider=provider,
        tenant=tenant,
        campaign=campaign,
        injected=injected,
        outcome=outcome,
        returned=returned,
        complained=complained,
        events=tuple(ordered),
    )
