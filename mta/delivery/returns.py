"""What senders hear of their mail: notices of failure, delay and hand-over; and dead letters where there is no sender.

A notice is sent when the sender asked for it (RFC 3461), and of failures also when `notify` says that senders are told
who asked for nothing.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from mta.control.record import Hop, Recorder
from mta.delivery.dkim import Signers
from mta.delivery.notice import Action, Report, is_wanted, notice
from mta.errors import SpoolError
from mta.metrics import MtaMetrics
from mta.queue.dead_letters import DeadLetters
from mta.queue.entries import domain_of
from mta.queue.message import Clock, Envelope, Message, SpoolIds
from mta.queue.spool import Spool

__all__ = ["Returns"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Returns:
    """Does it durably. `notify`: of failures those senders hear, too, who did not say what they want to hear of."""

    spool: Spool
    dead_letters: DeadLetters
    recorder: Recorder
    metrics: MtaMetrics
    ids: SpoolIds
    signers: Signers
    clock: Clock
    hostname: str
    notify: bool

    async def tell(self, message: Message, report: Report, body: bytes | None = None) -> None:
        """Tell the sender if it wants to know; keep the letter if it failed and has no sender.

        A disk that refuses costs that, never the result of the attempt.
        """
        has_sender = bool(message.envelope.sender)
        if has_sender and not is_wanted(report.action, message.notify, usual=self.notify):
            return
        try:
            if has_sender:
                await self._return(message, report, await self.spool.read(message) if body is None else body)
            elif report.action is Action.FAILED:
                await self._bury(message, report, await self.spool.read(message) if body is None else body)
        except (OSError, SpoolError) as error:
            _LOG.error("cannot return message %s: %s", message.id, error)

    async def _return(self, message: Message, report: Report, content: bytes) -> None:
        now, queue_id, sender = self.clock(), self.ids.make(), message.envelope.sender
        told = notice(message, report, content, hostname=self.hostname, queue_id=queue_id, now=now)
        told = self.signers.signatures(told, now) + told
        mail_id = f"<{queue_id}@{self.hostname}>"
        envelope = Envelope("", now, len(told), "Internal", mail_id, utf8=not sender.isascii())
        domain = domain_of(sender)
        returned = Message(queue_id, sender, domain, domain, envelope, due=now)
        record = self.recorder.reception(returned, Hop(self.hostname, "127.0.0.1"))
        await self.spool.accept(envelope, [returned], told, [record])
        self.metrics.received(1, "Internal")

    async def _bury(self, message: Message, report: Report, content: bytes) -> None:
        await asyncio.to_thread(
            self.dead_letters.keep,
            message,
            content,
            reason="expired" if report.expired else "bounced",
            answer=str(report.reply),
            when=self.clock(),
        )
