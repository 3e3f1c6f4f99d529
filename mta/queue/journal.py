"""The spool's journal: segments that are only ever appended to, and made durable in groups.

Group commit that flushes when idle: entries appended while an fdatasync runs are written together and share the
next one. There is no timer, so a lone message waits for one fdatasync and a busy server for at most two. Writing
happens on one thread of its own; everything else on the event loop.

An entry is *applied* (its callback runs) when it is durable, in the order of appending. If the disk is full the
segment is cut back to its last durable byte and the entries of that group are refused (`SpoolFull`): nothing
half-written stays. Any other error of the disk ends the journal (`failed`), because after a failed fsync nobody
knows what the file holds; a restart reads what is really there.
"""

from __future__ import annotations

import asyncio
import errno
import mmap
import os
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mta.errors import SpoolDamaged, SpoolError, SpoolFull
from mta.queue.frame import (
    FRAME_BYTES,
    HEADER_BYTES,
    Damage,
    Entry,
    SegmentHeader,
    frame,
    head_range,
    pack,
    scan,
    unpack,
)
from mta.queue.message import Place

__all__ = ["Journal", "Replayed"]

_SUFFIX = ".journal"
_HEAD_BYTES = 2048
"""What is read to find an entry's head: enough for nearly all."""
_FORGET_BYTES = 4 * 1024 * 1024
"""How much of a segment is in memory while it is read back."""
_NO_WAIT = getattr(os, "RWF_NOWAIT", 0)
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Replayed:
    """An entry read back, without its body, and where it stands."""

    entry: Entry
    place: Place


@dataclass(slots=True)
class _Pending:
    payload: bytes
    applied: Callable[[Place], None]
    done: asyncio.Future[Place]


@dataclass(slots=True)
class _Segment:
    number: int
    fd: int
    size: int
    salt: int


