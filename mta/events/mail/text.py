"""The words of a mail part, whatever charset it claims and whether it is written as text or as HTML.

Nothing here fails: a charset that does not exist, or that the bytes do not obey, yields what can be read.
"""

from __future__ import annotations

import codecs
import html
import re
from email.errors import HeaderParseError
from email.header import decode_header
from functools import lru_cache

from mta.events.mail.message import Part

__all__ = ["decode_text", "decode_words", "part_text"]

_TEXT_LIMIT = 64 * 1024
"""Bytes of one part that are decoded: what a report says, it says at its beginning."""
_FAMILIES = ("utf", "iso", "cp", "koi8", "gb", "big5", "euc", "shift_jis", "ascii", "mac", "tis", "hz", "johab", "ptcp")
_TAG = re.compile(r"<[^<>]*+>?")
_BREAKS = re.compile(r"\s*+(?:br|p|div|tr|li|ul|ol|h[1-6]|table|pre|hr|blockquote|dd|dt)\b", re.IGNORECASE)
_UNSEEN = ("style", "script", "head")
_ENCODED = "=?"


def part_text(part: Part) -> str:
    """The text of one part, with LF line ends; HTML without its tags."""
    content = part.content(4 * _TEXT_LIMIT)[:_TEXT_LIMIT]
    text = decode_text(content, part.parameters.get("charset", ""))
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _plain(text) if part.content_type == "text/html" else text


def decode_text(data: bytes, charset: str = "") -> str:
    """Text from bytes: UTF-8 where they are, else the charset that is claimed, else Latin-1."""
    known = _codec(charset.strip().lower()[:40])
    if known is not None and known.startswith(("iso2022", "utf-16", "hz")):
        return data.decode(known, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode(known or "latin-1", "replace")


def decode_words(value: str) -> str:
    """A header value with its encoded words (RFC 2047) read."""
    if _ENCODED not in value:
        return value
    try:
        pieces = decode_header(value[:2_000])
    except (ValueError, LookupError, HeaderParseError):
        return value
    return "".join(piece if isinstance(piece, str) else decode_text(piece, charset or "") for piece, charset in pieces)


@lru_cache(maxsize=256)
def _codec(charset: str) -> str | None:
    """The codec of a charset; None for what is none, and for codecs (punycode, zlib) that no mail may ask for."""
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        return None
    return name if name.startswith(_FAMILIES) and name != "utf-7" else None


def _plain(markup: str) -> str:
    for name in _UNSEEN:
        markup = _without(markup, name)
    lowered = markup[:4_000].lower()
    if "<pre" not in lowered and any(tag in lowered for tag in ("<br", "<p>", "<p ", "<div", "<td")):
        markup = " ".join(markup.split("\n"))
    return html.unescape(_TAG.sub(_tag_text, markup)).replace("\n ", "\n")


def _tag_text(tag: re.Match[str]) -> str:
    """A line end where the tag makes one; `<user@example.com>` that somebody forgot to escape stays."""
    inner = tag[0].strip("<>/ ")
    if "@" in inner and "=" not in inner and " " not in inner:
        return f"<{inner}>"
    return "\n" if _BREAKS.match(inner) else ""


def _without(markup: str, name: str) -> str:
    """Without the elements of that name; one that is never closed goes on to the end of nothing."""
    lowered = markup.lower()
    kept: list[str] = []
    at = 0
    while (start := lowered.find(f"<{name}", at)) >= 0 and (end := lowered.find(f"</{name}", start)) >= 0:
        kept.append(markup[at:start])
        at = end
    return "".join(kept) + markup[at:] if kept else markup
