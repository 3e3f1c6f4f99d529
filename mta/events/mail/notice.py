"""What a report mail says, parted from what it gives back: the words of the reporter, its fields, the returned mail.

Half of all bounce mails put the returned mail into a part of its own; the other half append it to their text, with or
without a line that says so, sometimes quoted. It must be cut off first, lest the wrong mail be read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

from mta.events.errors import LimitExceeded
from mta.events.mail.addresses import find_addresses
from mta.events.mail.bounce_phrases import fold
from mta.events.mail.message import Fields, Part, read_head
from mta.events.mail.text import decode_text, decode_words, part_text

__all__ = ["Line", "Notice", "read_notice"]

_MARKER_LIMIT = 140
_ORIGINAL_LIMIT = 4 * 1024 * 1024
_STATUS_LIMIT = 1024 * 1024
"""Bytes of report fields; beyond, the report is refused: to read half of its recipients would lose the others."""
_TEXT_LIMIT = 64 * 1024
_LINE_LIMIT = 2_000
_LINES = 1_500
_ENCLOSED = frozenset({"message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers"})
_STATUS = frozenset({"message/delivery-status", "message/global-delivery-status"})
_JSON = frozenset({"application/json", "application/xarf+json"})
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,40}:")
_TRACE = re.compile(
    r"(?:received|return-path|dkim-signature|domainkey-signature|message-id|delivered-to|x-received|mime-version"
    r"|x-google-[a-z-]{1,30}|x-ymail-osg|arc-seal|x-originating-ip|x-apparently-to|delivery-date|envelope-to"
    r"|content-type):",
    re.IGNORECASE,
)
_REPORT_FIELD = re.compile(
    r"(?:final-recipient|original-recipient|reporting-mta|arrival-date|action|status|feedback-type):", re.IGNORECASE
)
_TO_FIELDS = ("To", "Cc", "Delivered-To", "X-Original-To", "Envelope-To", "X-HmXmrOriginalRecipient", "Apparently-To")
_FOR = re.compile(r"\bfor\s++<?([^\s<>;]++)")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the reporter's words, without the blanks around it."""

    text: str
    indent: int
    """Blanks before it; a tab counts eight."""


@dataclass(frozen=True)
class Notice:
    """One mail, taken apart as a report. `lines` are the reporter's words, without those that it quotes."""

    head: Fields
    content_type: str
    lines: tuple[Line, ...]
    status: str | None
    """The machine-readable fields (RFC 3464), from their own part or from amid the text; None without."""
    feedback: str | None
    """The same of a feedback report (RFC 5965)."""
    original: bytes | None
    """The returned mail, or its header alone."""
    returns_mail: bool = False
    """The original was given back as it was, not quoted as people quote."""
    has_status_part: bool = False
    """The status fields came in a part of their own."""
    quoted: tuple[str, ...] = ()
    """Lines that the text quotes with `>`."""
    json: str | None = None
    """What a JSON part or a text that is JSON holds."""

    @property
    def is_report_type(self) -> bool:
        """Whether the mail says of itself that it is a delivery report (RFC 6522)."""
        return self.content_type == "multipart/report" and self.has_status_part

    @cached_property
    def text(self) -> str:
        """The reporter's words, one line each, blank lines kept."""
        return "\n".join(line.text for line in self.lines)

    @cached_property
    def subject(self) -> str:
        """The subject, decoded, blanks collapsed."""
        return " ".join(decode_words(self.head.first("Subject") or "").split())

    @cached_property
    def original_head(self) -> Fields:
        """The header of the returned mail; empty where there is none."""
        if self.original is None:
            return Fields()
        try:
            return read_head(self.original.lstrip())
        except LimitExceeded:
            return Fields()

    @cached_property
    def original_recipients(self) -> tuple[str, ...]:
        """To whom the returned mail went, as far as its header tells; in lower case."""
        found: dict[str, None] = {}
        for name in _TO_FIELDS:
            for value in self.original_head.all(name)[:4]:
                found |= dict.fromkeys(each.address.lower() for each in find_addresses(value[:4_000])[:100])
        for value in self.original_head.all("Received")[:8]:
            if match := _FOR.search(value[:1_000]):
                found |= dict.fromkeys(each.address.lower() for each in find_addresses(match[1]))
        return tuple(found)

    @cached_property
    def senders(self) -> frozenset[str]:
        """Addresses that sent or reported, so are rarely the ones that failed; in lower case."""
        values = [
            self.head.first(name) or "" for name in ("To", "From", "Return-Path", "Delivered-To", "X-Original-To")
        ]
        values += [self.original_head.first(name) or "" for name in ("From", "Return-Path", "Sender")]
        return frozenset(each.address.lower() for value in values for each in find_addresses(value[:2_000]))


