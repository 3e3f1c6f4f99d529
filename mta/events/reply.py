"""What a mail server answered: reply code (RFC 5321 section 4.2), enhanced status code (RFC 3463), and text."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["NEXT_QUEUE_ID", "EnhancedStatus", "Phase", "SmtpReply", "next_queue_id", "parse_reply"]

_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?!\.?\d)")
_REPLY = re.compile(r"\s*([2-5]\d\d)(?:[ \-]|$)")

Phase = str
"""Stage of the SMTP dialogue: connect, ehlo, starttls, auth, mail, rcpt, data, dot, rset, quit or unknown."""

_PHASES = {
    "HELO": "ehlo",
    "EHLO": "ehlo",
    "LHLO": "ehlo",
    "STARTTLS": "starttls",
    "AUTH": "auth",
    "MAIL": "mail",
    "RCPT": "rcpt",
    "DATA": "data",
    "BDAT": "dot",
    ".": "dot",
    "RSET": "rset",
    "QUIT": "quit",
}


@dataclass(frozen=True, slots=True)
class EnhancedStatus:
    """class.subject.detail of RFC 3463; `klass` is 2, 4 or 5."""

    klass: int
    subject: int
    detail: int

    def __post_init__(self) -> None:
        if self.klass not in {2, 4, 5} or not (0 <= self.subject <= 999 and 0 <= self.detail <= 999):
            raise ValueError(f"{self.klass}.{self.subject}.{self.detail} is no enhanced status code of RFC 3463")

    def __str__(self) -> str:
        return f"{self.klass}.{self.subject}.{self.detail}"

    @classmethod
    def parse(cls, text: str) -> EnhancedStatus | None:
        """The code that `text` begins with, or None."""
        found = _ENHANCED.match(text.lstrip())
        return cls(int(found[1]), int(found[2]), int(found[3])) if found else None


@dataclass(frozen=True, slots=True)
class SmtpReply:
    """One reply. `text` has neither code nor enhanced code; `command` is the line it answers, without CRLF."""

    code: int | None
    enhanced: EnhancedStatus | None = None
    text: str = ""
    command: str | None = None

    @property
    def phase(self) -> Phase:
        """The stage of the dialogue that the reply answers, from the verb of `command`."""
        if not self.command:
            return "unknown"
        return _PHASES.get(self.command.split(None, 1)[0].upper() if self.command.strip() else "", "unknown")

    @property
    def is_permanent(self) -> bool:
        """5yz: the same attempt must not be repeated."""
        return self.code is not None and self.code >= 500

    @property
    def is_transient(self) -> bool:
        """4yz: try again."""
        return self.code is not None and 400 <= self.code < 500

    def __str__(self) -> str:
        return " ".join(str(part) for part in (self.code, self.enhanced, self.text) if part not in (None, ""))


def parse_reply(line: str, *, command: str | None = None) -> SmtpReply:
    """Read `550 5.1.1 text`; each part may be missing. Lines of a multi-line reply are joined by blanks.

    Code and enhanced code are repeated on each line of a multi-line reply (RFC 2034 section 4); repeats are dropped.
    """
    code: int | None = None
    enhanced: EnhancedStatus | None = None
    texts: list[str] = []
    for part in line.splitlines():
        rest = part
        if (found := _REPLY.match(rest)) and (code is None or int(found[1]) == code):
            code = int(found[1])
            rest = rest[found.end() :]
        rest = rest.strip()
        status = EnhancedStatus.parse(rest)
        if status is not None and (enhanced is None or status == enhanced):
            enhanced = status
            rest = rest[len(str(status)) :] if rest.startswith(str(status)) else rest.split(None, 1)[-1]
        texts.append(rest.strip())
    return SmtpReply(code, enhanced, " ".join(text for text in texts if text), command)


NEXT_QUEUE_ID = (
    r"(?:queued as |\bids?=|Message Queued \(|new id is )([0-9A-Za-z][0-9A-Za-z._-]{4,63})"
    r"|\b([0-9A-Za-z]{8,32}) Message accepted for delivery"
)
"""How Postfix, Exim, KumoMTA, Haraka and Sendmail name the queue id that they gave to a message."""

_NEXT_QUEUE_ID = re.compile(NEXT_QUEUE_ID)


def next_queue_id(text: str) -> str | None:
    """The queue id that the next hop gave, if its reply to the message tells it; of several the last.

    A filter that passes mail on while it is being asked quotes the reply of the server behind it at the end.
    """
    found = _NEXT_QUEUE_ID.findall(text[:2048])
    return (found[-1][0] or found[-1][1]) if found else None
