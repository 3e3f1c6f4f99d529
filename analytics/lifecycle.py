"""The life cycle of a recipient: which single outcome it has, whatever order its events came in.

A row of `unit` is one recipient of one message on one node (METRICS.md section 1). Each of its columns is a *fact* that
merges by minimum, maximum or sum, so that

    unit(events A + B) = merge(unit(A), unit(B))        and        merge is commutative and associative,

which is why late, reordered and restarted input needs no special case: events are stored once (the loader dedupes),
each new one is projected to a one-event unit, and the projections are merged into what stands.

The outcome is derived from the facts, never stored apart from them: the earliest terminal event decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "FACTS",
    "INJECTED_AT",
    "OUTCOME",
    "OUTCOMES",
    "UNIT_EVENT",
    "create_unit_tables",
    "hash_of_message_id",
    "merged",
    "projection",
]

_TERMINAL = (
    "STRUCT(moment TIMESTAMP, outcome VARCHAR, class VARCHAR, severity VARCHAR, origin VARCHAR, template UBIGINT)"
)
_FAILURE = "STRUCT(moment TIMESTAMP, class VARCHAR, severity VARCHAR, origin VARCHAR, template UBIGINT)"
_PROVIDER = "STRUCT(evidence UTINYINT, moment TIMESTAMP, name VARCHAR, grp VARCHAR, gateway VARCHAR)"
_LATEST = "STRUCT(moment TIMESTAMP, name VARCHAR)"
_ATTEMPT = "type IN ('delivery', 'deferral', 'bounce')"


@dataclass(frozen=True, slots=True)
class Fact:
    """One column of `unit`: how an event row shows it (NULL: not at all) and how two values merge."""

    name: str
    sql_type: str
    merge: Literal["min", "max", "sum"]
    of_event: str


def hash_of_message_id(column: str) -> str:
    """SQL of what finds a Message-ID again where its text is not kept: 48 bits, for they are kept for every mail.

    Among a hundred million, one in three million looks like another; the recipient's hash tells those apart.
    """
    return f"(md5_number_lower({column}) & 281474976710655)"


def _when(condition: str, value: str) -> str:
    return f"CASE WHEN {condition} THEN {value} END"


def _latest(column: str) -> str:
    """The newest non-null value of a column; ties go to the greater name, so that order cannot matter."""
    return _when(f"{column} IS NOT NULL", f"{{'moment': time, 'name': {column}}}")


FACTS: tuple[Fact, ...] = (
    Fact("message_key", "UBIGINT", "min", "message_key"),
    Fact("recipient_hash", "UBIGINT", "min", "recipient_hash"),
    Fact("node", "VARCHAR", "min", "node"),
    Fact("mta", "VARCHAR", "min", "mta"),
    Fact("direction", "VARCHAR", "max", "direction::VARCHAR"),
    Fact("domain", "VARCHAR", "max", "domain"),
    Fact("provider", _PROVIDER, "max",
         "{'evidence': evidence, 'moment': time, 'name': provider, 'grp': provider_group, 'gateway': gateway}"),
    Fact("message_id", "VARCHAR", "min", "message_id"),
    Fact("sender_domain", "VARCHAR", "min", "nullif(sender_domain, '')"),
    Fact("tenant", _LATEST, "max", _latest("tenant")),
    Fact("campaign", _LATEST, "max", _latest("campaign")),
    Fact("source", _LATEST, "max", _latest("source")),
    Fact("pool", _LATEST, "max", _latest("pool")),
    Fact("size", "UINTEGER", "max", "size"),
    Fact("received_at", "TIMESTAMP", "min", _when("type IN ('reception', 'transfer_in')", "time")),
    Fact("created_at", "TIMESTAMP", "min", "created"),
    Fact("first_event_at", "TIMESTAMP", "min", "least(time, created)"),
    Fact("last_event_at", "TIMESTAMP", "max", "time"),
    Fact("first_attempt_at", "TIMESTAMP", "min", _when(f"{_ATTEMPT} AND origin = 'remote'", "time")),
    Fact("attempts", "UBIGINT", "sum", _when(f"{_ATTEMPT} AND origin = 'remote'", "1")),
    Fact("deferrals", "UBIGINT", "sum", _when("type = 'deferral' AND origin = 'remote'", "1")),
    Fact("local_attempts", "UBIGINT", "sum", _when(f"{_ATTEMPT} AND origin = 'local'", "1")),
    Fact("delivered_attempt", "USMALLINT", "min", _when("type = 'delivery'", "coalesce(attempt, 1)")),
    Fact("last_deferral", _FAILURE, "max", _when(
        "type = 'deferral'",
        "{'moment': time, 'class': bounce_class, 'severity': severity, 'origin': origin::VARCHAR, "
        "'template': template_id}")),
    Fact("terminal", _TERMINAL, "min", _when(
        "type IN ('delivery', 'bounce', 'expiration', 'admin_bounce', 'transfer_out')",
        "{'moment': time, 'outcome': CASE type::VARCHAR WHEN 'delivery' THEN 'delivered' WHEN 'bounce' THEN 'bounced' "
        "WHEN 'expiration' THEN 'expired' WHEN 'transfer_out' THEN 'transferred' "
        "ELSE CASE WHEN bounce_class = 'suppressed' THEN 'suppressed' ELSE 'admin_bounced' END END, "
        "'class': bounce_class, 'severity': severity, 'origin': origin::VARCHAR, 'template': template_id}")),
    Fact("oob", _FAILURE, "min", "NULL"),
    Fact("complained_at", "TIMESTAMP", "min", "NULL"),
    Fact("dkim_domain", _LATEST, "max", _latest("dkim_domain")),
    Fact("source_ip", _LATEST, "max", _latest("source_ip")),
    Fact("deferred_at", "TIMESTAMP", "min", _when("type = 'deferral' AND origin = 'remote'", "time")),
    Fact("held_up_at", "TIMESTAMP", "min", _when("type IN ('deferral', 'bounce') AND origin = 'local'", "time")),
    Fact("successor", "UBIGINT", "min", "NULL"),
    Fact("message_hash", "UBIGINT", "min", hash_of_message_id("message_id")),
)  # fmt: skip
"""`oob` and `complained_at` come from reports about the unit, which are messages of their own; `successor` from the
next hop (analytics/hops.py): a unit that has one is the same mail and counts as nothing but its attempts."""

OUTCOMES = ("in_flight", "delivered", "bounced", "expired", "admin_bounced", "suppressed", "transferred")
"""Mutually exclusive; `injected` is their sum, always."""

OUTCOME = "coalesce(terminal.outcome, 'in_flight')"
"""SQL over a unit row."""

INJECTED_AT = "coalesce(least(received_at, created_at), first_event_at)"
"""SQL over a unit row: the earlier of what was observed and what records tell, else the first sign of life.

