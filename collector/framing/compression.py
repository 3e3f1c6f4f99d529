"""From stored bytes to decoded bytes: plain, zstd, gzip, bzip2 or xz, told apart by their first bytes, never by a name.

A decoder is fed raw bytes as they come and read in portions of about `PORTION` decoded bytes, so that a compression
bomb costs time and never memory. zstd is fed to the library block by block (RFC 8878 section 3.1.1.2), because that
library cannot be told how much to give: a block decodes to 128 KiB at most, and a half-written one, as at the end of an
open segment, waits for its other half. Damage is reported after everything that stands before it.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Protocol

import zstandard

from mta.events.errors import ParseError

__all__ = ["MAX_WINDOW_BYTES", "PORTION", "Decoder", "Plain", "Stream", "Zstd", "sniff"]

PORTION = 1 << 20
"""Decoded bytes that one read gives at most, about."""

MAX_WINDOW_BYTES = 8 << 20
"""The window that RFC 8878 section 3.1.1.1.2 recommends every decoder to support; higher levels than 19 need more."""

_MAGIC = b"\x28\xb5\x2f\xfd"
_XZ_MEMORY = 80 << 20  # what `xz -9` needs
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_MAX_BLOCK = 128 << 10
_RAW, _RLE, _COMPRESSED = 0, 1, 2


class Decoder(Protocol):
    """Incremental: `feed` raw bytes, `read` decoded ones until it gives b"", then feed again."""

    @property
    def unread(self) -> int:
        """Raw bytes fed and not decoded: a piece of something whose other half has not come."""

    @property
    def inside(self) -> bool:
        """The raw bytes so far end inside a unit (a zstd frame, a gzip member) that says where it ends."""

    def feed(self, raw: bytes) -> None:
        """Take in the next raw bytes."""

    def read(self) -> bytes:
        """Decoded bytes, or b"" when more must be fed. Raises ParseError (reason damaged) for ever after damage."""


def sniff(head: bytes, *, complete: bool, max_window: int = MAX_WINDOW_BYTES) -> Decoder | None:
    """The decoder for a stream that begins with `head`; None while that is too short to tell.

    `complete` says that no more will come.
    """
    if head.startswith(_MAGIC) or int.from_bytes(head[:4], "little") in _SKIPPABLE:
        return Zstd(max_window=max_window)
    for magic, engine in _ENGINES.items():
        if head.startswith(magic):
            return Stream(engine)
    unsure = any(magic.startswith(head) for magic in (_MAGIC, *_ENGINES))
    return None if unsure and not complete else Plain()


class Plain:
    """Bytes as they are."""

    inside = False

    def __init__(self) -> None:
        self._raw = b""

    @property
    def unread(self) -> int:
        """Raw bytes fed and not decoded."""
        return len(self._raw)

    def feed(self, raw: bytes) -> None:
        """Take in the next raw bytes."""
        self._raw += raw

    def read(self) -> bytes:
        """About a portion of decoded bytes."""
        portion, self._raw = self._raw[:PORTION], self._raw[PORTION:]
        return portion


class _Engine(Protocol):
    """A decompressor of the standard library for one stream."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Gzip:
    """zlib's decompressor with the manners of the other two: it keeps the input that it had no room to decode."""

    def __init__(self) -> None:
        self._engine = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._engine.eof

    @property
    def unused_data(self) -> bytes:
        return self._engine.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return self._engine.decompress(self._engine.unconsumed_tail + data, max_length)


_ENGINES: dict[bytes, Callable[[], _Engine]] = {
    b"\x1f\x8b": _Gzip,
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY),
}


class Stream:
    """Any number of gzip members, bzip2 or xz streams in a row; zero bytes between and behind them are padding."""

    def __init__(self, engine: Callable[[], _Engine]) -> None:
        self._start = engine
        self._engine: _Engine | None = None
        self._raw = b""
        self._mute = 0
        """Bytes that the library has taken in since it last gave anything."""
        self._damage: str | None = None

    @property
    def unread(self) -> int:
        """Raw bytes fed from which nothing has come yet."""
        return len(self._raw) + self._mute

    @property
    def inside(self) -> bool:
        """A stream has begun and not ended."""
        return self._engine is not None

    def feed(self, raw: bytes) -> None:
        """Take in the next raw bytes."""
        self._raw += raw

    def read(self) -> bytes:
        """About a portion of decoded bytes."""
        portion = bytearray()
        try:
            while not self._damage and len(portion) < PORTION and self._step(portion):
                pass
        except (zlib.error, lzma.LZMAError, OSError) as error:
            self._damage = f"damaged compressed stream: {error}"
        if self._damage and not portion:
            raise ParseError(self._damage, reason="damaged")
        return bytes(portion)

    def _step(self, portion: bytearray) -> bool:
        """Decode what there is room for; False when that needs more input."""
        if self._engine is None:
            self._raw = self._raw.lstrip(b"\x00")
            if not self._raw:
                return False
            self._engine = self._start()
        raw, self._raw = self._raw, b""
        data = self._engine.decompress(raw, PORTION - len(portion))
        portion += data
        self._mute = 0 if data or self._engine.eof else self._mute + len(raw)
        if self._engine.eof:
            self._raw, self._engine = self._engine.unused_data, None
            return True
        return bool(data)


