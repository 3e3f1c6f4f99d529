"""Delivery status notifications, by which a mail server says what became of a mail it had taken (RFC 3464).

The standard form is read: a multipart/report with a message/delivery-status part, whose first block of fields is about
the mail and each further one about one recipient.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mta.events.errors import LimitExceeded, ParseError
from mta.events.mail.message import Fields, MailLimits, Part, read_fields
from mta.events.mail.report import NamedMta, bare_address, instant, named_mta, original_message, report_part
from mta.events.reply import EnhancedStatus, SmtpReply, parse_reply

__all__ = ["DeliveryReport", "ReportedRecipient", "read_delivery_report"]

_BLOCKS = re.compile(rb"(?:\r?\n[ \t]*){2,}")
_RECIPIENT_LIMIT = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedRecipient:
    """What became of one recipient (RFC 3464 section 2.3). Dates are instants."""

    final_recipient: str
    original_recipient: str | None = None
    action: str
    """failed, delayed, delivered, relayed or expanded; in lower case."""
    status: EnhancedStatus | None = None
    remote_mta: NamedMta | None = None
    diagnostic_type: str | None = None
    """`smtp` where the diagnostic is the reply of a mail server."""
    diagnostic: str | None = None
    last_attempt: int | None = None
    will_retry_until: int | None = None

    @property
    def reply(self) -> SmtpReply | None:
        """The SMTP reply that the diagnostic holds; None where it holds something else."""
        if self.diagnostic_type != "smtp" or not self.diagnostic:
            return None
        found = parse_reply(self.diagnostic)
        return found if found.code is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """One notification. `original_message` is the returned mail, or its header alone."""

    reporting_mta: NamedMta | None
    recipients: tuple[ReportedRecipient, ...]
    original_envelope_id: str | None = None
    received_from_mta: NamedMta | None = None
    arrival_date: int | None = None
    original_message: bytes | None = None


def read_delivery_report(message: Part, limits: MailLimits = MailLimits()) -> DeliveryReport:  # noqa: B008 (frozen)
    """The report in this mail. ParseError: `no-report` where it has none, `missing-field` where that names nobody."""
    part = report_part(message, "message/delivery-status", "message/global-delivery-status")
    blocks = [read_fields(block, limits) for block in _blocks(part.content())]
    about = blocks[0] if blocks else Fields()
    recipients = tuple(found for block in blocks if (found := _recipient(block)) is not None)
    if not recipients:
        raise ParseError("a delivery report that names no recipient", reason="missing-field")
    return DeliveryReport(
        reporting_mta=named_mta(about.first("Reporting-MTA")),
        recipients=recipients,
        original_envelope_id=about.first("Original-Envelope-Id"),
        received_from_mta=named_mta(about.first("Received-From-MTA")),
        arrival_date=instant(about.first("Arrival-Date")),
        original_message=original_message(message),
    )


def _blocks(status: bytes) -> list[bytes]:
    found = [block for block in _BLOCKS.split(status, maxsplit=_RECIPIENT_LIMIT + 1) if block.strip()]
    if len(found) > _RECIPIENT_LIMIT + 1:
        raise LimitExceeded(f"a delivery report about more than {_RECIPIENT_LIMIT} recipients")
    return found


def _recipient(block: Fields) -> ReportedRecipient | None:
    original, action = block.first("Original-Recipient"), block.first("Action")
    final = block.first("Final-Recipient") or original
    if final is None or action is None:
        return None
    kind, semicolon, text = (block.first("Diagnostic-Code") or "").partition(";")
    return ReportedRecipient(
        final_recipient=bare_address(final),
        original_recipient=None if original is None else bare_address(original),
        action=action.strip().lower(),
        status=EnhancedStatus.parse(block.first("Status") or ""),
        remote_mta=named_mta(block.first("Remote-MTA")),
        diagnostic_type=kind.strip().lower() if semicolon else None,
        diagnostic=text.strip() if semicolon else None,
        last_attempt=instant(block.first("Last-Attempt-Date")),
        will_retry_until=instant(block.first("Will-Retry-Until")),
    )
