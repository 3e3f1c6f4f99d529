"""Finding reports in whatever they come in: bare, compressed, zip, mails, mbox, and each within another.

What a thing is is decided by its first bytes, never by names or media types, which real reporters get wrong. Everything
streams but what cannot (zip files and mails), and everything counts against one budget, so that no nesting of small
files becomes a large one. Member names are for people to read; nothing is ever written under one.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from itertools import chain

from dmarc.carrier import Carrier, carrier_of
from dmarc.compression import STEP, Budget, Meter, bunzip2, gunzip, unxz
from dmarc.deviation import Deviation, Deviations
from dmarc.documents import documents
from dmarc.errors import DamagedReport, NotAReport
from dmarc.failure import is_failure_report
from dmarc.limits import Limits
from dmarc.mailbox.mbox import split_mbox
from dmarc.reports import ReportKind
from dmarc.smime import is_cms, signed_content
from dmarc.tnef import SIGNATURE as TNEF
from dmarc.tnef import tnef_attachments
from dmarc.uuencode import uuencoded_files
from dmarc.values import printable
from mta.events.errors import LimitExceeded, ParseError
from mta.events.mail.message import Part, read_message

__all__ = ["Payload", "Refused", "unpack"]

_PEEK = 4_096
_CENTRAL_ENTRIES = 1_000
"""Entries of a zip directory; more are not even listed."""
_BLANKS = b" \t\r\n"
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError,
    IndexError, OverflowError,
)  # fmt: skip
"""What the standard library raises on hostile zip files."""
_FOREIGN = {
    b"\xd0\xcf\x11\xe0": "an Outlook .msg file: export the mail as .eml",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"%PDF": "a PDF",
}
_TAR = slice(257, 262), b"ustar"
_ESCAPED = re.compile(rb"&lt;(?:\?xml|feedback)[ &>]")
_ESCAPES = ((b"&lt;", b"<"), (b"&gt;", b">"), (b"&quot;", b'"'), (b"&#34;", b'"'), (b"&#39;", b"'"), (b"&amp;", b"&"))
_MAIL = re.compile(rb"[A-Za-z][A-Za-z0-9-]{0,76}:")
_BASE64 = re.compile(rb"(?:H4sI|UEsD|PD94|PGZl)[A-Za-z0-9+/=\r\n]*\Z")
_UUENCODED = re.compile(rb"^begin(?:-base64)? 0?[0-7]{3} ", re.MULTILINE)
_QUIET = frozenset({"no-report", "empty", "unsupported"})
"""Reasons that are not worth a word about one part when another part is a report."""


@dataclass(frozen=True, slots=True)
class Payload:
    """One report, not yet read. Read `chunks` before asking for the next payload.

    `message` is the mail itself where the report is a mail (failure reports); then there are no chunks.
    """

    member: str
    kind: ReportKind
    chunks: Iterator[bytes]
    deviations: Deviations
    carrier: Carrier | None = None
    message: Part | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that is no report, or cannot be opened, and why."""

    member: str
    error: ParseError
    carrier: Carrier | None = None


class _Form(Enum):
    """What the first bytes say."""

    GZIP = auto()
    ZIP = auto()
    BZIP2 = auto()
    XZ = auto()
    TNEF = auto()
    CMS = auto()
    ESCAPED = auto()
    """XML as text for people: in a web page, or escaped once too often."""
    XML = auto()
    JSON = auto()
    BASE64 = auto()
    MBOX = auto()
    MAIL = auto()
    UNKNOWN = auto()


