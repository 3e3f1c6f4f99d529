"""Where what arrives becomes durable before its sender hears "accepted" (promise 2).

A road lands parcels in a folder of its own, in append-only segments. One thread writes: whatever parcels wait are
written together and synced once, so many small senders cost one sync. Reading is somebody else's business
(`collector/sources/landed.py`), perhaps in another process; the two know of each other only through the folder:

- a segment whose write permission is gone is complete, like KumoMTA's; whoever has read and committed it deletes it;
- a segment that failed to sync is cut back to what was synced and never written to again: after a failed sync nobody
  knows what the disk holds (the reader may have seen the rest: then it comes again and is a duplicate);
- after a crash the next writer cuts the torn end off, which nobody was told to be safe, and completes the segment.

Disk is bounded by `capacity_bytes` and by the space that must stay free. Beyond that `land` refuses, and the road
pushes back in its protocol's own way. Nothing is dropped to make room.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from collector.errors import LandingBusy, LandingFailed, LandingFull
from collector.framing.parcels import FRAME_HEAD, Parcel, body_size, decode, encode
from collector.metrics import RoadHealth
from mta.events.errors import ParseError

__all__ = ["Landing", "LandingLimits", "segments"]

_GROUP_BYTES = 8 << 20
_MEASURE_EVERY_S = 0.5
_AGE_CHECK_S = 0.5


@dataclass(frozen=True, slots=True)
class LandingLimits:
    """What one road may keep on disk, and in memory on its way there."""

    capacity_bytes: int = 2 << 30
    free_bytes: int = 256 << 20
    """This much of the disk is left to others."""
    segment_bytes: int = 64 << 20
    """No more than an eighth of the capacity: only complete segments can be deleted."""
    segment_age_s: float = 60.0
    """A segment is completed, so that it can be deleted, even where little arrives."""
    queue_bytes: int = 64 << 20
    """Parcels that wait for the disk."""


def segments(folder: Path) -> list[Path]:
    """The segments of a road, oldest first."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".parcels")
    except FileNotFoundError:
        return []


@dataclass(slots=True)
class _Waiting:
    frame: bytes
    count: int
    done: Future[None]
    since: float


