"""Cutting a broken report into its records, so that one broken record does not take its neighbours along."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["split_records"]

_START = re.compile(rb"<(?:[A-Za-z_][\w.-]{0,40}:)?record(?=[\s>])", re.IGNORECASE)
_EDGE = re.compile(
    rb"<(?:(/)(?:[A-Za-z_][\w.-]{0,40}:)?record\s{0,20}>|(?:[A-Za-z_][\w.-]{0,40}:)?record(?=[\s>]))", re.IGNORECASE
)
_EDGE_LENGTH = 80
"""No edge is longer: what may be the beginning of one is kept when the window moves."""


def split_records(rest: bytes, stream: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """What stands before the first record, then each record with its tags; b"" for one that does not end.

    `rest` and what follows it in `stream` are the text. No more than about `limit` bytes are held: a record that is
    longer counts as one that does not end.
    """
    window = _Window(rest, stream, limit)
    yield window.until(_START)
    while window.at_match(_START):
        yield window.record()


class _Window:
    """A view of the text that moves forward only."""

    def __init__(self, data: bytes, stream: Iterator[bytes], limit: int) -> None:
        self._data = data
        self._stream = stream
        self._limit = limit

    def until(self, pattern: re.Pattern[bytes]) -> bytes:
        """Skip to the next match; what was skipped, its beginning only where it is over the limit."""
        skipped = b""
        while not (found := pattern.search(self._data)):
            keep = min(len(self._data), _EDGE_LENGTH)
            cut = len(self._data) - keep
            skipped = (skipped + self._data[:cut])[: self._limit]
            self._data = self._data[cut:]
            if not self._more():
                skipped, self._data = skipped + self._data, b""
                return skipped
        skipped += self._data[: found.start()]
        self._data = self._data[found.start() :]
        return skipped[: self._limit]

    def at_match(self, pattern: re.Pattern[bytes]) -> bool:
        """Whether the text goes on with `pattern`."""
        return pattern.match(self._data) is not None

    def record(self) -> bytes:
        """The record that begins here; b"" where another one begins, or the text ends, before it does."""
        searched = 1
        while not (found := _EDGE.search(self._data, searched)):
            searched = max(1, len(self._data) - _EDGE_LENGTH)
            if len(self._data) > self._limit or not self._more():
                self._data = self._data[searched:]
                self.until(_START)
                return b""
        whole = found[1] is not None
        piece = self._data[: found.end()] if whole else b""
        self._data = self._data[found.end() if whole else found.start() :]
        self.until(_START)
        return piece

    def _more(self) -> bool:
        chunk = next(self._stream, b"")
        self._data += chunk
        return bool(chunk)
