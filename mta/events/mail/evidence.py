"""Whether a mail is a report at all: the gate that keeps ordinary mail from ever counting as a bounce.

Words alone prove nothing, because people write about bounces and quote them. A report comes from a mail system, says so
in its subject and in its text, and has no marks of a person: each is a point, and it takes several of different kinds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mta.events.mail.addresses import find_addresses, local_part
from mta.events.mail.bounce_phrases import BouncePhrases, fold, says
from mta.events.mail.failure import quoted_codes
from mta.events.mail.notice import Notice
from mta.events.mail.text import decode_words

__all__ = ["Evidence", "gather"]

_LIST_TAG = re.compile(r"(?:\[[^\]]{1,60}+\]\s*+)++")
_ANSWER = re.compile(r"(?:re|aw|sv|antw|odp|ref|res|fwd?|wg|tr|rv|vs|enc|i)\s?(?:\[\d{1,3}\])?\s?:", re.IGNORECASE)
_TEXT = 6_000
_PERSONAL = ("User-Agent", "X-Mailer", "X-Originating-Client", "Face")
_MAILING = ("List-Unsubscribe", "List-Id", "Feedback-ID", "List-Unsubscribe-Post")
_REACHED = 3
_REACHED_OTHERWISE = 5
_REACHED_WITHOUT_ORIGIN = 6


@dataclass(frozen=True, slots=True)
class Evidence:
    """Points for and against; `said` is the folded text of the report, `subject` its folded subject."""

    origin: int
    """3 from a mail system by its own name, 2 with a null return path, 1 from a postmaster or back to its sender."""
    subject_says: int
    text_says: int
    structure: int
    """A reply code is quoted, a mail is returned."""
    personal: int
    """Marks of a person or a mailing."""
    is_answer: bool
    """The subject begins with `Re:`, `Fwd:` or the like."""
    said: str
    subject: str

    is_mailing: bool
    """It came through a mailing list, or is mass mail."""
    form: int
    """2 for a multipart/report, 1 for report fields in a part of their own, else 0."""

    @property
    def is_formal(self) -> bool:
        """Whether the form alone proves a report: people pass on report parts too, but under a subject of theirs."""
        return self.form > 0 and (self.origin > 0 or not (self.is_answer or self.personal))

    @property
    def is_report(self) -> bool:
        """Whether the points suffice."""
        told = self.text_says + self.subject_says
        if self.origin == 3:
            return told + self.structure > 0
        if self.origin == 2:
            return self._is_report_by_null_path(told)
        if not told or self.is_answer:
            return False
        if not self.origin:
            return not self.personal and told + self.structure >= _REACHED_WITHOUT_ORIGIN
        if self.personal or not self.subject_says:
            return self.subject_says > 0 and told + self.structure >= _REACHED_OTHERWISE
        return told + self.structure >= _REACHED

    def _is_report_by_null_path(self, told: int) -> bool:
        """Answering machines have null return paths too, so a subject that says nothing needs proof beside it."""
        if self.subject_says or not self.subject:
            return told >= 2
        return self.structure == 2 or (self.structure > 0 and told > 0 and not self.is_mailing)


def gather(notice: Notice, phrases: BouncePhrases) -> Evidence:
    """Weigh a mail."""
    subject = fold(notice.subject[:300])
    is_answer = _ANSWER.match(subject) is not None
    said = fold(notice.text[:_TEXT])
    bare = _LIST_TAG.sub("", subject, count=1) if subject.startswith("[") else subject
    begins = bare.startswith(phrases.subject_bounce) or subject.startswith(phrases.subject_bounce)
    holds = not is_answer and says(subject[:80], phrases.subject_bounce)
    origin = _origin(notice, phrases)
    return Evidence(
        origin=origin,
        subject_says=2 if begins else 1 if holds else 0,
        text_says=2 if says(said, phrases.body_bounce) else 0,
        structure=int(quoted_codes(said) != (None, None))
        + int(notice.returns_mail or (origin > 0 and notice.original is not None)),
        personal=_personal(notice, phrases),
        is_answer=is_answer,
        said=said,
        subject=subject,
        is_mailing=any(notice.head.first(name) is not None for name in _MAILING),
        form=2 if notice.is_report_type else int(notice.has_status_part),
    )


def _personal(notice: Notice, phrases: BouncePhrases) -> int:
    names = _PERSONAL if _is_for_bounces(notice) else (*_PERSONAL, *_MAILING)
    marks = sum(notice.head.first(name) is not None for name in names)
    return marks - int(says(fold(notice.head.first("X-Mailer") or ""), phrases.mailers))


def _is_for_bounces(notice: Notice) -> bool:
    """Whether it goes to an address that exists for bounces: list managers mark what they hand to owners."""
    to = [local_part(each.address) for each in find_addresses((notice.head.first("To") or "")[:1_000])]
    return any(each.endswith(("-admin", "-owner", "-bounces", "-request")) or "bounce" in each for each in to)


def _origin(notice: Notice, phrases: BouncePhrases) -> int:
    head = notice.head
    sender = (head.first("From") or "")[:1_000]
    name, _, address = fold(decode_words(sender)).partition("<")
    path = head.first("Return-Path")
    if says(f"{name} {address}", phrases.systems):
        return 3
    if head.first("X-Failed-Recipients") is not None:
        return 2
    if path is not None and (not path.strip() or path.strip() == "<>" or "mailer-daemon" in path.lower()):
        return 2
    if sender.strip() in {"", "<>"}:
        return 2 if sender.strip() or path is None else 1
    locals_ = [local_part(each.address) for each in find_addresses(sender)]
    if any(each in phrases.offices for each in locals_) or says(name or address, phrases.names):
        return 1
    return int(_goes_to_sender(notice))


def _goes_to_sender(notice: Notice) -> bool:
    """Whether the enclosed mail is brought back to who wrote it, by nobody who answers."""
    if notice.original is None or notice.head.first("In-Reply-To") is not None:
        return False
    to, wrote = (
        {each.address.lower() for value in values for each in find_addresses((value or "")[:2_000])}
        for values in (
            (notice.head.first("To"),),
            (notice.original_head.first("From"), notice.original_head.first("Return-Path")),
        )
    )
    return bool(to & wrote)
