"""Reading a message from the wire, after DATA (RFC 5321 section 4.5.2) or BDAT (RFC 3030), within limits.

A line ends in CRLF and nothing else; only CRLF.CRLF ends the message. That is looked for in the buffer as a whole,
because looking at each line costs a third of a session's time. What passes a limit is read on and thrown away, so that
the client hears the refusal where it expects one; memory never holds more than the limits allow. A client that goes on
far beyond them is cut off.
"""

from __future__ import annotations

from dataclasses import dataclass

from mta.smtp.inbox import Inbox

__all__ = ["Overlong", "check_chunks", "read_body", "read_chunk"]

_END = b"\r\n.\r\n"
_EMPTY = b".\r\n"
_TOO_LONG = "500 5.5.2 Line too long (RFC 5321 section 4.5.3.1.6)"
_TOO_LARGE = "552 5.3.4 The message is larger than this system takes"
_LEAST_PATIENCE = 64 * 1024
_PATIENCE = 4
"""Times the size limit that is read in all before the client is cut off."""


@dataclass(frozen=True, slots=True)
class Overlong:
    """The message passed a limit; `reply` says which. `cut_off`: the client has not come to an end."""

    reply: str
    cut_off: bool = False


async def read_body(inbox: Inbox, *, max_line: int, max_bytes: int) -> bytes | Overlong:
    """The message. `max_line` counts CRLF and the dot that may be stuffed; `max_bytes` counts those dots, too."""
    buffer = inbox.buffer
    while len(buffer) < len(_EMPTY):
        await inbox.more()
    if buffer.startswith(_EMPTY):
        del buffer[: len(_EMPTY)]
        return b""
    seen = 0
    while (end := buffer.find(_END, seen)) < 0:
        if len(buffer) > max_bytes + len(_END):
            return await _throw_away(inbox, max_line, max_bytes)
        seen = max(0, len(buffer) - len(_END) + 1)
        await inbox.more()
    size = end + 2
    raw = bytes(buffer[:size])
    del buffer[: end + len(_END)]
    if size > max_bytes:
        return Overlong(_refusal(raw[:max_bytes], max_line))
    return Overlong(_TOO_LONG) if _has_long_line(raw, max_line) else _unstuffed(raw)


async def _throw_away(inbox: Inbox, max_line: int, max_bytes: int) -> Overlong:
    buffer = inbox.buffer
    refusal = _refusal(bytes(buffer[:max_bytes]), max_line)
    read = len(buffer)
    while (end := buffer.find(_END)) < 0:
        if read > _PATIENCE * max_bytes:
            return Overlong(refusal, cut_off=True)
        kept = len(_END) - 1
        del buffer[:-kept]
        await inbox.more()
        read += len(buffer) - kept
    del buffer[: end + len(_END)]
    return Overlong(refusal)


async def read_chunk(inbox: Inbox, size: int, room: int) -> bytes | Overlong:
    """The `size` bytes that follow BDAT. More than `room` are read and thrown away, but not for ever."""
    if size > room:
        return await _pass_over(inbox, size, _PATIENCE * max(room, _LEAST_PATIENCE))
    buffer = inbox.buffer
    while len(buffer) < size:
        await inbox.more()
    chunk = bytes(buffer[:size])
    del buffer[:size]
    return chunk


async def _pass_over(inbox: Inbox, size: int, patience: int) -> Overlong:
    buffer, left = inbox.buffer, min(size, patience)
    while left:
        if not buffer:
            await inbox.more()
        passed = min(left, len(buffer))
        del buffer[:passed]
        left -= passed
    return Overlong(_TOO_LARGE, cut_off=size > patience)


def check_chunks(content: bytes, max_line: int) -> Overlong | None:
    """What is wrong with a message that came in chunks, if anything."""
    return Overlong(_TOO_LONG) if _has_long_line(content, max_line) else None


def _refusal(beginning: bytes, max_line: int) -> str:
    return _TOO_LONG if _has_long_line(beginning, max_line) else _TOO_LARGE


def _has_long_line(raw: bytes, max_line: int) -> bool:
    return len(raw) > max_line and max(map(len, raw.split(b"\r\n"))) + 2 > max_line


def _unstuffed(raw: bytes) -> bytes:
    whole = raw[1:] if raw.startswith(b".") else raw
    return whole.replace(b"\r\n.", b"\r\n") if b"\r\n." in whole else whole