_MAGIC = (
    (b"\x1f\x8b", _Form.GZIP),
    (b"x\x9c", _Form.GZIP),  # zlib's own format, in three strengths
    (b"x\xda", _Form.GZIP),
    (b"x\x01", _Form.GZIP),
    (b"PK\x03\x04", _Form.ZIP),
    (b"PK\x05\x06", _Form.ZIP),
    (b"BZh", _Form.BZIP2),
    (b"\xfd7zXZ\0", _Form.XZ),
    (TNEF, _Form.TNEF),
)
_PLAIN = frozenset({_Form.MAIL, _Form.UNKNOWN})
"""What words look like."""
_MAGICS = tuple(magic for magic, _ in _MAGIC)
_STREAMS = {_Form.GZIP: gunzip, _Form.BZIP2: bunzip2, _Form.XZ: unxz}
_PACKED = frozenset({*_STREAMS, _Form.ZIP, _Form.TNEF, _Form.CMS})
_TEXT_STARTS = ((b"<", _Form.XML), (b"{", _Form.JSON), (b"[", _Form.JSON), (b"From ", _Form.MBOX))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the input something stands."""

    limits: Limits
    budget: Budget
    member: str = ""
    depth: int = 0
    carrier: Carrier | None = None
    deviations: Deviations = field(default_factory=Deviations)

    def inside(self, name: str | None = None) -> _Place:
        """One level deeper; LimitExceeded past the last. Without a name it is the same thing, unpacked."""
        if self.depth >= self.limits.nesting:
            raise LimitExceeded(f"nested more than {self.limits.nesting} deep")
        if name is None:
            return replace(self, depth=self.depth + 1)
        member = "/".join(part for part in (self.member, printable(name)[:200]) if part)
        return replace(self, member=member, depth=self.depth + 1, deviations=Deviations(self.deviations))

    def meter(self, packed: int = 0) -> Meter:
        """For a compressed stream of so many bytes, as far as that is known."""
        return Meter(self.limits, self.budget, self.deviations, packed)


def unpack(chunks: Iterable[bytes], limits: Limits | None = None) -> Iterator[Payload | Refused]:
    """Every report in an input, in order. An input without any gives exactly one Refused; nothing is raised."""
    limits = limits or Limits()
    yield from _open(iter(chunks), _Place(limits, Budget(limits.unpacked)))


def _open(chunks: Iterator[bytes], place: _Place) -> Iterator[Payload | Refused]:
    try:
        first, stream = _peek(chunks)
        form = _form(first)
        if form in _PACKED and first[:1] in _BLANKS:
            stream = _without_blanks(stream)
        yield from _opened(form, first, stream, place)
    except ParseError as error:
        yield Refused(place.member, error, place.carrier)


def _opened(form: _Form, first: bytes, stream: Iterator[bytes], place: _Place) -> Iterator[Payload | Refused]:
    limits = place.limits
    match form:
        case _Form.XML:
            yield from _reports(stream, place)
        case _Form.JSON:
            yield Payload(place.member, ReportKind.TLS, stream, place.deviations, place.carrier)
        case _Form.MBOX:
            for number, mail in enumerate(split_mbox(stream, limits.mail.size), start=1):
                fresh = replace(place, budget=Budget(limits.unpacked), deviations=Deviations())
                yield from _from_mail(mail, fresh.inside(f"mail {number}"))
        case _Form.MAIL:
            yield from _from_mail(_collect(stream, limits.mail.size), place)
        case _Form.UNKNOWN:
            raise _unknown(first)
        case _:
            yield from _unpacked(form, stream, place)


def _reports(stream: Iterator[bytes], place: _Place) -> Iterator[Payload | Refused]:
    """One report, or several one after another."""
    for number, chunks in enumerate(documents(stream), start=1):
        if number > place.limits.reports:
            yield Refused(place.member, LimitExceeded(f"more than {place.limits.reports} reports"), place.carrier)
            return
        member = place.member if number == 1 else f"{place.member}#{number}"
        odd = place.deviations if number == 1 else Deviations()
        yield Payload(member, ReportKind.AGGREGATE, chunks, odd, place.carrier)


def _unpacked(form: _Form, stream: Iterator[bytes], place: _Place) -> Iterator[Payload | Refused]:
    """What is in something that holds something else."""
    if form in _STREAMS:
        inner = place.inside()
        yield from _open(_STREAMS[form](stream, inner.meter()), inner)
        return
    data = _collect(stream, place.limits.packed)
    match form:
        case _Form.ZIP:
            yield from _unzip(data, place)
        case _Form.TNEF:
            yield from _worth_telling(_files(tnef_attachments(data), place), place)
        case _Form.CMS:
            content = signed_content(data)
            if is_cms(content.lstrip(_BLANKS)):
                raise LimitExceeded("signed within signed")
            yield from _open(iter((content,)), place)
        case _Form.ESCAPED:
            inner = place.inside()
            inner.deviations.note(Deviation.REPAIRED_TEXT)
            yield from _open(iter((_unescaped(data),)), inner)
        case _:
            yield from _open(iter([_unbase64(data)]), place.inside())


def _form(first: bytes) -> _Form:
    """What it is; text is looked at without byte order mark, blanks and the zero bytes of UTF-16."""
    packed = first.lstrip(_BLANKS)
    if packed.startswith(_MAGICS):
        return next(form for magic, form in _MAGIC if packed.startswith(magic))
    if is_cms(packed):
        return _Form.CMS
    if b"<feedback" not in first and _ESCAPED.search(first):
        return _Form.ESCAPED
    text = first.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    for start, form in _TEXT_STARTS:
        if text.startswith(start):
            return form
    if _BASE64.match(text.rstrip()):
        return _Form.BASE64
    return _Form.MAIL if _MAIL.match(text) else _Form.UNKNOWN


def _unknown(first: bytes) -> NotAReport:
    for magic, name in _FOREIGN.items():
        if first.startswith(magic):
            return NotAReport(f"cannot be opened: {name}", reason="unsupported")
    if first[_TAR[0]] == _TAR[1]:
        return NotAReport("cannot be opened: a tar archive", reason="unsupported")
    if first.startswith(b"-----BEGIN PGP MESSAGE"):
        return NotAReport("an encrypted mail", reason="encrypted")
    if not first.strip(b"\0 \t\r\n"):
        return NotAReport("empty", reason="empty")
    return NotAReport("neither XML, JSON, a mail nor anything packed that is known", reason="no-report")


def _peek(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The beginning, and the whole including it."""
    first = b""
    for chunk in chunks:
        first += chunk
        if len(first) >= _PEEK:
            break
    return first[:_PEEK], chain((first,) if first else (), chunks)


