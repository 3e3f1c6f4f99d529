"""Replies of a peer as other servers quote them in their logs: on one line, however many there were.

`mta.events.reply.parse_reply` reads replies as they come from a socket. Logs have many, and short ones.
"""

from __future__ import annotations

import re
from functools import lru_cache

from mta.events.reply import EnhancedStatus, SmtpReply

__all__ = ["enhanced_status", "read_reply"]

_REPLY = re.compile(r"([2-5]\d\d)(?:([ -])|$)(?:([245]\.\d{1,3}\.\d{1,3})(?!\.?\d)[ -]*)?")
_STATUS = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?!\.?\d) *")


@lru_cache(maxsize=4096)
def enhanced_status(written: str) -> EnhancedStatus | None:
    """`5.1.1` as a value; None for what RFC 3463 does not know."""
    return EnhancedStatus.parse(written)


def read_reply(quoted: str, status: EnhancedStatus | None = None, *, command: str | None = None) -> SmtpReply:
    """A reply on one line: the lines of a long one joined by blanks, each with its code.

    Code and status are taken from the text, which keeps neither; `status`, if given, outdoes the one in the text.
    """
    found = _REPLY.match(quoted)
    if not found:
        own = _STATUS.match(quoted)
        rest = quoted[own.end() :] if own else quoted
        return SmtpReply(None, status or (enhanced_status(own[1]) if own else None), rest, command)
    code, mark, written = found.groups()
    rest = quoted[found.end() :]
    if mark == "-":
        rest = _continued(rest, code, written)
    return SmtpReply(int(code), status or (enhanced_status(written) if written else None), rest, command)


def _continued(rest: str, code: str, status: str | None) -> str:
    """Without the code and status that each further line begins with."""
    again = rf"(?:^|\s){code}[ -]" + (rf"(?:{re.escape(status)}\s?)?" if status else "")
    return _pattern(again).sub(" ", rest).strip()


@lru_cache(maxsize=1024)
def _pattern(source: str) -> re.Pattern[str]:
    return re.compile(source)