class Landing:
    """The durable end of one road. `open` before use; `close` writes what waits.

    Raises LandingFailed from `open` if another process lands in the same folder.
    """

    def __init__(
        self,
        folder: Path,
        limits: LandingLimits | None = None,
        health: RoadHealth | None = None,
        *,
        sync: Callable[[int], None] = os.fdatasync,
    ) -> None:
        self.folder = folder
        self.health = health or RoadHealth()
        self._limits = limits or LandingLimits()
        self._segment_bytes = min(self._limits.segment_bytes, self._limits.capacity_bytes // 8)
        self._sync = sync
        self._waiting: deque[_Waiting] = deque()
        self._queued = 0
        self._signal = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._segment: _Segment | None = None
        self._lock = -1
        self._others = 0
        """Bytes in segments other than the one being written."""
        self._measured = 0.0
        self._free = 0

    def open(self) -> None:
        """Take the folder, complete what a crash left, and start writing."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync_folder(self.folder.parent)
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            self._lock = -1
            raise LandingFailed("another process lands here", where=str(self.folder)) from None
        for path in segments(self.folder):
            _complete_after_crash(path)
        self._measure()
        self._thread = threading.Thread(target=self._write, name=f"landing-{self.folder.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits and complete the segment."""
        with self._signal:
            self._closing = True
            self._signal.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    async def land(self, parcel: Parcel) -> None:
        """Return when the parcel would survive a power cut.

        Raises LandingFull or LandingBusy when there is no room for it, LandingFailed when the disk refuses; all are
        temporary, and nothing of the parcel is kept for sure.
        """
        if parcel.records:
            await asyncio.wrap_future(self.post(parcel))

    def post(self, parcel: Parcel) -> Future[None]:
        """Like `land`, for threads: the future is done when the parcel is durable."""
        self.check_room(parcel.weight)
        waiting = _Waiting(encode(parcel), len(parcel.records), Future(), time.monotonic())
        with self._signal:
            if self._closing or self._thread is None:
                raise LandingFailed("the landing is closed", where=str(self.folder))
            self._waiting.append(waiting)
            self._queued += len(waiting.frame)
            self._signal.notify()
        return waiting.done

    def check_room(self, size: int = 0) -> None:
        """Raises LandingFull or LandingBusy unless `size` bytes more could land now."""
        if time.monotonic() - self._measured > _MEASURE_EVERY_S:
            self._measure()
        if self._queued and self._queued + size > self._limits.queue_bytes:
            raise LandingBusy("the disk is slower than what arrives", where=str(self.folder))
        if self.used + size > self._limits.capacity_bytes:
            raise LandingFull(
                f"{self._limits.capacity_bytes} bytes wait to be stored", where=str(self.folder),
                remedy="see why the store does not take them, or raise landing_bytes",
            )  # fmt: skip
        if self._free - size < self._limits.free_bytes:
            raise LandingFull("the disk is nearly full", where=str(self.folder), remedy="make room on it")

    @property
    def used(self) -> int:
        """Bytes on disk or on their way to it."""
        segment = self._segment  # the writing thread may take it away meanwhile
        return self._others + self._queued + (segment.size if segment else 0)

    def _measure(self) -> None:
        """See how much is on disk: the reader deletes without telling."""
        segment = self._segment
        own = segment.path if segment else None
        total = 0
        for path in segments(self.folder):
            if path != own:
                with suppress(FileNotFoundError):
                    total += path.stat().st_size
        self._others = total
        self._free = shutil.disk_usage(self.folder).free
        self._measured = time.monotonic()
        self.health.landing_bytes = self.used

    # --- the writing thread ---------------------------------------------------------------------------------

    def _write(self) -> None:
        while group := self._next_group():
            self._write_group(group)
        self._complete()

    def _next_group(self) -> list[_Waiting]:
        """What waits now, up to a bound; nothing once closed."""
        with self._signal:
            while not self._waiting and not self._closing:
                self._signal.wait(_AGE_CHECK_S if self._segment else None)
                if self._segment and self._segment.age > self._limits.segment_age_s:
                    self._complete()
            group: list[_Waiting] = []
            size = 0
            while self._waiting and size < _GROUP_BYTES:
                group.append(self._waiting.popleft())
                size += len(group[-1].frame)
            return group

    def _write_group(self, group: list[_Waiting]) -> None:
        data = b"".join(waiting.frame for waiting in group)
        failure: LandingFailed | None = None
        try:
            if self._segment is None:
                self._segment = _Segment.create(self.folder, self._sync)
            self._segment.append(data)
        except OSError as error:
            failure = LandingFailed.of(self.folder, error)
            self._abandon()
        with self._signal:
            self._queued -= len(data)
        now = time.monotonic()
        for waiting in group:
            if failure is not None:
                waiting.done.set_exception(failure)
                continue
            self.health.landed(waiting.count, now - waiting.since)
            if waiting.done.set_running_or_notify_cancel():
                waiting.done.set_result(None)
        self.health.landing_bytes = self.used
        if self._segment is not None and self._segment.size >= self._segment_bytes:
            self._complete()

    def _complete(self) -> None:
        if self._segment is not None:
            segment, self._segment = self._segment, None
            self._others += segment.size
            segment.complete()

    def _abandon(self) -> None:
        """Keep only what was synced, and never write to it again."""
        if self._segment is not None:
            with suppress(OSError):
                self._segment.cut_back()
            self._complete()


class _Segment:
    """The file being written. `size` counts synced bytes."""

    def __init__(self, path: Path, descriptor: int, sync: Callable[[int], None]) -> None:
        self.path = path
        self.size = 0
        self._descriptor = descriptor
        self._sync = sync
        self._began = time.monotonic()

    @classmethod
    def create(cls, folder: Path, sync: Callable[[int], None]) -> _Segment:
        """A new segment whose name is durable. Names sort by age and are never used again."""
        path = folder / f"{time.time_ns() // 1000:020d}-{secrets.token_hex(4)}.parcels"
        segment = cls(path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), sync)
        try:
            _sync_folder(folder)
        except OSError:
            segment.complete()
            raise
        return segment

    @property
    def age(self) -> float:
        """Seconds since it was begun."""
        return time.monotonic() - self._began

    def append(self, data: bytes) -> None:
        """Durable when this returns; raises OSError with the end of the file in doubt."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self._sync(self._descriptor)
        self.size += len(data)

    def cut_back(self) -> None:
        """Take away what was not synced."""
        os.ftruncate(self._descriptor, self.size)

    def complete(self) -> None:
        """Say that it will never grow. One that holds nothing goes."""
        with suppress(OSError):  # what was acknowledged is synced; a failure here can at worst leave a name behind
            os.fchmod(self._descriptor, 0o400)
            os.close(self._descriptor)
            if not self.size:
                self.path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Names in it are durable when this returns."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _complete_after_crash(path: Path) -> None:
    """Cut off a frame that was not written whole, and say that the segment will never grow."""
    if not path.stat().st_mode & 0o200:
        return
    with path.open("r+b") as file:
        file.truncate(_whole_frames(file.fileno()))
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), 0o400)


def _whole_frames(descriptor: int) -> int:
    """Where the last whole frame ends."""
    at = 0
    while len(head := os.pread(descriptor, FRAME_HEAD, at)) == FRAME_HEAD:
        try:
            size = body_size(head)
            decode(head, os.pread(descriptor, size, at + FRAME_HEAD), at)
        except ParseError:
            break
        at += FRAME_HEAD + size
    return at