def _without_blanks(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """What some gateways put before an attachment is no part of it."""
    for chunk in chunks:
        rest = chunk.lstrip(_BLANKS)
        if rest:
            yield rest
            yield from chunks


def _collect(chunks: Iterator[bytes], limit: int) -> bytes:
    parts, size = [], 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise LimitExceeded(f"more than {limit} bytes that have to be held at once")
        parts.append(chunk)
    return b"".join(parts)


def _unescaped(text: bytes) -> bytes:
    """From the first escaped tag on, as the XML that it shows."""
    found = _ESCAPED.search(text)
    shown = text[found.start() if found else 0 :]
    for escaped, character in _ESCAPES:
        shown = shown.replace(escaped, character)
    return shown


def _files(files: Iterable[tuple[str, bytes]], place: _Place) -> Iterator[Payload | Refused]:
    """Files that were found within something, by name."""
    found = False
    for number, (name, data) in enumerate(files, start=1):
        found = True
        if number > place.limits.members:
            yield Refused(place.member, LimitExceeded(f"more than {place.limits.members} files"), place.carrier)
            return
        place.budget.spend(len(data))
        yield from _open(iter((data,)), place.inside(name or f"file {number}"))
    if not found:
        raise NotAReport("nothing in it", reason="empty")


def _unbase64(text: bytes) -> bytes:
    """An attachment whose transfer encoding nobody declared."""
    clean = re.sub(rb"[^A-Za-z0-9+/]", b"", text)
    try:
        return base64.b64decode(clean[: len(clean) - (len(clean) % 4 == 1)] + b"=" * (-len(clean) % 4))
    except binascii.Error as error:
        raise DamagedReport(f"damaged base64: {error}", reason="damaged") from error


def _unzip(data: bytes, place: _Place) -> Iterator[Payload | Refused]:
    if data.count(b"PK\x01\x02") > _CENTRAL_ENTRIES:
        raise LimitExceeded(f"a zip file with more than {_CENTRAL_ENTRIES} members")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except _ZIP_ERRORS:
        inner = place.inside()
        inner.deviations.note(Deviation.CONTAINER_CUT)
        yield from _open(_first_member(data, inner), inner)
        return
    yield from _worth_telling(_members(archive, len(data), place), place)


def _members(archive: zipfile.ZipFile, packed: int, place: _Place) -> Iterator[Payload | Refused]:
    infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
    if len(infos) > place.limits.members:
        yield Refused(
            place.member, LimitExceeded(f"{len(infos)} members; only the first {place.limits.members} are read")
        )
    for info in infos[: place.limits.members]:
        if info.filename.startswith("__MACOSX/"):
            continue
        inner = place.inside(info.filename)
        if info.flag_bits & 1:
            yield Refused(inner.member, NotAReport("an encrypted zip member", reason="encrypted"), place.carrier)
        elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
            yield Refused(inner.member, NotAReport("an unusual zip compression", reason="unsupported"), place.carrier)
        else:
            yield from _open(_member(archive, info, inner.meter(packed)), inner)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, meter: Meter) -> Iterator[bytes]:
    try:
        with archive.open(info) as stream:
            while out := stream.read(STEP):
                yield meter.passed(out)
    except _ZIP_ERRORS as error:
        yield from meter.damaged(error)


