"""An event as a flat row: the columns in which events travel to a store, and how an `Event` fills them.

Whoever reads records in bulk fills the same columns by other means (SQL, a worker process); what a store makes of them
is then the same. Everything is in clear here, as in `Event`; `phase` stands for the command that a reply answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mta.events.event import Event
from mta.events.reply import SmtpReply

__all__ = ["COLUMNS", "row"]

COLUMNS: Mapping[str, str] = {
    "type": "VARCHAR",
    "time": "BIGINT",
    "node": "VARCHAR",
    "mta": "VARCHAR",
    "queue_id": "VARCHAR",
    "recipient": "VARCHAR",
    "ordinal": "UBIGINT",
    "created": "BIGINT",
    "attempt": "UBIGINT",
    "direction": "VARCHAR",
    "origin": "VARCHAR",
    "sender": "VARCHAR",
    "message_id": "VARCHAR",
    "size": "UBIGINT",
    "code": "USMALLINT",
    "enhanced": "VARCHAR",
    "text": "VARCHAR",
    "phase": "VARCHAR",
    "bounce_class": "VARCHAR",
    "peer_host": "VARCHAR",
    "peer_ip": "VARCHAR",
    "source": "VARCHAR",
    "source_ip": "VARCHAR",
    "pool": "VARCHAR",
    "tenant": "VARCHAR",
    "campaign": "VARCHAR",
    "dkim_domain": "VARCHAR",
    "tls_version": "VARCHAR",
    "feedback_type": "VARCHAR",
    "original_recipient": "VARCHAR",
    "original_message_id": "VARCHAR",
    "original_unit": "UBIGINT",
    "successor_id": "VARCHAR",
}
"""Columns and their SQL types. Instants are microseconds; the four columns of a reply are NULL where there is none."""

_NO_REPLY = (None, None, None, None)


def row(event: Event) -> tuple[Any, ...]:
    """The event in the order of `COLUMNS`."""
    return (
        event.type,
        event.time,
        event.node,
        event.mta,
        event.queue_id,
        event.recipient,
        event.ordinal,
        event.created,
        event.attempt,
        event.direction,
        event.origin,
        event.sender,
        event.message_id,
        event.size,
        *(_NO_REPLY if event.reply is None else _reply(event.reply)),
        event.bounce_class,
        event.peer_host,
        event.peer_ip,
        event.source,
        event.source_ip,
        event.pool,
        event.tenant,
        event.campaign,
        event.dkim_domain,
        event.tls_version,
        event.feedback_type,
        event.original_recipient,
        event.original_message_id,
        event.original_unit,
        event.successor_id,
    )


def _reply(reply: SmtpReply) -> tuple[Any, ...]:
    return (reply.code, None if reply.enhanced is None else str(reply.enhanced), reply.text, reply.phase)