class Zstd:
    """Any number of zstd frames in a row (RFC 8878), skippable ones included."""

    def __init__(self, *, max_window: int = MAX_WINDOW_BYTES) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=max_window)
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._checksum = False
        self._raw = bytearray()
        self._skip = 0
        self._damage: str | None = None

    @property
    def unread(self) -> int:
        """Raw bytes fed and not decoded."""
        return len(self._raw)

    @property
    def inside(self) -> bool:
        """A frame has begun and not ended."""
        return self._frame is not None or self._skip > 0

    def feed(self, raw: bytes) -> None:
        """Take in the next raw bytes."""
        self._raw += raw

    def read(self) -> bytes:
        """About a portion of decoded bytes."""
        if self._damage:
            raise ParseError(self._damage, reason="damaged")
        portion = bytearray()
        try:
            while len(portion) < PORTION and (data := self._step()) is not None:
                portion += data
        except (zstandard.ZstdError, ParseError) as error:
            self._damage = f"damaged zstd stream: {error}"
            if not portion:
                raise ParseError(self._damage, reason="damaged") from error
        return bytes(portion)

    def _step(self) -> bytes | None:
        """Advance by one unit: frame header, run of blocks or skipped bytes. None when it has not all come."""
        if self._skip:
            skipped = min(self._skip, len(self._raw))
            self._take(skipped)
            self._skip -= skipped
            return b"" if skipped else None
        return self._start_frame() if self._frame is None else self._blocks(self._frame)

    def _start_frame(self) -> bytes | None:
        if len(self._raw) < 5:
            return None
        if int.from_bytes(self._raw[:4], "little") in _SKIPPABLE:
            if len(self._raw) < 8:
                return None
            self._skip = int.from_bytes(self._take(8)[4:], "little")
            return b""
        if self._raw[:4] != _MAGIC:
            raise ParseError("no zstd frame where one should begin", reason="damaged")
        size = _header_size(self._raw[4])
        if len(self._raw) < size:
            return None
        self._checksum = bool(self._raw[4] & 0x04)
        self._frame = self._decompressor.decompressobj()
        return self._frame.decompress(self._take(size))

    def _blocks(self, frame: zstandard.ZstdDecompressionObj) -> bytes | None:
        """Decode as many whole blocks as make a portion, in one call of the library."""
        end = decoded = 0
        last = False
        while not last and decoded < PORTION and (block := _block(self._raw, end)) is not None:
            size, last = block
            if last:
                size += 4 if self._checksum else 0
            if end + size > len(self._raw):
                last = False
                break
            end += size
            decoded += _MAX_BLOCK
        if not end:
            return None
        data = frame.decompress(self._take(end))
        if last:
            self._frame = None
        return data

    def _take(self, size: int) -> bytes:
        taken = bytes(self._raw[:size])
        del self._raw[:size]
        return taken


def _header_size(descriptor: int) -> int:
    """Bytes of magic number and frame header (RFC 8878 section 3.1.1.1)."""
    single = bool(descriptor & 0x20)
    dictionary = (0, 1, 2, 4)[descriptor & 0x03]
    content = (int(single), 2, 4, 8)[descriptor >> 6]
    return 4 + 1 + (not single) + dictionary + content


def _block(raw: bytearray, start: int) -> tuple[int, bool] | None:
    """Size of the block at `start` with its header, and whether it is the frame's last; None if that cannot be seen."""
    if start + 3 > len(raw):
        return None
    header = int.from_bytes(raw[start : start + 3], "little")
    kind, size = (header >> 1) & 0x03, header >> 3
    if kind > _COMPRESSED or size > _MAX_BLOCK:
        raise ParseError("a block of an impossible kind or size", reason="damaged")
    return 3 + (1 if kind == _RLE else size), bool(header & 1)
