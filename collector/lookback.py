"""Filling events with what earlier lines of the same input have told about their message.

Postfix and Exim write sender, size and Message-ID once a message, apart from the fate of its recipients. The store
joins them from what it has stored; where nothing is stored (`mtascope parse`), this does, for the messages of late:
it looks back, never ahead, and holds at most `MAX_MESSAGES` of them.

A message comes out as one reception however many lines have told of it; one that is refused in the end, as none.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from mta.events.event import Event, EventType
from mta.events.reply import SmtpReply

__all__ = ["MAX_MESSAGES", "LookBack"]

MAX_MESSAGES = 100_000
_MAX_RECIPIENTS = 10_000
_ENDS_ALL = frozenset({EventType.EXPIRATION, EventType.ADMIN_BOUNCE})
_OF_RECIPIENTS = frozenset(EventType) - {EventType.REJECTION, EventType.COMPLAINT, EventType.OOB_BOUNCE}
_AFTER_DATA = frozenset({"dot", "data"})


@dataclass(slots=True)
class _Message:
    """What was told of one message. `waiting` holds the last reply to each recipient who was deferred."""

    reception: Event | None = None
    begun: bool = False
    """Its arrival is in the input: a line that may come again at each attempt is no sign of that."""
    reported: bool = False
    attempts: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, SmtpReply | None] = field(default_factory=dict)


class LookBack:
    """Give it the events of an input in their order, then `rest` when it has ended."""

    def __init__(self) -> None:
        self._messages: OrderedDict[tuple[str, str], _Message] = OrderedDict()

    def complete(self, events: Iterable[Event]) -> Iterator[Event]:
        """The same events with what is known of their messages; receptions may come later than they were told."""
        for event in events:
            if not event.queue_id:
                yield event
            elif event.type is EventType.RECEPTION and not event.recipient:
                yield from self._received(event)
            elif event.type is EventType.REJECTION:
                yield from self._refused(event)
            elif event.type in _OF_RECIPIENTS:
                yield from self._happened(event)
            else:
                yield event

    def rest(self) -> Iterator[Event]:
        """Receptions of messages of which nothing more was told."""
        for message in self._messages.values():
            yield from self._report(message)
        self._messages.clear()

    def _message(self, event: Event) -> _Message:
        key = (event.node, event.queue_id)
        message = self._messages.get(key)
        if message is None:
            message = self._messages[key] = _Message()
        else:
            self._messages.move_to_end(key)
        return message

    def _received(self, event: Event) -> Iterator[Event]:
        message = self._message(event)
        if message.reported and _begins_anew(event, message):  # short queue ids are used again
            message = self._messages[event.node, event.queue_id] = _Message()
        message.reception = _merged(message.reception, event)
        message.begun |= _tells_arrival(event)
        if event.size is not None or event.mta != "postfix":  # nothing more will be told of it
            yield from self._report(message)
        yield from self._forget_oldest()

    def _forget_oldest(self) -> Iterator[Event]:
        while len(self._messages) > MAX_MESSAGES:
            _, oldest = self._messages.popitem(last=False)
            yield from self._report(oldest)

    def _report(self, message: _Message) -> Iterator[Event]:
        if message.reception is not None and message.begun and not message.reported:
            message.reported = True
            yield message.reception

    def _refused(self, event: Event) -> Iterator[Event]:
        """A message that is refused as a whole was never received; a refused recipient leaves the others."""
        if event.reply is not None and event.reply.phase in _AFTER_DATA:
            self._messages.pop((event.node, event.queue_id), None)
        yield event

    def _happened(self, event: Event) -> Iterator[Event]:
        message = self._message(event)
        yield from self._report(message)
        if not event.recipient and event.type in _ENDS_ALL and message.waiting:
            for recipient, reply in message.waiting.items():
                yield _filled(replace(event, recipient=recipient, reply=reply or event.reply), message)
            message.waiting.clear()
            return
        yield _filled(event, message, attempt=self._attempt(event, message))
        if event.type is EventType.DEFERRAL and len(message.waiting) < _MAX_RECIPIENTS:
            message.waiting[event.recipient] = event.reply
        elif event.type.is_terminal:
            message.waiting.pop(event.recipient, None)
        yield from self._forget_oldest()

    @staticmethod
    def _attempt(event: Event, message: _Message) -> int | None:
        """Its number, where the input begins before the message."""
        if event.attempt is not None or not event.type.is_attempt or not message.begun:
            return event.attempt
        if len(message.attempts) >= _MAX_RECIPIENTS:
            return None
        number = message.attempts[event.recipient] = message.attempts.get(event.recipient, 0) + 1
        return number


def _tells_arrival(event: Event) -> bool:
    """Postfix's queue manager tells a message's size whenever it tries; all else is told once."""
    return event.size is None or event.mta != "postfix"


def _begins_anew(event: Event, message: _Message) -> bool:
    """The line is the first one of a message, and another message had this id before."""
    if event.size is not None:
        return False
    known = message.reception
    return event.message_id is None or (known is not None and known.message_id not in {None, event.message_id})


def _merged(known: Event | None, told: Event) -> Event:
    """Both; what was told last wins, except for the time."""
    if known is None:
        return told
    return replace(
        known,
        time=min(known.time, told.time),
        sender=told.sender if told.sender is not None else known.sender,
        message_id=told.message_id or known.message_id,
        size=told.size if told.size is not None else known.size,
        peer_host=told.peer_host or known.peer_host,
        peer_ip=told.peer_ip or known.peer_ip,
        tls_version=told.tls_version or known.tls_version,
    )


def _filled(event: Event, message: _Message, *, attempt: int | None = None) -> Event:
    known = message.reception
    if known is None:
        return event
    return replace(
        event,
        sender=known.sender if event.sender is None else event.sender,
        message_id=event.message_id or known.message_id,
        size=known.size if event.size is None else event.size,
        created=known.time if event.created is None else event.created,
        attempt=attempt,
    )
