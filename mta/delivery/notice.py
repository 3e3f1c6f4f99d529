"""Delivery status notifications: what a sender is told of a message (RFC 3464 in RFC 6522's container). Pure.

A notice holds the header of the message, or all of it if the sender asked for that (RFC 3461), is ASCII wherever the
sender's address is, and is marked so that no robot answers it (RFC 3834). It goes out with the null reverse-path, so it
can never be returned itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import formatdate
from enum import Enum

from mta.events.instants import SECOND
from mta.events.reply import SmtpReply
from mta.queue.message import Message

__all__ = ["Action", "Report", "is_wanted", "notice"]

_MAX_HEADER = 64 * 1024
_MAX_RETURNED = 256 * 1024
_MAX_TEXT = 500


class Action(Enum):
    """What a report says became of a message (RFC 3464 section 2.3.3), by the condition of NOTIFY that asks for it."""

    FAILED = "FAILURE"
    DELAYED = "DELAY"
    RELAYED = "SUCCESS"
    """Handed to a host that will not report what becomes of it."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is to be told. `reply` is the last answer, `host` who gave it; a delayed message is tried until `until`."""

    action: Action
    reply: SmtpReply
    host: str = ""
    expired: bool = False
    until: int | None = None

    @property
    def status(self) -> str:
        """The enhanced status code, which a notice must have; of the class that the action demands."""
        if self.expired:
            return "5.4.7"
        klass = {Action.FAILED: "5", Action.DELAYED: "4", Action.RELAYED: "2"}[self.action]
        said = str(self.reply.enhanced or "")
        return said if said.startswith(klass) else f"{klass}.0.0"


def is_wanted(action: Action, notify: str, *, usual: bool) -> bool:
    """Whether the sender is to be told, by NOTIFY; `usual` decides where it said nothing, and then only of failures."""
    if not notify:
        return usual and action is Action.FAILED
    return action.value in notify.split(",")


_SUBJECT = {
    Action.FAILED: "Undelivered mail returned to sender",
    Action.DELAYED: "Your message is delayed",
    Action.RELAYED: "Your message was handed on",
}


def notice(message: Message, report: Report, content: bytes, *, hostname: str, queue_id: str, now: int) -> bytes:
    """The notice, every line ended by CRLF."""
    envelope, boundary, date = message.envelope, f"=_{queue_id}", formatdate(now / SECOND)
    returned, kind = _returned(message, report, content)
    lines = [
        f"From: Mail Delivery System <mailer-daemon@{hostname}>",
        f"To: <{envelope.sender}>",
        f"Subject: {_SUBJECT[report.action]}",
        f"Date: {date}",
        f"Message-ID: <{queue_id}@{hostname}>",
        *([f"In-Reply-To: {_plain(envelope.message_id)}"] if envelope.message_id else []),
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status; boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        *_explained(message, report),
        "",
        f"--{boundary}",
        "Content-Type: message/delivery-status",
        "",
        *([f"Original-Envelope-Id: {_from_xtext(envelope.envid)}"] if envelope.envid else []),
        f"Reporting-MTA: dns; {hostname}",
        f"Arrival-Date: {formatdate(envelope.received_at / SECOND)}",
        "",
        *_recipient(message, report, date),
        "",
        f"--{boundary}",
        f"Content-Type: {kind}",
        *(["Content-Transfer-Encoding: 8bit"] if not returned.isascii() else []),
        "",
    ]
    head = "\r\n".join(lines).encode("utf8") + b"\r\n"
    return b"".join((head, returned, b"\r\n\r\n--", boundary.encode(), b"--\r\n"))


def _explained(message: Message, report: Report) -> list[str]:
    whom, answer = f"<{_plain(message.recipient)}>", _plain(str(report.reply))
    match report.action:
        case Action.FAILED:
            what = "could not be delivered in time" if report.expired else "was refused"
            return [f"Your message to {whom} {what}.", "", f"The last answer was: {answer}"]
        case Action.DELAYED:
            until = f" It will be tried until {formatdate(report.until / SECOND)}." if report.until else ""
            return [f"Your message to {whom} has not been delivered yet.{until}", "", f"The last answer was: {answer}"]
        case Action.RELAYED:
            what = "was handed on to a system that does not report what becomes of it."
            return [f"Your message to {whom} {what}", "", "No further report will come."]


def _recipient(message: Message, report: Report, date: str) -> list[str]:
    kind, _, original = message.orcpt.partition(";")
    return [
        *([f"Original-Recipient: {kind}; {_from_xtext(original)}"] if original else []),
        f"Final-Recipient: {_typed(message.recipient)}",
        f"Action: {report.action.name.lower()}",
        f"Status: {report.status}",
        *([f"Remote-MTA: dns; {_plain(report.host)}"] if report.host else []),
        f"Diagnostic-Code: smtp; {_plain(str(report.reply))}",
        f"Last-Attempt-Date: {date}",
        *([f"Will-Retry-Until: {formatdate(report.until / SECOND)}"] if report.until else []),
    ]


def _returned(message: Message, report: Report, content: bytes) -> tuple[bytes, str]:
    """The part of the message that goes back, and its type. All of it only with failures (RFC 3461 section 4.3)."""
    whole = message.envelope.ret == "FULL" and report.action is Action.FAILED and len(content) <= _MAX_RETURNED
    if whole:
        return content.removesuffix(b"\r\n"), "message/rfc822"
    header = content.partition(b"\r\n\r\n")[0][:_MAX_HEADER]
    return header.decode("ascii", "replace").replace("\ufffd", "?").encode(), "text/rfc822-headers"


def _plain(text: str) -> str:
    """One line of ASCII of bounded length."""
    return " ".join(text.encode("ascii", "replace").decode().split())[:_MAX_TEXT]


def _from_xtext(text: str) -> str:
    """What xtext stands for, as far as it can be shown (RFC 3461 section 4)."""
    head, *rest = text.split("+")
    return _plain(head + "".join(chr(int(part[:2], 16)) + part[2:] for part in rest))


def _typed(address: str) -> str:
    """With its type; what is not ASCII in the form of RFC 6533 section 3."""
    if address.isascii():
        return f"rfc822; {address}"
    return "utf-8; " + "".join(char if char.isascii() else f"\\x{{{ord(char):X}}}" for char in address)
