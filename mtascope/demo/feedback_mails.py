"""What mailbox providers return by mail: complaints (ARF, RFC 5965) and late bounces (RFC 3464). Pure.

Both are real multipart/report mails, with the head of the original enclosed, so that the MTA under them has to find its
own message again just as it would in the field.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import formatdate

__all__ = ["COMPLAINTS_TO", "Taken", "complaint", "late_bounce"]

COMPLAINTS_TO = "fbl@feedback.mtascope.test"
"""Where the demo's sender has subscribed to feedback loops."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A mail that a provider took for one recipient. `at` is in seconds since the epoch; `head` has no blank line."""

    provider: str
    host: str
    sender: str
    recipient: str
    source_ip: str
    at: float
    head: bytes
    token: str


def complaint(mail: Taken) -> bytes:
    """The report that follows when the recipient pressed the spam button."""
    when = formatdate(mail.at)
    return _report(
        mail,
        to=COMPLAINTS_TO,
        origin=f"Feedback loop <feedback@{mail.host}>",
        subject="Email abuse report",
        kind="feedback-report",
        text=f"This is an abuse report for a mail received from {mail.source_ip} on {when}.",
        fields=[
            "Feedback-Type: abuse",
            f"User-Agent: {mail.provider}-feedback/1.0",
            "Version: 1",
            f"Original-Mail-From: <{mail.sender}>",
            f"Original-Rcpt-To: <{mail.recipient}>",
            f"Arrival-Date: {when}",
            f"Reporting-MTA: dns; {mail.host}",
            f"Source-IP: {mail.source_ip}",
            f"Reported-Domain: {mail.sender.rpartition('@')[2]}",
        ],
        enclosed="message/rfc822",
    )


def late_bounce(mail: Taken) -> bytes:
    """The delivery report of a host that took the mail first and could not deliver it afterwards."""
    when = formatdate(mail.at)
    return _report(
        mail,
        to=mail.sender,
        origin=f"Mail Delivery Subsystem <mailer-daemon@{mail.host}>",
        subject="Undelivered Mail Returned to Sender",
        kind="delivery-status",
        text=f"Your mail to {mail.recipient} could not be delivered: the mailbox is no longer in use.",
        fields=[
            f"Reporting-MTA: dns; {mail.host}",
            f"Arrival-Date: {when}",
            "",
            f"Original-Recipient: rfc822;{mail.recipient}",
            f"Final-Recipient: rfc822;{mail.recipient}",
            "Action: failed",
            "Status: 5.1.1",
            f"Remote-MTA: dns; store.{mail.host}",
            "Diagnostic-Code: smtp; 550 5.1.1 Mailbox no longer in use",
            f"Last-Attempt-Date: {when}",
        ],
        enclosed="text/rfc822-headers",
    )


def _report(
    mail: Taken, *, to: str, origin: str, subject: str, kind: str, text: str, fields: list[str], enclosed: str
) -> bytes:
    boundary = f"report-{mail.token}"
    lines = [
        f"From: {origin}",
        f"To: <{to}>",
        f"Subject: {subject}",
        f"Date: {formatdate(mail.at)}",
        f"Message-ID: <{mail.token}.{kind}@{mail.host}>",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type={kind};\r\n boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=utf-8",
        "",
        text,
        f"--{boundary}",
        f"Content-Type: message/{kind}",
        "",
        *fields,
        "",
        f"--{boundary}",
        f"Content-Type: {enclosed}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + mail.head + f"\r\n\r\n--{boundary}--\r\n".encode()
