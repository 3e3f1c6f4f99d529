"""What Postfix writes that is no event: the beginnings of such lines, and the kind that each is counted under.

Order matters where one beginning is part of another. `unrecognised` is the honest rest: a line of Postfix that nobody
here has seen before. A growing share of it means that this file wants a new line.
"""

from __future__ import annotations

from collector.formats.outcome import Ignored

CONNECTION = Ignored("connection")
TLS = Ignored("tls")
WARNING = Ignored("warning")
ATTEMPT = Ignored("attempt-detail")
NOTICE = Ignored("bounce-notice")
REMOVED = Ignored("removed")
QUEUE = Ignored("queue")
CONTENT = Ignored("content-check")
DAEMON = Ignored("daemon")
POSTSCREEN = Ignored("postscreen")
DISCARDED = Ignored("discarded")
PROXY = Ignored("proxy-filter")
NOTE = Ignored("log-note")

COMPLAINTS: dict[str, Ignored] = dict.fromkeys(("warning: ", "fatal: ", "panic: ", "error: "), WARNING)
AGENT_LINES = COMPLAINTS | dict.fromkeys(("connect to ", "Host offered STARTTLS", "statistics: "), ATTEMPT)
AGENT_LINES |= dict.fromkeys(
    (
        "certificate ",
        "SSL_connect error",
        "SSL_accept error",
        "server certificate ",
        "Server certificate",
        "setting up",
    ),
    TLS,
)
ATTEMPT_WORDS = (
    " said: ",
    "refused to talk to me",
    "lost connection with",
    "conversation with",
    "workarounds",
    "Cannot start TLS",
    "TLS is required",
    "TLS handshake",
    "SASL authentication failed",
    "breaking ",
    "Server certificate",
    "message size",
    "passing <CR><LF>",
    "DSN support",
    "smtputf8",
    "SMTPUTF8",
    "using ",
    "discarding ",
    "loops back",
    "replace: ",
    "connection cache",
)
SERVER_LINES = COMPLAINTS | dict.fromkeys(
    (
        "lost connection",
        "timeout after",
        "too many errors",
        "improper command pipelining",
        "bare <LF>",
        "discarding EHLO",
        "connection from",
        "NOQUEUE: lost connection",
        "NOQUEUE: timeout",
        "table ",
        "statistics: ",
        "idle timeout",
        "milter ",
    ),
    CONNECTION,
)
SERVER_LINES |= dict.fromkeys(("SSL_accept error", "SSL3 alert", "setting up TLS", "certificate "), TLS)
SERVER_LINES |= dict.fromkeys(("proxy-accept: ",), PROXY)
QUEUE_LINES = COMPLAINTS | dict.fromkeys(("statistics: ",), QUEUE)
_TRIGGERS = {
    "discard: ": DISCARDED,
    "milter-discard: ": DISCARDED,
    "warn: ": CONTENT,
    "warning: ": CONTENT,
    "info: ": CONTENT,
    "reject_warning: ": CONTENT,
    "filter: ": CONTENT,
    "redirect: ": CONTENT,
    "replace: ": CONTENT,
    "prepend: ": CONTENT,
    "strip: ": CONTENT,
    "permit": CONTENT,
    "trigger": CONTENT,
    "bcc: ": CONTENT,
    "hold: ": QUEUE,
    "milter-hold: ": QUEUE,
    "milter-quarantine: ": QUEUE,
    "quarantine: ": QUEUE,
    "milter-": CONTENT,
    "proxy-accept: ": PROXY,
    "lost connection": CONNECTION,
    "timeout after": CONNECTION,
    "delay ": CONTENT,
    "header ": CONTENT,
    "canonical ": CONTENT,
}
"""What access tables, content checks and milters do short of refusing, behind `QUEUEID: ` or `NOQUEUE: `."""


def first_of(body: str, beginnings: dict[str, Ignored]) -> Ignored | None:
    """The kind of the first beginning that `body` has."""
    for beginning, kind in beginnings.items():
        if body.startswith(beginning):
            return kind
    return None


def triggered(body: str) -> Ignored | None:
    """The kind of a line that begins with a queue id or NOQUEUE."""
    _id, colon, rest = body.partition(": ")
    return first_of(rest, _TRIGGERS) if colon else None