A log that begins in mid-life shows Postfix's queue manager taking a message up again, later than its injection; the
delay that its delivery tells is then the better witness. `least` passes over NULL.
"""

UNIT_EVENT = "type NOT IN ('rejection', 'oob_bounce', 'complaint')"
"""SQL over an event row: it tells about its own unit. Refused mail never became one; reports are about other units."""


def create_unit_tables() -> str:
    """DDL of `unit`, and of `message`: the same facts where a log tells them of a whole message only.

    Postfix and Exim write sender, size and Message-ID once a message, on lines that name no recipient. Such a line
    makes a row of `message`; whenever a message or one of its recipients changes, the loader hands the message's facts
    down to its recipients, which is a merge like any other and may happen any number of times.
    """
    columns = ", ".join(f"{fact.name} {fact.sql_type}" for fact in FACTS)
    return "; ".join(f"CREATE TABLE {name} (unit_id UBIGINT NOT NULL, {columns})" for name in ("unit", "message"))


def projection(events: str, where: str = UNIT_EVENT) -> str:
    """SELECT that turns each row of the relation `events` into a one-event unit."""
    columns = ", ".join(f"CAST({fact.of_event} AS {fact.sql_type}) AS {fact.name}" for fact in FACTS)
    return f"SELECT unit_id, {columns} FROM {events} WHERE {where}"


def merged(*selects: str) -> str:
    """SELECT that merges unit rows of all `selects`, one row a unit."""
    columns = ", ".join(f"CAST({fact.merge}({fact.name}) AS {fact.sql_type}) AS {fact.name}" for fact in FACTS)
    union = " UNION ALL ".join(selects)
    return f"SELECT unit_id, {columns} FROM ({union}) GROUP BY unit_id"