def _first_member(data: bytes, place: _Place) -> Iterator[bytes]:
    """The first member of a zip file whose directory is missing: cut off, or sent in text mode."""
    meter = place.meter(len(data))
    try:
        method, name_length, extra_length = struct.unpack_from("<8xH16xHH", data)
        inflater = zlib.decompressobj(wbits=-15)
        body = data[30 + name_length + extra_length :]
        if method == zipfile.ZIP_STORED:
            yield meter.passed(body.partition(b"PK\x07\x08")[0].partition(b"PK\x01\x02")[0])
            return
        while body and not inflater.eof:
            out = inflater.decompress(body, STEP)
            body = inflater.unconsumed_tail
            if not out:
                break
            yield meter.passed(out)
    except _ZIP_ERRORS as error:
        yield from meter.damaged(error)
        return
    if not meter.unpacked:
        yield from meter.damaged(EOFError("nothing whole in it"))


def _from_mail(data: bytes, place: _Place) -> Iterator[Payload | Refused]:
    text = data.lstrip(b"\r\n")
    try:
        message = read_message(text if b"\n" in text else text.replace(b"\r", b"\n"), place.limits.mail)
    except ParseError as error:
        yield Refused(place.member, error, place.carrier)
        return
    here = place if place.carrier is not None else replace(place, carrier=carrier_of(message))
    if is_failure_report(message):
        yield Payload(here.member, ReportKind.FAILURE, iter(()), here.deviations, here.carrier, message)
        return
    yield from _worth_telling(_parts(message, here), here)


def _parts(message: Part, place: _Place) -> Iterator[Payload | Refused]:
    number = 0
    for part in message.walk():
        if part.content_type.startswith("multipart/") and part.parts:
            continue
        content = part.content()
        place.budget.spend(len(content))
        if _form(content[:_PEEK]) in _PLAIN and _UUENCODED.search(content):
            yield from _files(uuencoded_files(content), place)
            continue
        if not _may_be_report(part, content):
            continue
        number += 1
        content = _from_xml_on(part, content)
        name = _filename(part) or f"part {number}"
        if number > place.limits.reports:
            yield Refused(place.member, LimitExceeded(f"more than {place.limits.reports} attachments"), place.carrier)
            return
        try:
            inner = place.inside(name)
        except ParseError as error:
            yield Refused(place.member, error, place.carrier)
            continue
        yield from _open(iter((content,)), inner)


def _may_be_report(part: Part, content: bytes) -> bool:
    """Whether a part is worth opening: all but text for people, and images and the like."""
    form = _form(content[:_PEEK])
    if form in _PACKED or part.content_type == "message/rfc822":
        return True
    if part.content_type.startswith(("image/", "audio/", "video/", "font/")):
        return False
    head = content[:_PEEK].replace(b"\0", b"").lower()
    if form is _Form.XML and part.content_type != "application/xml":
        return b"feedback" in head or b"<record" in head or b"report_metadata" in head
    if part.content_type.startswith("text/"):
        shown = b"<feedback>" in content or (form is _Form.JSON and b'"policies"' in content)
        return shown or form in (_Form.BASE64, _Form.ESCAPED)
    return True


def _from_xml_on(part: Part, content: bytes) -> bytes:
    """The report in a text that begins with words for people."""
    if not part.content_type.startswith("text/") or _form(content[:_PEEK]) not in _PLAIN:
        return content
    return content[max(content.find(b"<feedback>"), 0) :]


def _filename(part: Part) -> str:
    disposition = part.fields.first("Content-Disposition") or ""
    found = re.search(r"""filename\*?\s*=\s*("[^"]{1,300}"|[^;\s]{1,300})""", disposition, re.IGNORECASE)
    return (found[1].strip('"') if found else part.parameters.get("name", "")).replace("/", "_")


def _worth_telling(found: Iterator[Payload | Refused], place: _Place) -> Iterator[Payload | Refused]:
    """Leave out that a logo or a greeting is no report where something else is one; never leave out everything."""
    quiet: list[Refused] = []
    told = False
    for item in found:
        if isinstance(item, Refused) and item.error.reason in _QUIET:
            quiet.append(item)
        else:
            told = True
            yield item
    if not told:
        yield (
            quiet[0]
            if quiet
            else Refused(place.member, NotAReport("nothing in it is a report", reason="no-report"), place.carrier)
        )
