"""What becomes of mail that cannot be delivered: a notice to its sender, or a dead letter where there is none.

`failure_notice` is a delivery status notification (RFC 3464 in RFC 6522's container), pure. It holds the header of the
lost message and not its body, is ASCII wherever the sender's address is, and is marked so that no robot answers it
(RFC 3834). It goes out with the null reverse-path, so it can never be returned itself.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from email.utils import formatdate

from mta.control.record import Hop, Recorder
from mta.delivery.dkim import Signers
from mta.errors import SpoolError
from mta.events.instants import SECOND
from mta.events.reply import SmtpReply
from mta.metrics import MtaMetrics
from mta.queue.dead_letters import DeadLetters
from mta.queue.entries import domain_of
from mta.queue.message import Clock, Envelope, Message, SpoolIds
from mta.queue.spool import Spool

__all__ = ["Failure", "Returns", "failure_notice"]

_LOG = logging.getLogger(__name__)
_MAX_HEADER = 64 * 1024
_MAX_TEXT = 500


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a message was given up: `reason` is bounced or expired, `reply` the last answer, `host` who gave it."""

    reason: str
    reply: SmtpReply
    host: str = ""

    @property
    def status(self) -> str:
        """The enhanced status code, which the notice must have; a give-up is permanent whatever the last answer was."""
        if self.reason == "expired":
            return "5.4.7"
        return str(self.reply.enhanced) if self.reply.enhanced else "5.0.0"


@dataclass(frozen=True, slots=True)
class Returns:
    """Does it durably. With `notify` false only dead letters are kept."""

    spool: Spool
    dead_letters: DeadLetters
    recorder: Recorder
    metrics: MtaMetrics
    ids: SpoolIds
    signers: Signers
    clock: Clock
    hostname: str
    notify: bool

    async def give_up(self, message: Message, failure: Failure, body: bytes | None = None) -> None:
        """Tell the sender, or keep the letter. A disk that refuses costs that, never the result of the attempt."""
        if message.envelope.sender and not self.notify:
            return
        try:
            content = await self.spool.read(message) if body is None else body
            if message.envelope.sender:
                await self._return(message, failure, content)
            else:
                await self._bury(message, failure, content)
        except (OSError, SpoolError) as error:
            _LOG.error("cannot return message %s: %s", message.id, error)

    async def _return(self, message: Message, failure: Failure, content: bytes) -> None:
        now, queue_id, sender = self.clock(), self.ids.make(), message.envelope.sender
        notice = failure_notice(message, failure, content, hostname=self.hostname, queue_id=queue_id, now=now)
        notice = self.signers.signatures(notice, now) + notice
        mail_id = f"<{queue_id}@{self.hostname}>"
        envelope = Envelope("", now, len(notice), "Internal", mail_id, utf8=not sender.isascii())
        domain = domain_of(sender)
        returned = Message(queue_id, sender, domain, domain, envelope, due=now)
        record = self.recorder.reception(returned, Hop(self.hostname, "127.0.0.1"))
        await self.spool.accept(envelope, [returned], notice, [record])
        self.metrics.received(1, "Internal")

    async def _bury(self, message: Message, failure: Failure, content: bytes) -> None:
        await asyncio.to_thread(
            self.dead_letters.keep,
            message,
            content,
            reason=failure.reason,
            answer=str(failure.reply),
            when=self.clock(),
        )


def failure_notice(
    message: Message, failure: Failure, content: bytes, *, hostname: str, queue_id: str, now: int
) -> bytes:
    """The notice, every line ended by CRLF."""
    recipient, boundary = message.recipient, f"=_{queue_id}"
    answer = _plain(str(failure.reply))
    date = formatdate(now / SECOND)
    what = "was refused" if failure.reason == "bounced" else "could not be delivered in time"
    lines = [
        f"From: Mail Delivery System <mailer-daemon@{hostname}>",
        f"To: <{message.envelope.sender}>",
        "Subject: Undelivered mail returned to sender",
        f"Date: {date}",
        f"Message-ID: <{queue_id}@{hostname}>",
        *([f"In-Reply-To: {_plain(message.envelope.message_id)}"] if message.envelope.message_id else []),
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status; boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        f"Your message to <{_plain(recipient)}> {what}.",
        "",
        f"The last answer was: {answer}",
        "",
        f"--{boundary}",
        "Content-Type: message/delivery-status",
        "",
        f"Reporting-MTA: dns; {hostname}",
        f"Arrival-Date: {formatdate(message.envelope.received_at / SECOND)}",
        "",
        f"Final-Recipient: {_typed(recipient)}",
        "Action: failed",
        f"Status: {failure.status}",
        *([f"Remote-MTA: dns; {_plain(failure.host)}"] if failure.host else []),
        f"Diagnostic-Code: smtp; {answer}",
        f"Last-Attempt-Date: {date}",
        "",
        f"--{boundary}",
        "Content-Type: text/rfc822-headers",
        "",
        content.partition(b"\r\n\r\n")[0][:_MAX_HEADER].decode("ascii", "replace").replace("\ufffd", "?"),
        "",
        f"--{boundary}--",
        "",
    ]
    return "\r\n".join(lines).encode("utf8")


def _plain(text: str) -> str:
    """One line of ASCII of bounded length."""
    return " ".join(text.encode("ascii", "replace").decode().split())[:_MAX_TEXT]


def _typed(address: str) -> str:
    """With its type; what is not ASCII in the form of RFC 6533 section 3."""
    if address.isascii():
        return f"rfc822; {address}"
    return "utf-8; " + "".join(char if char.isascii() else f"\\x{{{ord(char):X}}}" for char in address)
