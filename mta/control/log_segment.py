"""One segment of the log, in KumoMTA's naming and form.

A segment is one zstd frame (or plain lines), named after its UTC start time. What readers see ends at a line: lines are
encoded in blocks that end at one. A segment that will not grow loses its write permission bits; that is KumoMTA's mark.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, Protocol

import orjson
import zstandard

from mta.queue.journal import sync_folder

__all__ = ["Leftovers", "LogSegment", "find_leftovers", "segment_name"]

_BLOCK_BYTES = 64 * 1024
"""Lines that are flushed together; below zstd's block size, so that a torn block never shows half a line."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def segment_name(instant: int) -> str:
    """`20250912-110801.440526`: the UTC start time; names sort in the order of time."""
    return (_EPOCH + timedelta(microseconds=instant)).strftime("%Y%m%d-%H%M%S.%f")


class _Encoder(Protocol):
    def block(self, data: bytes) -> bytes: ...
    def end(self) -> bytes: ...


class _Zstd:
    def __init__(self) -> None:
        self._stream = zstandard.ZstdCompressor().compressobj()

    def block(self, data: bytes) -> bytes:
        return self._stream.compress(data) + self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def end(self) -> bytes:
        return self._stream.flush()


class _Plain:
    def block(self, data: bytes) -> bytes:
        return data

    def end(self) -> bytes:
        return b""


class LogSegment:
    """One file of the log while it is written. All methods block; a failed write may be repeated (`push`)."""

    def __init__(self, folder: Path, started: int, form: Literal["zstd", "plain"]) -> None:
        self.started = started
        self.size = 0
        self._encoder: _Encoder = _Zstd() if form == "zstd" else _Plain()
        self._unwritten = b""
        self._ended = False
        self.path, self._fd = _create(folder, started)
        sync_folder(folder)

    def write(self, lines: list[bytes]) -> None:
        """Encode lines, in blocks that end at a line; `push` writes them."""
        block: list[bytes] = []
        room = _BLOCK_BYTES
        for line in lines:
            if block and len(line) >= room:
                self._encode(block)
                block, room = [], _BLOCK_BYTES
            block.append(line)
            room -= len(line) + 1
        if block:
            self._encode(block)

    def _encode(self, lines: list[bytes]) -> None:
        data = b"\n".join(lines) + b"\n"
        self.size += len(data)
        self._unwritten += self._encoder.block(data)

    def push(self) -> None:
        """Write and make durable what is encoded. OSError keeps the rest for the next call."""
        while self._unwritten:
            self._unwritten = self._unwritten[os.write(self._fd, self._unwritten) :]
        os.fdatasync(self._fd)

    def seal(self) -> None:
        """End the frame and make the whole segment durable."""
        if not self._ended:
            self._unwritten += self._encoder.end()
            self._ended = True
        self.push()
        os.close(self._fd)

    def mark_done(self) -> None:
        """Tell readers that the segment will not grow."""
        _mark_done(self.path)


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Segments that a killed worker left open, and the number of the last record that is whole in them (0 if none)."""

    last_seq: int
    paths: tuple[Path, ...]

    def mark_done(self) -> None:
        """Tell readers that they will not grow. Only after `last_seq` has been noted in the journal."""
        for path in self.paths:
            _mark_done(path)


def find_leftovers(folder: Path) -> Leftovers:
    """Look for open segments. Half a line at the end of a plain one is cut off: it will be written anew, whole."""
    paths = sorted(path for path in folder.glob("[0-9]*") if path.is_file() and path.stat().st_mode & stat.S_IWUSR)
    return Leftovers(max((_last_seq(path) for path in paths), default=0), tuple(paths))


def _last_seq(path: Path) -> int:
    lines: deque[bytes] = deque(maxlen=64)
    whole = 0
    for line in _whole_lines(path):
        lines.append(line)
        whole += len(line) + 1
    if not _is_zstd(path) and whole < path.stat().st_size:
        os.truncate(path, whole)
    return next((seq for line in reversed(lines) if (seq := _seq_of(line)) is not None), 0)


def _seq_of(line: bytes) -> int | None:
    try:
        return int(orjson.loads(line)["meta"]["mtascope_seq"])
    except (ValueError, KeyError, TypeError):
        return None


def _whole_lines(path: Path) -> Iterator[bytes]:
    rest = b""
    for piece in _decoded(path):
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines


def _decoded(path: Path) -> Iterator[bytes]:
    """The text of a segment as far as it can be read: the frame of a killed worker has no end."""
    stream = zstandard.ZstdDecompressor().decompressobj() if _is_zstd(path) else None
    with path.open("rb") as file:
        while piece := file.read(_BLOCK_BYTES):
            try:
                yield stream.decompress(piece) if stream else piece
            except zstandard.ZstdError:
                return


def _is_zstd(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in {b"\x28\xb5\x2f\xfd", b""}


def _mark_done(path: Path) -> None:
    path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o222)


def _create(folder: Path, started: int) -> tuple[Path, int]:
    while True:
        path = folder / segment_name(started)
        try:
            return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        except FileExistsError:
            started += 1
