"""Any mail that comes back, read: bounces, delays, delivery receipts, automatic replies and complaints.

The forms are tried from the most to the least certain: feedback report, notification in JSON, delivery-status fields,
then words. Only words need evidence that the mail is a report at all (`evidence`). What no form explains is `NONE`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mta.events.mail.addresses import find_addresses
from mta.events.mail.automatic import answer_class
from mta.events.mail.bounce_phrases import BouncePhrases, fold, says
from mta.events.mail.complaint import read_complaint
from mta.events.mail.delivery_report import ReportedRecipient
from mta.events.mail.evidence import Evidence, gather
from mta.events.mail.failure import Failure, quoted_codes, remote_host, reporting_host
from mta.events.mail.feedback_report import FeedbackReport
from mta.events.mail.forwarded import unwrapped
from mta.events.mail.message import Fields, MailLimits, read_message
from mta.events.mail.notice import Notice, read_notice
from mta.events.mail.report import instant, named_mta
from mta.events.mail.ses_notification import read_ses_notification
from mta.events.mail.spoken import named_recipients, spoken_failures, whole_reply
from mta.events.mail.status_fields import StatusFields, read_status_fields
from mta.events.reply import EnhancedStatus

__all__ = ["BounceKind", "BounceReport", "BouncedRecipient", "read_bounce"]


class BounceKind(StrEnum):
    """What a mail that came back tells. NONE is ordinary mail, or a report that names nobody."""

    BOUNCE = "bounce"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    AUTO_REPLY = "auto_reply"
    COMPLAINT = "complaint"
    NONE = "none"


_NESTED_LIMIT = 2
_KIND_OF = {
    "failed": BounceKind.BOUNCE,
    "delayed": BounceKind.DELAYED,
    "delivered": BounceKind.DELIVERED,
    "relayed": BounceKind.DELIVERED,
    "expanded": BounceKind.DELIVERED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BouncedRecipient:
    """One recipient. `diagnostic` is what was said about it, `context` more of the report's words."""

    kind: BounceKind
    address: str | None
    action: str | None = None
    code: int | None = None
    status: EnhancedStatus | None = None
    diagnostic: str = ""
    context: str = ""
    remote_mta: str | None = None
    expired: bool = False
    """The mail was given up because its time ran out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BounceReport:
    """One mail. `arrival_date` is an instant; `bounce_class` is what the form alone tells (a challenge), else None."""

    kind: BounceKind
    recipients: tuple[BouncedRecipient, ...] = ()
    reporting_mta: str | None = None
    original_message_id: str | None = None
    arrival_date: int | None = None
    feedback_type: str | None = None
    source_ip: str | None = None
    bounce_class: str | None = None


def read_bounce(data: bytes, phrases: BouncePhrases, limits: MailLimits = MailLimits()) -> BounceReport:  # noqa: B008
    """Read one mail. The only error is LimitExceeded.

    Line ends may be CRLF, LF or bare CR. Nothing is asked of the form: what is no report has the kind NONE.
    """
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return _read(data.lstrip(b" \t\n"), phrases, limits, 0)


def _read(data: bytes, phrases: BouncePhrases, limits: MailLimits, nested: int) -> BounceReport:
    notice = unwrapped(read_notice(read_message(data, limits), phrases.markers), phrases)
    if (complaint := read_complaint(notice, phrases)) is not None:
        return _of_complaint(notice, complaint)
    if notice.json is not None and (found := read_ses_notification(notice.json)):
        return _report(notice, [_spoken(each, each.action or "failed", each.text, phrases) for each in found], None)
    evidence = gather(notice, phrases)
    if (answer := answer_class(notice, evidence, phrases)) is not None and not (
        evidence.is_report or evidence.is_formal
    ):
        return _answered(notice, answer)
    return _of_report(notice, evidence, phrases) or _inner(notice, evidence, phrases, limits, nested)


def _of_report(notice: Notice, evidence: Evidence, phrases: BouncePhrases) -> BounceReport | None:
    """What the fields say, else what the words say; None for a mail that is no report or names nobody."""
    status = read_status_fields(notice.status) if notice.status is not None else None
    if status is not None and status.recipients and (evidence.is_report or evidence.is_formal):
        return _of_status(notice, status, phrases)
    if evidence.is_report and (failures := _failures(notice, phrases, evidence)):
        action = _spoken_action(evidence, phrases)
        context = notice.text if len(failures) == 1 else ""
        return _report(notice, [_spoken(each, action, context, phrases) for each in failures], status)
    return None


def _inner(notice: Notice, evidence: Evidence, phrases: BouncePhrases, limits: MailLimits, nested: int) -> BounceReport:
    """A report that names nobody may have a report inside that does: gateways wrap what they could not return."""
    if evidence.is_report and notice.original is not None and nested < _NESTED_LIMIT:
        return _read(notice.original, phrases, limits, nested + 1)
    return BounceReport(kind=BounceKind.NONE)


def _failures(notice: Notice, phrases: BouncePhrases, evidence: Evidence) -> list[Failure]:
    """Recipients that a header field names, else those of the text, else those of the returned mail."""
    failed = notice.head.all("X-Failed-Recipients")[:50]
    known = list(dict.fromkeys(each.address for value in failed for each in find_addresses(value[:20_000])))
    spoken = spoken_failures(notice, phrases)
    if known and not _contradicts(spoken, known):
        return named_recipients(notice, known[:1_000], phrases)
    if spoken:
        return spoken
    if evidence.origin and len(notice.original_recipients) <= 3 and not _is_from_system(notice.original_head, phrases):
        return named_recipients(notice, notice.original_recipients, phrases)
    return []


def _is_from_system(head: Fields, phrases: BouncePhrases) -> bool:
    return says(fold(head.first("From") or ""), phrases.systems)


def _contradicts(spoken: Sequence[Failure], known: Sequence[str]) -> bool:
    """Whether the text quotes a refusal of others than the header field names: then the text is right."""
    lowered = {each.lower() for each in known}
    return bool(spoken) and all(each.code is not None and each.address.lower() not in lowered for each in spoken)


def _spoken_action(evidence: Evidence, phrases: BouncePhrases) -> str:
    """Delayed, where subject or text say that it is tried on and nothing says that it was given up."""
    waits = says(evidence.subject, phrases.subject_delayed) or says(evidence.said, phrases.body_delayed)
    return "delayed" if waits and not says(evidence.said, phrases.body_final) else "failed"


def _spoken(failure: Failure, action: str, context: str, phrases: BouncePhrases) -> BouncedRecipient:
    return BouncedRecipient(
        kind=_KIND_OF.get(action, BounceKind.BOUNCE),
        address=failure.address,
        action=action,
        code=failure.code,
        status=failure.status,
        diagnostic=failure.text,
        context="" if failure.code is not None and failure.status is not None else context,
        remote_mta=failure.remote_mta,
        expired=action == "failed" and says(fold(failure.text), phrases.expired),
    )


def _of_status(notice: Notice, status: StatusFields, phrases: BouncePhrases) -> BounceReport:
    """Recipients by the fields; the words around the same address add what the fields leave out."""
    addresses = [each.final_recipient for each in status.recipients]
    spoken = {each.address.lower(): each for each in named_recipients(notice, addresses, phrases)}
    found = [_of_fields(each, spoken.get(each.final_recipient.lower()), notice, phrases) for each in status.recipients]
    return _report(notice, found, status)


def _of_fields(
    fields: ReportedRecipient, spoken: Failure | None, notice: Notice, phrases: BouncePhrases
) -> BouncedRecipient:
    diagnostic = whole_reply(notice, fields.diagnostic or "")
    code, quoted = quoted_codes(diagnostic)
    words = spoken.text if spoken is not None else ""
    if not diagnostic and spoken is not None:
        code, diagnostic = spoken.code, words
    status = fields.status if fields.status is not None and fields.status.detail else quoted or fields.status
    named = fields.remote_mta.name.partition(" ")[0] if fields.remote_mta is not None else None
    return BouncedRecipient(
        kind=_KIND_OF.get(fields.action, BounceKind.BOUNCE),
        address=fields.final_recipient,
        action=fields.action,
        code=code,
        status=status,
        diagnostic=diagnostic,
        context=words,
        remote_mta=named or remote_host(diagnostic),
        expired=fields.action == "failed"
        and (str(fields.status) in {"4.4.7", "5.4.7"} or says(fold(diagnostic), phrases.expired)),
    )


def _report(notice: Notice, recipients: Sequence[BouncedRecipient], status: StatusFields | None) -> BounceReport:
    about = status.about if status is not None else None
    kinds = [each.kind for each in recipients]
    return BounceReport(
        kind=next(kind for kind in BounceKind if kind in kinds),
        recipients=tuple(_unique(recipients)),
        reporting_mta=_reporting_mta(notice, status),
        original_message_id=_message_id(notice),
        arrival_date=instant(about.first("Arrival-Date")) if about is not None else None,
    )


def _unique(recipients: Sequence[BouncedRecipient]) -> list[BouncedRecipient]:
    """One entry an address; a failure outweighs what else is said of it."""
    found: dict[str, BouncedRecipient] = {}
    for each in recipients:
        key = (each.address or "").lower()
        if key not in found or (each.kind is BounceKind.BOUNCE and found[key].kind is not BounceKind.BOUNCE):
            found[key] = each
    return list(found.values())


def _of_complaint(notice: Notice, complaint: FeedbackReport) -> BounceReport:
    addresses: Sequence[str | None] = complaint.original_rcpt_to or (None,)
    recipients = [BouncedRecipient(kind=BounceKind.COMPLAINT, address=each) for each in dict.fromkeys(addresses)]
    return BounceReport(
        kind=BounceKind.COMPLAINT,
        recipients=tuple(recipients),
        reporting_mta=complaint.reporting_mta.name if complaint.reporting_mta is not None else None,
        original_message_id=_message_id(notice),
        arrival_date=complaint.arrival_date,
        feedback_type=complaint.feedback_type,
        source_ip=complaint.source_ip,
        bounce_class="complaint",
    )


def _answered(notice: Notice, bounce_class: str) -> BounceReport:
    found = find_addresses((notice.head.first("From") or "")[:2_000])
    address = found[0].address if found else None
    return BounceReport(
        kind=BounceKind.AUTO_REPLY,
        recipients=(BouncedRecipient(kind=BounceKind.AUTO_REPLY, address=address),),
        original_message_id=(notice.head.first("In-Reply-To") or "").strip() or None,
        bounce_class=bounce_class,
    )


def _message_id(notice: Notice) -> str | None:
    """The id of the mail that this one is about: from the returned mail, else from what the report answers."""
    found = notice.original_head.first("Message-ID") or notice.head.first("In-Reply-To") or ""
    return found.strip()[:1_000] or None


def _reporting_mta(notice: Notice, status: StatusFields | None) -> str | None:
    """Who reports, by the fields, else by the words, else by where the mail system's address lies."""
    named = named_mta(status.about.first("Reporting-MTA")) if status is not None else None
    if named is not None and named.name:
        return named.name
    if spoken := reporting_host(notice.text[:2_000]):
        return spoken
    sender = find_addresses((notice.head.first("From") or "")[:1_000])
    return sender[0].address.rpartition("@")[2].lower() if sender else None
