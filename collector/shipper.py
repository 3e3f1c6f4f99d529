"""Following logs on one machine and sending them to a collector on another, with a disk buffer in between.

Two halves that know of each other only through the buffer, which is a landing like any road's: the gatherer follows
files and lands what is new, then notes how far it came; the sender posts what has landed and deletes what was accepted.
While the collector is away the buffer grows to its capacity; beyond that the logs themselves are the buffer. Killing
the process at any instant loses nothing: what is sent twice is stored once.

Nothing is parsed here. Lines go as they are, with host, path and offset, so they are the same events as if the
collector had read the file itself.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import zstandard

from collector.errors import LandingFailed, SourceError
from collector.framing.lines import Lines, Piece, Rest, Spoiled
from collector.framing.parcels import Parcel, Shape
from collector.landing import Landing, LandingLimits, segments
from collector.quarantine import KEPT_BYTES
from collector.settings import CollectorSettings
from collector.sources.followed import FollowedFile
from collector.sources.landed import LandedSegment
from collector.sources.tail import Tail
from mta.events.intake import Checkpoint

__all__ = ["Gatherer", "Progress", "Sender", "buffer_limits"]

_log = logging.getLogger(__name__)

_PORTIONS = 8
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 30.0
_POLL_S = 0.1
_SAVE_EVERY_S = 1.0
_TOO_LARGE = 413


class Progress:
    """How far each source was used, in a small file that is replaced whole. A missing file is a normal start."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reached: dict[str, tuple[int, bool]] = {}
        if path.exists():
            content: dict[str, Any] = orjson.loads(path.read_bytes())
            self._reached = {source: (int(at), bool(finished)) for source, (at, finished) in content.items()}

    def checkpoint(self, source: str) -> Checkpoint | None:
        """How far the source was used; None if it was never heard of."""
        found = self._reached.get(source)
        return None if found is None else Checkpoint(source, found[0], finished=found[1])

    def reach(self, checkpoint: Checkpoint) -> bool:
        """Note it for the next `save`; False if it was known."""
        new = (checkpoint.offset, checkpoint.finished)
        if self._reached.get(checkpoint.source) == new:
            return False
        self._reached[checkpoint.source] = new
        return True

    def forget(self, source: str) -> None:
        """The source is gone for good."""
        self._reached.pop(source, None)

    def save(self) -> None:
        """Durable when this returns."""
        temporary = self._path.with_name(f".{self._path.name}.new")
        with temporary.open("wb") as file:
            file.write(orjson.dumps(self._reached))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)


class Gatherer:
    """Follows `settings.paths` into the buffer. `step` looks once at every file; nothing is waited for."""

    def __init__(self, settings: CollectorSettings, buffer: Landing, progress: Progress) -> None:
        self._node = settings.node
        self._buffer = buffer
        self._progress = progress
        self._tail = Tail(
            settings.paths,
            checkpoint=progress.checkpoint,
            monotonic=time.monotonic,
            max_open=settings.max_open_files,
            idle_close=settings.idle_close_s,
        )
        self.records = 0

    @property
    def errors(self) -> list[SourceError]:
        """What could not be read in the last step."""
        return self._tail.errors

    def step(self) -> bool:
        """Land what is new; True if there is more. Raises LandingFailed when the buffer takes no more now."""
        more = changed = False
        for file in self._tail.poll():
            for _ in range(_PORTIONS):
                pieces = file.read()
                if pieces is None:
                    break
                self._land(file, pieces)
                changed |= self._progress.reach(file.checkpoint())
            else:
                more = True
            changed |= self._progress.reach(file.checkpoint())
        if changed:
            self._progress.save()
        return more

    def close(self) -> None:
        """Close the files."""
        self._tail.close()

    def _land(self, file: FollowedFile, pieces: Any) -> None:
        """All pieces are durable in the buffer when this returns; else they are read again from where they began."""
        landing: list[Future[None]] = []
        try:
            for piece in pieces:
                parcel = _parcel(piece, self._node, file.path)
                landing.append(self._buffer.post(parcel))
                self.records += len(parcel.records)
            for future in landing:
                future.result()
        except LandingFailed:
            self._tail.close()  # what was read and not landed must be read again
            raise


def _parcel(piece: Piece, node: str, path: str) -> Parcel:
    if isinstance(piece, Lines):
        return Parcel(piece.lines, Shape.LINE, node, path, piece.offset)
    if isinstance(piece, Rest):
        return Parcel([piece.raw], Shape.LINE, node, path, piece.offset)
    return Parcel([piece.raw], Shape.CUT, node, path, piece.offset, max(piece.size, 1))


@dataclass(frozen=True, slots=True)
class _Pause:
    """The collector took nothing: why, and how long it asked us to stay away."""

    why: str
    seconds: float | None = None


