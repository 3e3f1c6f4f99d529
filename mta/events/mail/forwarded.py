"""A bounce that somebody passed on without a word of his own: the quoted report is read in place of the mail.

Who adds words asks something; such a mail is correspondence about a bounce and stays what it is.
"""

from __future__ import annotations

import re

from mta.events.mail.bounce_phrases import BouncePhrases, fold, says
from mta.events.mail.message import read_message
from mta.events.mail.notice import Notice, read_notice

__all__ = ["unwrapped"]

_FORWARD = re.compile(r"(?:fwd?|wg|tr|rv|i|enc|vb|pd)\s?:\s*", re.IGNORECASE)
_WORDS_LIMIT = 60


def unwrapped(notice: Notice, phrases: BouncePhrases) -> Notice:
    """The quoted report as a notice of its own; the notice itself where it quotes none."""
    subject = _FORWARD.match(notice.subject)
    if not subject or not notice.quoted:
        return notice
    own = " ".join(line.text for line in notice.lines)
    quoted = "\n".join(notice.quoted).lstrip("\n").encode("utf-8", "replace")
    inner = read_notice(read_message(quoted), phrases.markers)
    sender = fold(inner.head.first("From") or "")
    says_so = says(sender, phrases.systems) and fold(inner.subject).startswith(phrases.subject_bounce)
    if len(own) > _WORDS_LIMIT or "?" in own or not says_so:
        return notice
    return inner
