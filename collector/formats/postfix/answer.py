"""Why a delivery ended as it did: the text in parentheses at the end of a status line.

It tells who spoke. `host X said` and `refused to talk to me` quote the peer; everything else is Postfix's own finding,
and about the peer's connection at most. `delivery temporarily suspended` repeats why the destination is left alone:
nothing was tried for this message, so it is our decision whatever a peer had said to another one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from collector.formats.hosts import host_or_none, ip_or_none
from mta.events.event import Origin
from mta.events.reply import EnhancedStatus, SmtpReply

__all__ = ["Answer", "enhanced_status", "read_answer", "read_reply"]

_HOST = r"(?P<host>[^\s\[]{0,255})\[(?P<ip>[^\]\s]{0,255})\](?::\w{1,12})?"
_SAID = re.compile(rf"(?:host|server) {_HOST} said: ")
_REFUSED = re.compile(rf"host {_HOST} refused to talk to me: ")
_TO_COMMAND = re.compile(r" \(in reply to ([^()]{1,100}?)(?: command)?\)?$")
_ABOUT = re.compile(
    r"(?:connect to|lost connection with|conversation with|(?:mail for \S{1,255} )?loops back to|offered by host|"
    rf"server|host) {_HOST}"
)
_SUSPENDED = "delivery temporarily suspended: "
_REPLY = re.compile(r"([2-5]\d\d)(?:([ -])|$)(?:([245]\.\d{1,3}\.\d{1,3})(?!\.?\d)[ -]*)?")
_STATUS = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?!\.?\d) *")


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered, by whom, and the host it is about if it names one."""

    reply: SmtpReply
    origin: Origin
    host: str | None = None
    ip: str | None = None


@lru_cache(maxsize=4096)
def enhanced_status(written: str) -> EnhancedStatus | None:
    """`5.1.1` as a value; None for what RFC 3463 does not know."""
    return EnhancedStatus.parse(written)


def read_answer(text: str, status: EnhancedStatus | None) -> Answer:
    """The answer in a failure's text. `status` is the line's own `dsn=`, which outdoes the one in the reply's text."""
    inner = text.removeprefix(_SUSPENDED)
    found = _SAID.search(inner) or _REFUSED.match(inner)
    if found:
        quoted = inner[found.end() :]
        command = _TO_COMMAND.search(quoted)
        if command:
            quoted = quoted[: command.start()]
        reply = read_reply(quoted, status, command=_command(command[1]) if command else None)
        origin = Origin.REMOTE if inner is text else Origin.LOCAL
        return Answer(reply, origin, host_or_none(found["host"]), ip_or_none(found["ip"]))
    about = _ABOUT.search(inner)
    reply = SmtpReply(None, status, text)
    if not about:
        return Answer(reply, Origin.LOCAL)
    return Answer(reply, Origin.LOCAL, host_or_none(about["host"]), ip_or_none(about["ip"]))


def read_reply(quoted: str, status: EnhancedStatus | None = None, *, command: str | None = None) -> SmtpReply:
    """A reply as Postfix quotes it: the lines of a long one joined by blanks, each with its code.

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
    again = rf"(?:^|\s+){code}[ -]" + (rf"(?:{re.escape(status)}\s?)?" if status else "")
    return _pattern(again).sub(" ", rest).strip()


@lru_cache(maxsize=1024)
def _pattern(source: str) -> re.Pattern[str]:
    return re.compile(source)


def _command(answered: str) -> str:
    """`RCPT TO`, `MAIL FROM`, `end of DATA`: the last is the final dot."""
    return "." if answered == "end of DATA" else answered
