"""Cutting a TCP stream of syslog into messages (RFC 6587): by their counted octets, or by line ends.

A message that begins with a digit other than 0 is counted (`123 <34>1 ...`); any other ends with LF (or NUL, as some
senders have it). Both may follow each other in one stream. One that is longer than the limit is kept as its beginning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from collector.errors import ProtocolError
from collector.quarantine import KEPT_BYTES

__all__ = ["SyslogMessage", "SyslogSplitter"]

_COUNT = re.compile(rb"[1-9]\d{0,9} ")
_DIGITS = re.compile(rb"[1-9]\d{0,9}")
_END = re.compile(rb"[\n\x00]")


@dataclass(frozen=True, slots=True)
class SyslogMessage:
    """A message without its framing; `size` is more than `raw` holds if it was too long."""

    raw: bytes
    size: int


class SyslogSplitter:
    """One connection's incoming side."""

    def __init__(self, limit: int = 1 << 20, largest: int = 64 << 20) -> None:
        self._limit = limit
        self._largest = largest
        self._buffer = bytearray()
        self._passing = 0
        """Bytes of a counted message, too long, that are still to come."""
        self._overlong: SyslogMessage | None = None
        """The message that is too long, as far as it has come."""

    @property
    def is_inside(self) -> bool:
        """A message has begun and not ended."""
        return bool(self._buffer or self._overlong)

    def feed(self, data: bytes) -> list[SyslogMessage]:
        """The messages that `data` completes. Raises ProtocolError for a count beyond all sense."""
        self._buffer += data
        messages: list[SyslogMessage] = []
        at = 0
        while at < len(self._buffer) and (following := self._step(at, messages)) is not None:
            at = following
        del self._buffer[:at]
        return messages

    def rest(self) -> list[SyslogMessage]:
        """The stream is over: what is left is a message, as the last line of a sender that just closes."""
        if self._overlong is not None:
            return [self._overlong]
        raw = bytes(self._buffer)
        return [SyslogMessage(raw, len(raw))] if raw and not _COUNT.match(raw) else []

    def _step(self, at: int, messages: list[SyslogMessage]) -> int | None:
        """Take what begins at `at`; where the next thing begins, or None when more bytes are needed."""
        if self._overlong is not None:
            return self._pass_by(at, messages)
        if (count := _COUNT.match(self._buffer, at)) is not None:
            return self._counted(count.end(), int(count.group()), messages)
        return None if _DIGITS.fullmatch(self._buffer, at) else self._line(at, messages)

    def _counted(self, start: int, size: int, messages: list[SyslogMessage]) -> int | None:
        if size > self._largest:
            raise ProtocolError(f"a message of {size} bytes, at most {self._largest} are taken", reason="limit")
        if size > self._limit:
            self._overlong, self._passing = SyslogMessage(b"", size), size
            return start
        end = start + size
        if len(self._buffer) < end:
            return None
        messages.append(SyslogMessage(bytes(self._buffer[start:end]), size))
        return end

    def _line(self, at: int, messages: list[SyslogMessage]) -> int | None:
        found = _END.search(self._buffer, at)
        if found is None:
            if len(self._buffer) - at > self._limit:
                self._overlong, self._passing = SyslogMessage(b"", 0), 0
                return at
            return None
        if found.start() > at:
            raw = bytes(self._buffer[at : found.start()])
            messages.append(SyslogMessage(raw[: self._limit], len(raw)) if len(raw) > self._limit else _whole(raw))
        return found.end()

    def _pass_by(self, at: int, messages: list[SyslogMessage]) -> int:
        """Go on through a message that is too long."""
        seen = self._overlong or SyslogMessage(b"", 0)
        if self._passing:
            end = min(len(self._buffer), at + self._passing)
            self._passing -= end - at
            size, following, over = seen.size, end, not self._passing
        else:
            found = _END.search(self._buffer, at)
            end = found.start() if found else len(self._buffer)
            size, following, over = seen.size + end - at, found.end() if found else end, found is not None
        kept = seen.raw + bytes(self._buffer[at : min(end, at + KEPT_BYTES - len(seen.raw))])
        message = SyslogMessage(kept, size)
        self._overlong = None if over else message
        if over:
            messages.append(message)
        return following


def _whole(raw: bytes) -> SyslogMessage:
    return SyslogMessage(raw, len(raw))