@dataclass(slots=True)
class _Sections:
    """The parts of a mail, sorted by what they are to a report."""

    plain: list[Part] = field(default_factory=list)
    markup: list[Part] = field(default_factory=list)
    enclosed: Part | None = None
    status: list[str] = field(default_factory=list)
    feedback: str | None = None
    json: str | None = None

    def take(self, part: Part) -> None:
        """Text behind the returned mail is no longer the reporter's."""
        kind = part.content_type
        if kind in _STATUS:
            self.status.append(_body_text(part))
        elif kind == "message/feedback-report":
            self.feedback = self.feedback or _body_text(part)
        elif kind in _ENCLOSED:
            self.enclosed = self.enclosed or part
        elif kind in _JSON:
            self.json = self.json or _body_text(part)
        elif kind.startswith("text/") and self.enclosed is None:
            (self.markup if kind == "text/html" else self.plain).append(part)

    def text(self) -> str:
        """The words; HTML counts where nothing else says any."""
        texts = [text for part in self.plain if (text := part_text(part)).strip()]
        return "\n".join(texts or [part_text(part) for part in self.markup])[:_TEXT_LIMIT]


def read_notice(message: Part, markers: tuple[str, ...] = ()) -> Notice:
    """Take a report mail apart. May raise LimitExceeded. `markers` are words that announce the returned mail."""
    sections = _Sections()
    for part in message.walk():
        if not part.parts:
            sections.take(part)
    text = sections.text()
    lines = text.split("\n")[:_LINES]
    cut = _returned_at(lines, markers)
    said, status, feedback = _fields_apart(lines[:cut], sections, message.content_type)
    return Notice(
        head=message.fields,
        content_type=message.content_type,
        lines=tuple(_line(line) for line in said if not _is_quote(line)),
        status=status,
        feedback=feedback,
        original=_original(sections.enclosed, lines, cut),
        returns_mail=sections.enclosed is not None
        or (cut is not None and not any(map(_is_quote, lines[cut : cut + 4]))),
        has_status_part=bool(sections.status),
        quoted=tuple(
            line.lstrip()[1:].removeprefix(" ")[:_LINE_LIMIT] for line in lines if line.lstrip().startswith(">")
        ),
        json=text if sections.json is None and text.lstrip()[:1] == "{" else sections.json,
    )


def _fields_apart(said: list[str], sections: _Sections, content_type: str) -> tuple[list[str], str | None, str | None]:
    """The words, the status fields and the feedback fields, which some write into the text instead of into parts."""
    status, feedback = "\n\n".join(sections.status), sections.feedback
    if not status:
        said, status = _parted(said, "final-recipient:")
    if feedback is None and content_type == "multipart/report":
        feedback = _parted(said, "feedback-type:")[1]
    return said, status or None, feedback or None


def _original(enclosed: Part | None, lines: list[str], cut: int | None) -> bytes | None:
    if enclosed is not None:
        return enclosed.content(_ORIGINAL_LIMIT)
    if cut is None:
        return None
    return "\n".join(_unquoted(line) for line in lines[cut:]).strip().encode("utf-8", "replace")


def _parted(lines: list[str], proof: str) -> tuple[list[str], str]:
    """Words, and the report fields that stand behind them in the same text; `proof` is the field that must be there."""
    if not any(line.lstrip().lower().startswith(proof) for line in lines):
        return lines, ""
    at = next(
        (number for number, line in enumerate(lines) if _REPORT_FIELD.match(line.lstrip()) or proof in line.lower()), 0
    )
    return lines[:at], "\n".join(line.lstrip() if _FIELD.match(line.lstrip()) else line for line in lines[at:])


def _is_quote(line: str) -> bool:
    """`> text`, but not the `>>> RCPT TO` of a transcript."""
    bare = line.lstrip()
    return bare.startswith(">") and not bare.startswith(">>>")


def _line(line: str) -> Line:
    line = line[:_LINE_LIMIT].expandtabs(8)
    bare = line.strip()
    return Line(bare, len(line) - len(line.lstrip()))


def _unquoted(line: str) -> str:
    return line.removeprefix(">").removeprefix(" ") if line.startswith(">") else line


def _returned_at(lines: list[str], markers: tuple[str, ...]) -> int | None:
    """Where the returned mail begins in the text, or None: behind a line that announces it, else at its header.

    A mail's header is told from a report's own fields by what only transport writes.
    """
    for at, line in enumerate(lines):
        bare = line.lstrip("> \t")
        if markers and len(bare) < _MARKER_LIMIT and fold(bare.lstrip("-*=_|#")).startswith(markers):
            return at + 1
        if not _TRACE.match(bare) or (line[:1] in {" ", "\t"} and line.strip()[:1] != ">"):
            continue
        if bare.lower().startswith("content-type:") and not _is_mail_start(lines, at):
            continue
        return _first_field(lines, at)
    return None


def _is_mail_start(lines: list[str], at: int) -> bool:
    near = [line.lstrip("> \t").lower() for line in lines[max(at - 4, 0) : at + 5]]
    return any(line.startswith(("from:", "subject:", "date:", "to:", "message-id:", "mime-version:")) for line in near)


def _first_field(lines: list[str], at: int) -> int:
    """The fields before that one belong to the same header."""
    while at > 0 and _FIELD.match(lines[at - 1].lstrip("> ")) and lines[at - 1][:1] not in {" ", "\t"}:
        at -= 1
    return at


def _body_text(part: Part) -> str:
    """The fields of a report part."""
    if len(part.body) > _STATUS_LIMIT:
        raise LimitExceeded(f"report fields of more than {_STATUS_LIMIT} bytes")
    return decode_text(part.content()).replace("\r\n", "\n").replace("\r", "\n")
