"""Answers that a program gave in a person's name: absences, receipts, and challenges to prove that one is human.

RFC 3834 has such mail marked `Auto-Submitted: auto-replied`. Most of it is; the rest is known by older fields, or by
its subject together with a second sign, because people write `out of office` too.
"""

from __future__ import annotations

from mta.events.mail.bounce_phrases import BouncePhrases, says
from mta.events.mail.evidence import Evidence
from mta.events.mail.notice import Notice

__all__ = ["answer_class"]

_MARKS = ("X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-Auto-Response-From")


def answer_class(notice: Notice, evidence: Evidence, phrases: BouncePhrases) -> str | None:
    """`auto_reply`, `challenge_response`, or None for a mail that is neither."""
    if evidence.is_mailing:
        return None
    if _challenges(notice, evidence, phrases):
        return "challenge_response"
    if _is_marked(notice) or _is_announced(notice, evidence, phrases):
        return "auto_reply"
    return None


def _challenges(notice: Notice, evidence: Evidence, phrases: BouncePhrases) -> bool:
    """A link to follow, words that ask for it, and either form or subject of an answer that no person wrote."""
    asks = says(evidence.said, phrases.body_challenge) and "http" in evidence.said
    return asks and evidence.is_answer and (notice.status is not None or not evidence.personal)


def _is_marked(notice: Notice) -> bool:
    submitted = (notice.head.first("Auto-Submitted") or "").strip().lower()
    return (
        submitted.startswith("auto-replied")
        or _precedence(notice) in {"auto_reply", "auto-reply"}
        or any(notice.head.first(name) is not None for name in _MARKS)
    )


def _is_announced(notice: Notice, evidence: Evidence, phrases: BouncePhrases) -> bool:
    unattended = (notice.head.first("Return-Path") or "").strip() == "<>" or _precedence(notice) in {"junk", "bulk"}
    if unattended:
        return says(evidence.subject, (*phrases.subject_auto_reply, *phrases.subject_absence))
    begins = evidence.subject.startswith(phrases.subject_auto_reply)
    return begins and not evidence.personal and says(evidence.said, phrases.body_auto_reply)


def _precedence(notice: Notice) -> str:
    return (notice.head.first("Precedence") or "").strip().lower()
