"""Reading a message from the wire after DATA (RFC 5321 section 4.5.2): whole lines, dots unstuffed, within limits.

A line ends in CRLF and nothing else; only CRLF.CRLF ends the message. What passes a limit is read on and thrown away,
so that the client hears the refusal where it expects one; memory never holds more than the limits allow. A client that
goes on far beyond them is cut off.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

__all__ = ["Overlong", "read_body"]

_TOO_LONG = "500 5.5.2 Line too long (RFC 5321 section 4.5.3.1.6)"
_TOO_LARGE = "552 5.3.4 The message is larger than this system takes"
_PATIENCE = 4
"""Times the size limit that is read in all before the client is cut off."""


@dataclass(frozen=True, slots=True)
class Overlong:
    """The message passed a limit; `reply` says which. `cut_off`: the client has not come to an end."""

    reply: str
    cut_off: bool = False


async def read_body(reader: asyncio.StreamReader, *, max_line: int, max_bytes: int) -> bytes | Overlong:
    """The message. `max_line` counts CRLF and the dot that may be stuffed; the reader's own limit must be no larger.

    Raises asyncio.IncompleteReadError when the client is gone.
    """
    lines: list[bytes] = []
    size = 0
    continued = False
    refusal: str | None = None
    while size <= _PATIENCE * max_bytes:
        try:
            line = await reader.readuntil(b"\r\n")
        except asyncio.LimitOverrunError as error:
            size += len(await reader.readexactly(error.consumed or 1))
            refusal, continued = refusal or _TOO_LONG, True
            lines.clear()
            continue
        if line == b".\r\n" and not continued:
            return Overlong(refusal) if refusal else b"".join(lines)
        continued = False
        size += len(line)
        if len(line) > max_line or size > max_bytes:
            refusal = refusal or (_TOO_LONG if len(line) > max_line else _TOO_LARGE)
            lines.clear()
        if refusal is None:
            lines.append(line[1:] if line.startswith(b".") else line)
    return Overlong(refusal or _TOO_LARGE, cut_off=True)