class Journal:
    """The segments of one folder. `replay` first and to its end, then `start`, then `append`; `close` at the end.

    `sync` makes what was written to a file descriptor durable. `on_sync` is told how many seconds that took.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int,
        sync: Callable[[int], None] = os.fdatasync,
        on_sync: Callable[[float], None] = lambda _: None,
        next_seq: Callable[[], int] = lambda: 1,
    ) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._sync = sync
        self._on_sync = on_sync
        self._next_seq = next_seq
        self._segments: dict[int, _Segment] = {}
        self._pending: list[_Pending] = []
        self._wake = asyncio.Event()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self.failed: asyncio.Future[SpoolError] = asyncio.get_running_loop().create_future()

    # Reading back

    def replay(self, report: Callable[[SpoolDamaged], None]) -> Iterator[Replayed | SegmentHeader]:
        """Every entry in order; before those of a segment, its header. A torn end of the last segment is cut off.

        Damage elsewhere is copied to `damaged/` and reported; reading goes on after it.
        """
        paths = sorted(self._folder.glob("[0-9]" * 10 + _SUFFIX))
        for path in paths:
            yield from self._replay_segment(path, last=path is paths[-1], report=report)

    def _replay_segment(
        self, path: Path, *, last: bool, report: Callable[[SpoolDamaged], None]
    ) -> Iterator[Replayed | SegmentHeader]:
        data = _mapped(path)
        header = SegmentHeader.parse(data)
        if header is None:
            if not (last and len(data) < HEADER_BYTES):
                report(self._set_aside(path, data[:], 0, "the segment's header cannot be read"))
            path.unlink()
            return
        number, size, seen = int(path.name.removesuffix(_SUFFIX)), len(data), 0
        yield header
        for found in scan(memoryview(data), header.salt):
            if not isinstance(found, Damage):
                yield self._replayed(number, *found)
                if found[0] - seen > _FORGET_BYTES:
                    seen = _forget(data, found[0])
            elif last and found.at_end:
                size = found.start
            else:
                what = f"{found.end - found.start} bytes cannot be read"
                report(self._set_aside(path, data[found.start : found.end], found.start, what))
        self._adopt(path, number, size, header.salt)

    @staticmethod
    def _replayed(number: int, offset: int, payload: memoryview) -> Replayed:
        return Replayed(unpack(payload, with_body=False), Place(number, offset + FRAME_BYTES, len(payload)))

    def _set_aside(self, path: Path, data: bytes, offset: int, what: str) -> SpoolDamaged:
        folder = self._folder / "damaged"
        folder.mkdir(exist_ok=True)
        copy = folder / f"{path.stem}-{offset}.bin"
        copy.write_bytes(data)
        return SpoolDamaged(what, where=f"{path}:{offset}", remedy=f"its bytes were kept in {copy}; check the disk")

    def _adopt(self, path: Path, number: int, size: int, salt: int) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        if os.fstat(fd).st_size != size:
            os.ftruncate(fd, size)
            os.fsync(fd)
        os.lseek(fd, size, os.SEEK_SET)
        self._segments[number] = _Segment(number, fd, size, salt)

    # Appending

    def start(self) -> None:
        """Begin to write what is appended."""
        self._task = asyncio.get_running_loop().create_task(self._commit_forever())
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None and not self.failed.done():
            self.failed.set_result(SpoolError(f"the journal's writer failed: {task.exception()!r}"))

    def append(self, entry: Entry, applied: Callable[[Place], None]) -> asyncio.Future[Place]:
        """Write the entry; when it is durable, `applied` runs with its place and the future resolves.

        The future raises `SpoolFull` (nothing of the entry is kept) or `SpoolError` (the journal has ended).
        """
        done: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        if self.failed.done() or self._closing:
            done.set_exception(SpoolError("the journal is closed", where=str(self._folder)))
            done.exception()
            return done
        self._pending.append(_Pending(pack(entry), applied, done))
        self._wake.set()
        return done

    async def _commit_forever(self) -> None:
        while self._pending or not self._closing:
            await self._wake.wait()
            self._wake.clear()
            if self._pending:
                batch, self._pending = self._pending, []
                await self._commit(batch)
                if self._pending:
                    self._wake.set()

    async def _commit(self, batch: list[_Pending]) -> None:
        begin = self._next_seq()
        try:
            loop = asyncio.get_running_loop()
            places = await loop.run_in_executor(self._writer, self._write, batch, begin)
        except OSError as error:
            self._refuse(batch, error)
            return
        for pending, place in zip(batch, places, strict=True):
            pending.applied(place)
            if not pending.done.done():
                pending.done.set_result(place)

    def _refuse(self, batch: list[_Pending], error: OSError) -> None:
        where = str(self._folder)
        refusal: SpoolError
        if error.errno in _NO_SPACE:
            refusal = SpoolFull("no space left for the journal", where=where, remedy="free some disk space")
        else:
            what = f"the journal cannot be written: {error.strerror}"
            refusal = SpoolError(what, where=where, remedy="check the disk")
            batch, self._pending = batch + self._pending, []
            if not self.failed.done():
                self.failed.set_result(refusal)
        for pending in batch:
            if not pending.done.done():
                pending.done.set_exception(refusal)
                pending.done.exception()  # whoever does not wait for it does not want to hear of it

    # On the writer's thread

    def _write(self, batch: list[_Pending], begin: int) -> list[Place]:
        segment = self._active(begin)
        size = segment.size
        chunks: list[bytes] = []
        places: list[Place] = []
        for pending in batch:
            chunks += (frame(pending.payload, segment.salt), pending.payload)
            places.append(Place(segment.number, size + FRAME_BYTES, len(pending.payload)))
            size += FRAME_BYTES + len(pending.payload)
        try:
            _write_all(segment.fd, b"".join(chunks))
            started = time.perf_counter()
            self._sync(segment.fd)
        except OSError as error:
            if error.errno in _NO_SPACE:
                os.ftruncate(segment.fd, segment.size)
                os.lseek(segment.fd, segment.size, os.SEEK_SET)
            raise
        self._on_sync(time.perf_counter() - started)
        segment.size = size
        return places

    def _active(self, next_seq: int) -> _Segment:
        number = max(self._segments, default=0)
        if number and self._segments[number].size < self._segment_bytes:
            return self._segments[number]
        return self._begin(number + 1, next_seq)

    def _begin(self, number: int, next_seq: int) -> _Segment:
        path = self._path(number)
        salt = secrets.randbits(32)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write_all(fd, SegmentHeader(salt, next_seq).to_bytes())
            os.fsync(fd)
            sync_folder(self._folder)
        except OSError:
            os.close(fd)
            with suppress(OSError):
                path.unlink()
            raise
        self._segments[number] = segment = _Segment(number, fd, HEADER_BYTES, salt)
        return segment

    # Reading bodies, giving space back

    async def read(self, place: Place) -> bytes:
        """The bytes at a place. What the page cache holds, as it does soon after writing, needs no thread."""
        fd = self._segments[place.segment].fd
        data = _read_cached(fd, place)
        if len(data) != place.size:
            data = await asyncio.to_thread(os.pread, fd, place.size, place.offset)
        if len(data) != place.size:
            where = f"{self._path(place.segment)}:{place.offset}"
            raise SpoolError("the journal ends within a message", where=where, remedy="check the disk")
        return data

    async def read_head(self, place: Place) -> bytes:
        """The head of the entry at a place."""
        start = await self.read(replace(place, size=min(place.size, _HEAD_BYTES)))
        head = head_range(start)
        if head.stop > len(start):
            start = await self.read(replace(place, size=head.stop))
        return start[head.start : head.stop]

    @property
    def sizes(self) -> dict[int, int]:
        """Bytes in each segment, oldest first."""
        return {number: segment.size for number, segment in sorted(self._segments.items())}

    def drop(self, number: int) -> None:
        """Delete the oldest segment (no other: what finished a message must not be forgotten before the message)."""
        if number != min(self._segments) or len(self._segments) == 1:
            raise ValueError(f"segment {number} is not the oldest, or is being written")
        os.close(self._segments.pop(number).fd)
        self._path(number).unlink()

    async def close(self) -> None:
        """Write what has been appended, and end."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
        self._writer.shutdown()
        for segment in self._segments.values():
            os.close(segment.fd)
        self._segments.clear()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:010d}{_SUFFIX}"


def _mapped(path: Path) -> mmap.mmap | bytes:
    """The bytes of a file, in pages that take no memory before they are looked at."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""


def _forget(data: mmap.mmap | bytes, end: int) -> int:
    """Give back the memory of the pages before `end`; where the rest begins."""
    start = end - end % mmap.PAGESIZE
    if isinstance(data, mmap.mmap):
        data.madvise(mmap.MADV_DONTNEED, 0, start)
    return start


def _read_cached(fd: int, place: Place) -> bytes:
    """What can be read without waiting for the disk; may be less than is there."""
    if not _NO_WAIT:
        return b""
    buffer = bytearray(place.size)
    try:
        return bytes(memoryview(buffer)[: os.preadv(fd, [buffer], place.offset, _NO_WAIT)])
    except OSError:  # EAGAIN, or a file system or kernel that cannot tell
        return b""


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
