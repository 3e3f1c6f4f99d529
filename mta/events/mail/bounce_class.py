"""Why a bounced mail bounced: the reply classifier asked about what a report says of one recipient.

The refusal that the report quotes is asked about first. Where that leaves the cause open, the reporter's own words are
asked about too, and the more confident answer counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from mta.events.classifier import Classification, ReplyClassifier
from mta.events.event import EventType
from mta.events.mail.bounce import BouncedRecipient, BounceKind, BounceReport
from mta.events.mail.failure import quoted_codes
from mta.events.reply import SmtpReply, parse_reply
from mta.events.taxonomy import UNKNOWN

__all__ = ["BounceClass", "classify_recipient"]

_TYPES = {BounceKind.DELIVERED: EventType.DELIVERY, BounceKind.COMPLAINT: EventType.COMPLAINT}
_OPEN = 0.7
"""Below this confidence the words around the refusal are asked too."""
_CONTEXT_LIMIT = 2_000


@dataclass(frozen=True, slots=True)
class BounceClass:
    """A class of the taxonomy and its group; None for ordinary mail."""

    name: str | None
    group: str | None


def classify_recipient(recipient: BouncedRecipient, report: BounceReport, classifier: ReplyClassifier) -> BounceClass:
    """The class of one recipient's outcome."""
    if report.bounce_class is not None and recipient.kind is BounceKind.AUTO_REPLY:
        return BounceClass(report.bounce_class, "none")
    if recipient.kind is BounceKind.NONE:
        return BounceClass(None, None)
    if (named := _TYPES.get(recipient.kind)) is not None:
        found = classifier.classify(SmtpReply(None), type=named)
        return BounceClass(found.bounce_class, found.group)
    found = _cause(recipient, classifier)
    return BounceClass(found.bounce_class, found.group)


def _cause(recipient: BouncedRecipient, classifier: ReplyClassifier) -> Classification:
    kind = EventType.EXPIRATION if recipient.expired else None
    peer = recipient.remote_mta
    read = parse_reply(recipient.diagnostic)
    code, quoted = quoted_codes(recipient.diagnostic)
    code = read.code or recipient.code or code
    named = recipient.status if recipient.status is not None and recipient.status.detail else None
    status = read.enhanced or quoted or named or recipient.status
    best = classifier.classify(SmtpReply(code, status, read.text), peer=peer, type=kind)
    if best.confidence >= _OPEN or not recipient.context:
        return best
    words = recipient.context[:_CONTEXT_LIMIT]
    wider = classifier.classify(SmtpReply(code, status, words), peer=peer, type=kind)
    return wider if wider.confidence > best.confidence and wider.bounce_class != UNKNOWN else best
