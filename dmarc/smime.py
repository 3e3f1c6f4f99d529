"""What an opaque S/MIME signature is about: the content inside CMS signed data (RFC 5652 section 5, RFC 8551).

The signature is not checked: whether a mail is who it says is DMARC's question. Encrypted mail is named, not opened.
"""

from __future__ import annotations

from dmarc.errors import DamagedReport, NotAReport
from mta.events.errors import LimitExceeded

__all__ = ["is_cms", "signed_content"]

_SIGNED = bytes.fromhex("06092a864886f70d010702")
_ENCRYPTED = (
    *(bytes.fromhex(f"06092a864886f70d0107{last}") for last in ("03", "06")),
    bytes.fromhex("060b2a864886f70d0109100117"),
)
"""Enveloped, encrypted and authenticated-enveloped data."""
_OCTETS, _OCTETS_BUILT, _BUILT = 0x04, 0x24, 0x20
_CONTENT = [0x30, 0xA0, 0x30, 0x30, 0xA0]
"""Where the content stands: ContentInfo, its content, SignedData, EncapsulatedContentInfo, eContent."""
_DEEPEST = 16
_MOST_VALUES = 200_000


def is_cms(first: bytes) -> bool:
    """Whether something begins like signed or encrypted data."""
    return first[:1] == b"\x30" and any(oid in first[:24] for oid in (_SIGNED, *_ENCRYPTED))


def signed_content(data: bytes) -> bytes:
    """The signed content, a part of a mail, as far as it goes.

    NotAReport where it is encrypted, DamagedReport where nothing of it is left, LimitExceeded for what is hostile.
    """
    if any(oid in data[:24] for oid in _ENCRYPTED):
        raise NotAReport("an encrypted mail", reason="encrypted")
    try:
        content = b"".join(_pieces(data))
    except IndexError:
        content = b""
    if not content:
        raise DamagedReport("damaged S/MIME: nothing of the signed content is left", reason="damaged")
    return content


def _pieces(data: bytes) -> list[bytes]:
    """The octet strings of the content, in one pass over the values of BER (X.690 section 8)."""
    pieces: list[bytes] = []
    path: list[int] = []
    ends: list[int | None] = []
    """Of each value on the path; None where an end mark closes it."""
    at = values = 0
    while at < len(data):
        if ends and (at >= ends[-1] if ends[-1] is not None else data.startswith(b"\0\0", at)):
            at += 0 if ends.pop() is not None else 2
            if path.pop() == _CONTENT[-1] and pieces:
                break
            continue
        values += 1
        tag, start, end = _header(data, at)
        if tag == _OCTETS and path[:5] == _CONTENT and set(path[5:]) <= {_OCTETS_BUILT}:
            pieces.append(data[start:end])
        if tag & _BUILT:
            path.append(tag)
            ends.append(end)
        if len(path) > _DEEPEST or values > _MOST_VALUES:
            raise LimitExceeded("S/MIME of too many values")
        at = start if tag & _BUILT or end is None else end
    return pieces


def _header(data: bytes, at: int) -> tuple[int, int, int | None]:
    """Tag, where the content begins, and where it ends: None where that is left to an end mark."""
    first = data[at + 1]
    if first == 0x80:
        return data[at], at + 2, None
    start = at + 2 + (first & 0x7F if first > 0x80 else 0)
    length = int.from_bytes(data[at + 2 : start], "big") if first > 0x80 else first
    return data[at], start, start + length
