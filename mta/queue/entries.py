"""The heads of journal entries: what each kind says about messages, as JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import orjson

from mta.events.address import canonical_domain
from mta.queue.message import Envelope, Message
from mta.queue.naming import QueueName

__all__ = ["LogRecord", "MessagesHead", "Result", "logged_head", "messages_head", "read_logged", "read_result"]

LogRecord = dict[str, Any]
"""A log record in KumoMTA's schema, before it is numbered."""


@dataclass(frozen=True, slots=True)
class Result:
    """The state of a message after an attempt, or in another `queue`; `due` is None when it is finished."""

    id: str
    attempts: int
    due: int | None
    queue: str | None = None

    def to_head(self) -> bytes:
        """As it stands in the journal."""
        moved = {"queue": self.queue} if self.queue is not None else {}
        return orjson.dumps({"id": self.id, "attempts": self.attempts, "due": self.due, **moved})


def messages_head(envelope: Envelope, messages: Sequence[Message], *, copied: bool = False) -> bytes:
    """An envelope and the present state of its messages. What has its usual value is left out.

    `copied`: the messages stand in an earlier entry, too, and this one holds instead.
    """
    said = {name: getattr(envelope, name) for name in _REQUIRED}
    said |= {name: value for name, usual in _USUAL.items() if (value := getattr(envelope, name)) != usual}
    if envelope.meta:
        said["meta"] = dict(envelope.meta)
    if copied:
        said["copied"] = True
    said["messages"] = [_row(message) for message in messages]
    return orjson.dumps(said)


def _row(message: Message) -> list[Any]:
    row = [message.id, message.recipient, message.queue, message.attempts, message.due]
    return [*row, message.notify, message.orcpt] if message.notify or message.orcpt else row


@dataclass(frozen=True, slots=True)
class MessagesHead:
    """What a MESSAGES entry says: `shared` by its messages, and a row for each of them."""

    shared: Mapping[str, Any]
    rows: Sequence[Sequence[Any]]
    copied: bool

    @classmethod
    def parse(cls, head: bytes) -> MessagesHead:
        """What `messages_head` made."""
        said = orjson.loads(head)
        return cls(said, said.pop("messages"), said.pop("copied", False))

    @property
    def received_at(self) -> int:
        """When the messages were accepted."""
        return int(self.shared["received_at"])

    def envelope(self) -> Envelope:
        """The envelope that the messages share."""
        return Envelope(**self.shared)

    def message(self, nth: int, envelope: Envelope) -> Message:
        """One of the messages, as it was when the entry was written."""
        id_, recipient, queue, attempts, due, *asked = self.rows[nth]
        return Message(id_, recipient, QueueName.parse(queue).route, queue, envelope, attempts, due, *asked)


_REQUIRED = ("sender", "received_at", "size")
_USUAL = {each.name: each.default for each in fields(Envelope) if each.name not in {*_REQUIRED, "meta"}}


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
