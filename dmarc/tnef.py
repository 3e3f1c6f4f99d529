"""Attachments in `winmail.dat`, Outlook's own wrapping (MS-OXTNEF): a list of attributes with a length each.

A mail server that forwards a report in Outlook's format sends this in place of the attachment.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["SIGNATURE", "tnef_attachments"]

SIGNATURE = b"\x78\x9f\x3e\x22"
_ATTACHMENT = 2
_RENDERING, _TITLE, _DATA = 0x9002, 0x8010, 0x800F
"""attAttachRendData begins each attachment; its name and content follow."""


def tnef_attachments(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of each attachment that is whole; what is cut off ends the list."""
    name, content = "", b""
    at = 6  # signature and key
    while at + 9 <= len(data):
        level, attribute, length = struct.unpack_from("<BHxxI", data, at)
        value = data[at + 9 : at + 9 + length]
        at += 9 + length + 2  # a checksum follows
        if len(value) < length:
            break
        if level != _ATTACHMENT:
            continue
        if attribute == _RENDERING:
            if content:
                yield name, content
            name, content = "", b""
        elif attribute == _TITLE:
            name = value.split(b"\0", 1)[0].decode("utf-8", "replace")
        elif attribute == _DATA:
            content = value
    if content:
        yield name, content
