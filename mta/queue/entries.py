"""The heads of journal entries: what each kind says about messages, as JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from typing import Any

import orjson

from mta.events.address import canonical_domain
from mta.queue.message import Envelope, Message, Place

__all__ = ["LogRecord", "Result", "logged_head", "messages_head", "read_logged", "read_messages", "read_result"]

LogRecord = dict[str, Any]
"""A log record in KumoMTA's schema, before it is numbered."""


@dataclass(frozen=True, slots=True)
class Result:
    """The state of a message after an attempt; `due` is None when it is finished."""

    id: str
    attempts: int
    due: int | None

    def to_head(self) -> bytes:
        """As it stands in the journal."""
        return orjson.dumps({"id": self.id, "attempts": self.attempts, "due": self.due})


def messages_head(envelope: Envelope, messages: Sequence[Message]) -> bytes:
    """An envelope and the present state of its messages."""
    return orjson.dumps(
        {
            "sender": envelope.sender,
            "received_at": envelope.received_at,
            "size": envelope.size,
            "protocol": envelope.protocol,
            "message_id": envelope.message_id,
            "meta": dict(envelope.meta),
            "utf8": envelope.utf8,
            "session_id": envelope.session_id,
            "messages": [[m.id, m.recipient, m.queue, m.attempts, m.due] for m in messages],
        }
    )


def read_messages(head: bytes, place: Place) -> list[Message]:
    """The messages of a MESSAGES entry, sharing one envelope whose body stands at `place`."""
    said = orjson.loads(head)
    rows = said.pop("messages")
    said["meta"] = _shared(tuple(said["meta"].items()))
    envelope = Envelope(**said, place=place)
    return [
        Message(id_, recipient, intern(domain_of(recipient)), intern(queue), envelope, attempts, due)
        for id_, recipient, queue, attempts, due in rows
    ]


@lru_cache(maxsize=65_536)
def _shared(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """One object for all messages with these labels: nobody changes them, and a million copies cost hundreds of MB."""
    return dict(pairs)


def read_result(head: bytes) -> Result:
    """What a RESULT entry says."""
    return Result(**orjson.loads(head))


def logged_head(through: int) -> bytes:
    """Records up to and including number `through` are durable in the log."""
    return orjson.dumps({"through": through})


def read_logged(head: bytes) -> int:
    """The number that a LOGGED entry names."""
    return int(orjson.loads(head)["through"])


def domain_of(recipient: str) -> str:
    """The canonical domain by which a recipient is routed."""
    return canonical_domain(recipient.rpartition("@")[2])
