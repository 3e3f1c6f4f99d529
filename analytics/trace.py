"""What happened to one message: by Message-ID, queue id or recipient, across hops and nodes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from analytics.lifecycle import hash_of_message_id
from analytics.relations import events, units
from analytics.store import Store
from mta.events.instants import DAY

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
    events = _events(store, units)
    for unit, late in _reports(store, [row[0] for row in units]):
        events.setdefault(unit, []).append(late)
    return [_traced(row, events.get(row[0], []), wanted, hashes) for row in units]


def _units(store: Store, wanted: str, hashes: Sequence[int], limit: int, tenant: str | None) -> list[tuple[Any, ...]]:
    """Recipients of messages with that Message-ID, queue id or recipient, with all hops of the same Message-ID."""
    direct = _matching(store, _meant(store, wanted, hashes), None, limit)
    ids, successors = [row[0] for row in direct], [row[-1] for row in direct if row[-1] is not None]
    family = [f"unit_id IN ({_listed((*ids, *successors))})", f"successor IN ({_listed(ids)})"]
    if same := [row for row in direct if row[2] is not None and row[-2] is not None]:
        messages, people = _listed(row[-2] for row in same), _listed(row[2] for row in same)
        family.append(f"message_hash IN ({messages}) AND recipient_hash IN ({people})")
    return _matching(store, family, tenant, limit) if direct else []


def _meant(store: Store, wanted: str, hashes: Sequence[int]) -> list[str]:
    """SQL over flat rows: what the identifier may mean. Numbers only, which the parts' indexes can use."""
    if "@" not in wanted:
        keys = store.message_keys(wanted)
        return [f"message_key IN ({_listed(keys)})"] if keys else []
    [(message,)] = store.query(f"SELECT {hash_of_message_id('$id')}", {"id": wanted})
    return [f"message_hash = {message}", f"recipient_hash IN ({_listed(hashes)})"]


def _matching(store: Store, conditions: Sequence[str], tenant: str | None, limit: int) -> list[tuple[Any, ...]]:
    """Recipients that meet any of the conditions, each once and as it stands now, the newest first."""
    if not conditions:
        return []
    relation = units(store)
    found = " UNION ".join(f"SELECT * FROM {relation} WHERE {condition}" for condition in conditions)
    return store.query(
        f"""
        WITH found AS ({found})
        SELECT unit_id, max(message_id) OVER (PARTITION BY unit_id), recipient_hash, domain, provider_name, tenant_name,
               campaign_name, epoch_us(injected_at), coalesce(terminal_outcome, 'in_flight'), oob_moment IS NOT NULL,
               complained_at IS NOT NULL, message_key, epoch_us(first_event_at), epoch_us(last_event_at), message_hash,
               successor
        FROM found WHERE n = 1 AND ($tenant IS NULL OR tenant_name = $tenant)
        QUALIFY row_number() OVER (PARTITION BY unit_id ORDER BY last_event_at DESC,
            (complained_at IS NOT NULL)::INT + (oob_moment IS NOT NULL)::INT DESC) = 1
        ORDER BY injected_at DESC, unit_id LIMIT $limit
        """,
        {"tenant": tenant, "limit": limit},
    )


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(int(number)) for number in numbers)


_EVENT = """
    epoch_us(e.time), e.type::VARCHAR, e.origin::VARCHAR, e.attempt, e.code, e.enhanced, t.text,
    e.parameters, e.bounce_class, e.peer_host, e.peer_ip, e.tls_version, e.source, e.node, e.queue_id
"""


def _events(store: Store, units: Sequence[tuple[Any, ...]]) -> dict[int, list[TracedEvent]]:
    """Events of these units, and those of their whole messages."""
    if not units:
        return {}
    about = f"message_key IN ({_listed(row[11] for row in units)})"
    told = events(store, min(row[12] for row in units) - DAY, max(row[13] for row in units) + DAY, about=about)
    rows = store.query(
        f"""
        WITH wanted AS (SELECT unnest($units::UBIGINT[]) AS unit_id, unnest($messages::UBIGINT[]) AS message_key)
        SELECT w.unit_id, {_EVENT}
        FROM wanted w JOIN {told} e
          ON e.unit_id = w.unit_id OR (e.message_key = w.message_key AND e.recipient_hash IS NULL AND e.domain = '')
        LEFT JOIN reply_template t ON t.id = e.template_id
        """,
        {"units": [row[0] for row in units], "messages": [row[11] for row in units]},
    )
    return _grouped(rows)


def _reports(store: Store, units: Sequence[int]) -> Iterable[tuple[int, TracedEvent]]:
    """Late bounces and complaints that were attributed to these units."""
    since, until = store.query(
        "SELECT epoch_us(min(time)), epoch_us(max(time)) FROM feedback WHERE list_contains($units::UBIGINT[], unit_id)",
        {"units": list(units)},
    )[0]
    if since is None:
        return ()
    rows = store.query(
        f"""
        SELECT f.unit_id, {_EVENT}
        FROM feedback f JOIN {events(store, since - DAY, until + DAY, rows="NOT plain")} e ON e.event_id = f.event_id
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


def _traced(row: tuple[Any, ...], events: list[TracedEvent], wanted: str, hashes: Sequence[int]) -> Traced:
    """`wanted` fills in what sealed history keeps as a hash only: the Message-ID, queue id or address in question."""
    _, message_id, person, domain, provider, tenant, campaign, injected, outcome, returned, complained, *_ = row
    address = wanted if person in hashes else None
    by_message_id = "@" in wanted and address is None
    queue_ids = () if "@" in wanted else (wanted,)
    ordered = sorted(events, key=lambda event: (event.time, event.type != "reception"))
    return Traced(
        message_id=message_id or (wanted if by_message_id else None),
        queue_ids=tuple(dict.fromkeys(event.queue_id for event in ordered if event.queue_id)) or queue_ids,
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