class Sender:
    """Posts what is in the buffer to a collector's `/v1/records`, in its order, until each parcel was accepted.

    `stop` makes it give up waiting, and so does a collector that accepts nothing for `patience_s`. Nothing is ever
    dropped: a wrong token or address is retried like a collector that is down, and shown in `trouble`.
    """

    def __init__(
        self,
        buffer: Path,
        progress: Progress,
        client: httpx.Client,
        stop: threading.Event,
        patience_s: float = float("inf"),
    ) -> None:
        self._folder = buffer
        self._progress = progress
        self._client = client
        self._stop = stop
        self._patience_s = patience_s
        self._saved = time.monotonic()
        self.records = 0
        self.trouble = ""
        """Why nothing is accepted now; empty while all is well."""

    def run(self) -> None:
        """Send until stopped."""
        while not self._stop.is_set():
            if not self.step():
                self._stop.wait(_POLL_S)
        self._progress.save()

    def step(self) -> bool:
        """Send what the oldest segments hold; True if one of them was used up."""
        for path in segments(self._folder):
            source = f"buffer:{path.stem}"
            reached = self._progress.checkpoint(source)
            try:
                segment = LandedSegment(path, source, reached.offset if reached else 0)
            except FileNotFoundError:
                continue
            try:
                self._send_segment(segment)
            finally:
                segment.close()
            if not segment.finished:
                return False
            path.unlink(missing_ok=True)
            self._progress.forget(source)
            self._save()
            return True
        return False

    def _send_segment(self, segment: LandedSegment) -> None:
        while not self._stop.is_set() and (pieces := segment.read()) is not None:
            for piece in pieces:
                if isinstance(piece, Spoiled):
                    parcel = Parcel([piece.raw], Shape.CUT, path=segment.path, size=max(piece.size, 1))
                else:
                    parcel = piece.parcel
                if not all(self._deliver(part) for part in _split(parcel)):
                    segment.finished = False
                    return
                self._progress.reach(Checkpoint(segment.source, piece.end))
            if time.monotonic() - self._saved > _SAVE_EVERY_S:
                self._save()

    def _save(self) -> None:
        self._progress.save()
        self._saved = time.monotonic()

    def _deliver(self, parcel: Parcel) -> bool:
        """Offer a parcel until it is accepted; False if we stop first."""
        pause, began = _FIRST_PAUSE_S, time.monotonic()
        while (answer := self._post(parcel)) is not None:
            if self.trouble != answer.why:
                self.trouble = answer.why
                _log.warning("nothing is accepted: %s; trying again", answer.why)
            if time.monotonic() - began > self._patience_s:
                self._stop.set()
            if self._stop.wait(answer.seconds if answer.seconds is not None else pause):
                return False
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        if self.trouble:
            _log.warning("the collector accepts again")
            self.trouble = ""
        self.records += len(parcel.records)
        return True

    def _post(self, parcel: Parcel) -> _Pause | None:
        """None when it was accepted."""
        body = b"\n".join(parcel.records) + b"\n"
        headers = {
            "Content-Type": "text/plain",
            "Content-Encoding": "zstd",
            "X-Log-Host": parcel.sender,
            "X-Log-Path": parcel.path.encode("ascii", "replace").decode(),
        }
        if parcel.offset is not None:
            headers["X-Log-Offset"] = str(parcel.offset)
        if parcel.shape is Shape.CUT:
            headers["X-Log-Cut"] = str(parcel.size)
        try:
            answer = self._client.post("/v1/records", content=zstandard.compress(body, 3), headers=headers)
        except httpx.TransportError as error:
            return _Pause(f"{type(error).__name__}: {error}")
        if answer.status_code == _TOO_LARGE:
            return self._post_smaller(parcel)
        if answer.is_success:
            return None
        wait = answer.headers.get("retry-after", "")
        return _Pause(f"{answer.status_code} {answer.text[:200]}", min(float(wait), 60.0) if wait.isdigit() else None)

    def _post_smaller(self, parcel: Parcel) -> _Pause | None:
        """A parcel that is too large goes in halves; a record that is too large alone is cut, and says so."""
        if len(parcel.records) == 1:
            (record,) = parcel.records
            if len(record) <= KEPT_BYTES:
                return _Pause("413 even for a small record")
            return self._post(replace(parcel, records=[record[:KEPT_BYTES]], shape=Shape.CUT, size=len(record)))
        for half in _halves(parcel):
            if (pause := self._post(half)) is not None:
                return pause
        return None


_PART_BYTES = 4 << 20


def _split(parcel: Parcel) -> Iterator[Parcel]:
    """Parts that a collector takes in one body."""
    if parcel.weight <= _PART_BYTES or len(parcel.records) == 1:
        yield parcel
        return
    for half in _halves(parcel):
        yield from _split(half)


def _halves(parcel: Parcel) -> tuple[Parcel, Parcel]:
    middle = len(parcel.records) // 2
    first, second = parcel.records[:middle], parcel.records[middle:]
    offset = None if parcel.offset is None else parcel.offset + sum(len(record) + 1 for record in first)
    return replace(parcel, records=first), replace(parcel, records=second, offset=offset)


def buffer_limits(capacity: int) -> LandingLimits:
    """Of a buffer that may hold so many bytes."""
    return LandingLimits(capacity_bytes=capacity, segment_bytes=8 << 20, segment_age_s=5.0)
