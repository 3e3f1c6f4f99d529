"""Why a delivery ended as it did: the text in parentheses at the end of a status line.

It tells who spoke. `host X said` and `refused to talk to me` quote the peer; everything else is Postfix's own finding,
and about the peer's connection at most. `delivery temporarily suspended` repeats why the destination is left alone:
nothing was tried for this message, so it is our decision whatever a peer had said to another one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from collector.formats.hosts import host_or_none, ip_or_none
from collector.formats.replies import read_reply
from mta.events.event import Origin
from mta.events.reply import EnhancedStatus, SmtpReply

__all__ = ["Answer", "read_answer"]

_HOST = r"(?P<host>[^\s\[]{0,255})\[(?P<ip>[^\]\s]{0,255})\](?::\w{1,12})?"
_SAID = re.compile(rf"(?:host|server) {_HOST} said: ")
_REFUSED = re.compile(rf"host {_HOST} refused to talk to me: ")
_TO_COMMAND = re.compile(r" \(in reply to ([^()]{1,100}?)(?: command)?\)?$")
_ABOUT = re.compile(
    r"(?:connect to|lost connection with|conversation with|(?:mail for \S{1,255} )?loops back to|offered by host|"
    rf"server|host) {_HOST}"
)
_SUSPENDED = "delivery temporarily suspended: "


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered, by whom, and the host it is about if it names one."""

    reply: SmtpReply
    origin: Origin
    host: str | None = None
    ip: str | None = None


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


def _command(answered: str) -> str:
    """`RCPT TO`, `MAIL FROM`, `end of DATA`: the last is the final dot."""
    return "." if answered == "end of DATA" else answered
