"""What becomes of a message after an attempt: its result is made durable together with its log record.

A positive answer ends it; a permanent refusal ends it with a notice or a dead letter; everything else tries again
until it is too old. A refusal before there was a session speaks of us and not of the recipient, so it only defers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mta.control.record import INTERNAL, Hop, Outcome, Recorder, internal_reply
from mta.delivery.lane import Way
from mta.delivery.notice import Action, Report
from mta.delivery.returns import Returns
from mta.events.instants import SECOND
from mta.events.reply import SmtpReply
from mta.events.retry_hint import retry_after
from mta.metrics import MtaMetrics
from mta.queue.entries import LogRecord
from mta.queue.message import Clock, Message
from mta.queue.naming import QueueName
from mta.queue.schedule import RetryPolicy
from mta.queue.spool import Spool

__all__ = ["Result", "Results", "told_pause"]

_LONGEST_TOLD = 3600
_TOO_OLD = internal_reply(551, "the message waited too long", "5.4.7")


@dataclass(frozen=True, slots=True)
class Result:
    """What an attempt came to. `refused` says that it ended before there was a session: no verdict on the recipient."""

    reply: SmtpReply
    way: Way | None = None
    hop: Hop | None = None
    refused: bool = False
    reports: bool = False
    """The peer took over to report what becomes of the message (RFC 3461)."""


def _host(result: Result) -> str:
    return result.hop.name if result.hop else ""


def told_pause(reply: SmtpReply) -> int | None:
    """For how many seconds a temporary refusal asks to be left alone, if it does; at most an hour is believed."""
    if not reply.is_transient or reply.text.startswith(INTERNAL):
        return None
    told = retry_after(reply.text)
    return min(told, _LONGEST_TOLD) if told else None


@dataclass(slots=True)
class Results:
    """Writes results. `on_postponed` hears of messages that are to be tried again, `on_reply` of refusals."""

    spool: Spool
    recorder: Recorder
    metrics: MtaMetrics
    returns: Returns
    policy: RetryPolicy
    clock: Clock
    source: random.Random
    pool_name: Callable[[Mapping[str, str]], str]
    """The egress pool of a message with those labels."""
    on_postponed: Callable[[Sequence[Message]], None]
    on_reply: Callable[[Way, Message, SmtpReply], None] = lambda _way, _message, _reply: None

    async def conclude(self, message: Message, result: Result, body: bytes | None = None) -> None:
        """Keep the result of an attempt."""
        reply, now = result.reply, self.clock()
        code = reply.code or 0
        local = reply.text.startswith(INTERNAL)
        if code // 100 == 2:
            self.metrics.attempted("delivered")
            if not result.reports:
                await self.returns.tell(message, Report(Action.RELAYED, reply, _host(result)), body)
            await self.spool.finish(message, [self._record("Delivery", message, now, result)])
            return
        if result.way is not None:
            self.on_reply(result.way, message, reply)
        if code >= 500 and not result.refused:
            self.metrics.attempted("local" if local else "bounced")
            await self.returns.tell(message, Report(Action.FAILED, reply, _host(result)), body)
            await self.spool.finish(message, [self._record("Bounce", message, now, result)])
        else:
            self.metrics.attempted("local" if local else "deferred")
            await self._defer(message, now, result, body)

    async def _defer(self, message: Message, now: int, result: Result, body: bytes | None) -> None:
        records = [self._record("TransientFailure", message, now, result)]
        attempts = message.attempts + 1
        due = now + max(self.policy.delay(attempts, self.source), (told_pause(result.reply) or 0) * SECOND)
        expires = self.policy.expires(message.envelope.received_at)
        if due < expires:
            if message.due < message.envelope.received_at + self.policy.delay_notice <= due:
                report = Report(Action.DELAYED, result.reply, _host(result), until=expires)
                await self.returns.tell(message, report, body)
            await self.spool.postpone(message, due, records)
            self.on_postponed([message])
            return
        await self.returns.tell(message, Report(Action.FAILED, result.reply, _host(result), expired=True), body)
        records.append(self.recorder.expiration(message, now, attempts=attempts, last_answer=str(result.reply)))
        await self.spool.finish(message, records)

    def is_too_old(self, message: Message) -> bool:
        """Whether the message has waited longer than it may."""
        return self.clock() >= self.policy.expires(message.envelope.received_at)

    async def expire(self, message: Message, last: SmtpReply | None = None) -> None:
        """Give up a message that is too old."""
        now = self.clock()
        await self.returns.tell(message, Report(Action.FAILED, last or _TOO_OLD, expired=True))
        answer = str(last) if last else ""
        record = self.recorder.expiration(message, now, attempts=message.attempts, last_answer=answer)
        await self.spool.finish(message, [record])

    async def suppress(self, message: Message, reason: str) -> None:
        """End a message whose recipient is not to be sent to, before any attempt."""
        if await self.spool.claim(message):
            self.metrics.suppressed()
            await self.spool.finish(message, [self.recorder.suppression(message, self.clock(), reason)])

    async def give_up(self, message: Message, reason: str) -> None:
        """End a message that was taken off its list as ordered, unless it has ended."""
        if await self.spool.claim(message):
            await self.spool.finish(message, [self.recorder.admin_bounce(message, self.clock(), reason)])

    async def give_up_listed(self, row: int, reason: str) -> None:
        """The same for one that somebody else lists, unless an attempt is under way."""
        if self.spool.claim_listed(row):
            message = await self.spool.peek(row)
            record = self.recorder.admin_bounce(message, self.clock(), reason)
            await self.spool.finish(message, [record], listed=True)

    async def rebind(self, message: Message, change: Callable[[QueueName], QueueName], reason: str) -> bool:
        """Put a claimed message into another queue; False if it is that one already."""
        queue = str(change(QueueName.parse(message.queue)))
        if queue == message.queue:
            self.spool.leave(message)
            return False
        record = self.recorder.rebind(message, self.clock(), queue, reason)
        await self.spool.rebind(message, queue, [record])
        return True

    def _record(self, kind: Outcome, message: Message, now: int, result: Result) -> LogRecord:
        site = result.way.destination.site if result.way else None
        source = result.way.source.name if result.way else None
        pool = self.pool_name(message.envelope.meta)
        return self.recorder.attempt(
            kind, message, now, result.reply, site=site, hop=result.hop, source=source, pool=pool
        )
