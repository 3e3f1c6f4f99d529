"""Files in the text of a mail, as they were sent before MIME: `begin 644 name`, lines, `end` (POSIX uuencode).

Gateways of some age still write them. Linear, and never fails: a damaged line gives what could be read of it.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

__all__ = ["uuencoded_files"]

_MOST_LINES = 250_000
"""Of one file; of 11 MB, since a line holds 45 bytes. A line may claim more than it has, so the text bounds nothing."""
_BEGIN = re.compile(rb"^begin(?:-base64)? 0?[0-7]{3} ([^\r\n]{1,200})\r?\n", re.MULTILINE)


def uuencoded_files(text: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file in a text."""
    at = 0
    while found := _BEGIN.search(text, at):
        lines: list[bytes] = []
        at = found.end()
        while at < len(text):
            end = text.find(b"\n", at)
            line = text[at:] if end < 0 else text[at:end]
            at = len(text) if end < 0 else end + 1
            line = line.rstrip(b"\r")
            if line in (b"end", b"====", b"") or len(lines) >= _MOST_LINES:
                break
            lines.append(line)
        decode = _base64 if found[0].startswith(b"begin-base64") else _decoded
        yield found[1].decode("utf-8", "replace").strip(), b"".join(map(decode, lines))


def _base64(line: bytes) -> bytes:
    try:
        return binascii.a2b_base64(line)
    except binascii.Error:
        return b""


def _decoded(line: bytes) -> bytes:
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:  # some encoders write more than the length says
        length = (((line[0] - 32) & 63) * 4 + 5) // 3
        try:
            return binascii.a2b_uu(line[:length])
        except binascii.Error:
            return b""
