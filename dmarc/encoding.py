"""From the bytes of a report to UTF-8, as the encodings of real reports demand it. Streams; never fails.

A reader downstream is told "UTF-8" whatever the XML declaration says, so that only this module decides about encodings.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from itertools import chain

from dmarc.deviation import Deviation, Deviations

__all__ = ["as_utf8", "clean_utf8"]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED = re.compile(rb"""\A\s*<\?xml[^>]{0,100}?\bencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_ACCEPTED = re.compile(
    r"(?:iso-?8859-?\d{1,2}|latin-?\d|windows-?\d{3,4}|cp\d{3,4}|koi8-[ru]|gb2312|gbk|gb18030|big5|shift_jis|"
    r"euc-(?:jp|kr)|iso-2022-jp)",
    re.IGNORECASE,
)
_NO_XML_CHARACTER = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|\xef\xbf[\xbe\xbf]")
_REFERENCE = re.compile(rb"&#(?:(\d{1,7})|x([0-9A-Fa-f]{1,6}));")
_BARE_AMPERSAND = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9A-Fa-f]{1,6});)")
_BARE_LESS_THAN = re.compile(rb"<(?![A-Za-z_/!?])")


def as_utf8(chunks: Iterable[bytes], odd: Deviations) -> Iterator[bytes]:
    """The same text in UTF-8, without a byte order mark and without blanks before it. Bad UTF-8 passes unchanged."""
    stream = iter(chunks)
    first = next(stream, b"")
    while len(first) < 256 and (more := next(stream, None)) is not None:
        first += more
    name, skip = _encoding(first, odd)
    rest = chain((first[skip:],), stream)
    return _without_leading_blanks(rest if name == "utf-8" else _transcoded(rest, name), odd)


def clean_utf8(data: bytes) -> bytes:
    """Text that an XML reader takes: bytes that are no characters become U+FFFD, bare `&` and `<` are escaped."""
    text = data.decode("utf-8", "replace").encode("utf-8")
    text = _NO_XML_CHARACTER.sub("\N{REPLACEMENT CHARACTER}".encode(), text)
    text = _REFERENCE.sub(_character, text)
    return _BARE_LESS_THAN.sub(b"&lt;", _BARE_AMPERSAND.sub(b"&amp;", text))


def _character(found: re.Match[bytes]) -> bytes:
    """A reference to a character, which becomes U+FFFD where there is no such character in XML (section 2.2)."""
    code = int(found[1]) if found[1] else int(found[2], 16)
    legal = code in (9, 10, 13) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or 0x10000 <= code <= 0x10FFFF
    return found[0] if legal else "\N{REPLACEMENT CHARACTER}".encode()


def _encoding(first: bytes, odd: Deviations) -> tuple[str, int]:
    for mark, name in _MARKS:
        if first.startswith(mark):
            odd.note(Deviation.BYTE_ORDER_MARK)
            return name, len(mark)
    head = first[:4]
    if head[1:2] == b"\0" and head[:1] != b"\0":
        return "utf-16-le", 0
    if head[:1] == b"\0" and head[1:2] != b"\0":
        return "utf-16-be", 0
    found = _DECLARED.match(first)
    declared = found[1].decode("ascii").lower() if found else "utf-8"
    if _ACCEPTED.fullmatch(declared):
        return declared, 0
    return "utf-8", 0


def _transcoded(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    try:
        decoder = codecs.getincrementaldecoder(name)("replace")
    except LookupError:  # iso-8859-99
        decoder = codecs.getincrementaldecoder("latin-1")("replace")
    for chunk in chunks:
        yield decoder.decode(chunk).encode("utf-8", "replace")
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def _without_leading_blanks(chunks: Iterable[bytes], odd: Deviations) -> Iterator[bytes]:
    stream = iter(chunks)
    for chunk in stream:
        stripped = chunk.lstrip(b" \t\r\n\0")
        if stripped:
            if len(stripped) < len(chunk):
                odd.note(Deviation.BLANK_BEFORE_XML)
            yield stripped
            yield from stream
