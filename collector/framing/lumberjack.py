"""The Lumberjack protocol, version 2, without I/O: bytes in, runs of events out, whatever the pieces bytes come in.

Frames (integers unsigned, 32 bits, big-endian), each behind the version byte `2`:

    W count                 so many events follow, the window
    J seq length JSON       one event
    C length zlib           inflates to whole frames; must not hold another C
    A seq                   ours only: everything up to seq, in this window, is safe

Beats count seq from 1 in each window; other clients count on. So we acknowledge the numbers that we were sent and never
one of our own. A window that is followed by another before it is full counts as full. `1D`, `2D` (key-value frames of
logstash-forwarder) are refused: nothing current sends them.

Memory is bounded. An event longer than the limit is not refused, because its sender would send it for ever: its
beginning is kept and the rest goes by. A run is given out as soon as it holds `run_bytes`, which makes an
acknowledgement of part of a window; Beats know that. Absurd frames and windows are a `ProtocolError`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from collector.errors import ProtocolError
from collector.quarantine import KEPT_BYTES

__all__ = ["LumberjackLimits", "LumberjackReader", "Run", "ack"]

_INFLATE_STEP = 128 << 10
_HEADS = {b"2W": 6, b"2C": 6, b"2J": 10}
"""Bytes of a frame before its content."""


def ack(sequence: int) -> bytes:
    """The frame that acknowledges everything up to `sequence`; 0 only says that we are alive."""
    return b"2A" + sequence.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class LumberjackLimits:
    """Events in a window; bytes of a frame, of what it inflates to, of an event that is kept whole, of a run."""

    window: int = 1_000_000
    frame: int = 64 << 20
    inflated: int = 256 << 20
    event: int = 1 << 20
    run: int = 1 << 20


@dataclass(slots=True)
class Run:
    """Events that follow each other in one window: make them durable, then acknowledge `sequence`.

    `cut` holds the beginning and the size of each event that is longer than the limit. An empty window is a run without
    events, to be acknowledged with 0.
    """

    events: list[bytes] = field(default_factory=list)
    cut: list[tuple[bytes, int]] = field(default_factory=list)
    sequence: int = 0
    size: int = 0


class LumberjackReader:
    """The incoming side of one connection."""

    def __init__(self, limits: LumberjackLimits | None = None) -> None:
        self._limits = limits or LumberjackLimits()
        self.run_bytes = self._limits.run
        """May be changed at any time: the more connections, the smaller runs should be."""
        self._outer = _Frames(self._limits)
        self._inner = _Frames(self._limits)
        """Inside a compressed frame."""
        self._engine: zlib._Decompress | None = None
        self._inflated = 0
        self._owed = 0
        """Events that the window has not brought yet."""
        self._run = Run()

    @property
    def is_idle(self) -> bool:
        """Nothing is owed and nothing is half read: the peer may be silent."""
        return not (self._owed or self._outer.is_inside)

    def feed(self, data: bytes) -> Iterator[Run]:
        """The runs that `data` completes; take them all. Raises ProtocolError, after which nothing can be read."""
        for frame in self._outer.feed(data):
            if isinstance(frame, _Squeezed):
                yield from self._inflate(frame)
            else:
                yield from self._take(frame)

    def _take(self, frame: _Window | _Event) -> Iterator[Run]:
        if isinstance(frame, _Window):
            yield from self._open_window(frame.count)
            return
        if not self._owed:
            raise ProtocolError("an event outside of a window")
        self._owed -= 1
        run = self._run
        run.sequence = frame.sequence
        run.size += len(frame.content)
        if frame.size > len(frame.content):
            run.cut.append((frame.content, frame.size))
        else:
            run.events.append(frame.content)
        if not self._owed or run.size >= self.run_bytes:
            yield self._give()

    def _open_window(self, count: int) -> Iterator[Run]:
        if self._run.events or self._run.cut:
            yield self._give()
        if count > self._limits.window:
            raise ProtocolError(f"a window of {count} events, at most {self._limits.window} are taken", reason="limit")
        self._owed = count
        if not count:
            yield Run()

    def _give(self) -> Run:
        run, self._run = self._run, Run()
        return run

    def _inflate(self, piece: _Squeezed) -> Iterator[Run]:
        if self._engine is None:
            self._engine, self._inflated = zlib.decompressobj(), 0
        engine, data, full = self._engine, piece.data, True
        while full or data:
            try:
                inflated = engine.decompress(data, _INFLATE_STEP)
            except zlib.error as error:
                raise ProtocolError(f"a compressed frame that is damaged: {error}") from None
            data, full = engine.unconsumed_tail, len(inflated) == _INFLATE_STEP
            self._inflated += len(inflated)
            if self._inflated > self._limits.inflated:
                raise ProtocolError("a compressed frame that inflates without end", reason="limit")
            for frame in self._inner.feed(inflated):
                if isinstance(frame, _Squeezed):
                    raise ProtocolError("a compressed frame inside a compressed frame", reason="limit")
                yield from self._take(frame)
        if piece.is_last:
            if not engine.eof or engine.unused_data or self._inner.is_inside:
                raise ProtocolError("a compressed frame that does not end with a frame")
            self._engine = None


@dataclass(frozen=True, slots=True)
class _Window:
    count: int


@dataclass(frozen=True, slots=True)
class _Event:
    sequence: int
    content: bytes
    size: int


@dataclass(frozen=True, slots=True)
class _Squeezed:
    """A piece of a compressed frame's content."""

    data: bytes
    is_last: bool


class _Frames:
    """Cuts one level of frames. Holds at most one event, or one head, that is not yet whole."""

    def __init__(self, limits: LumberjackLimits) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._squeezed_left = 0
        self._cut: _Event | None = None
        """An event that is longer than the limit, while what follows its beginning goes by."""
        self._cut_left = 0

    @property
    def is_inside(self) -> bool:
        """A frame has begun and not ended."""
        return bool(self._buffer or self._squeezed_left or self._cut)

    def feed(self, data: bytes) -> Iterator[_Window | _Event | _Squeezed]:
        """The frames that `data` completes, and the pieces of compressed ones."""
        self._buffer += data
        at = 0
        try:
            while (step := self._step(at)) is not None:
                frame, at = step
                if frame is not None:
                    yield frame
        finally:
            del self._buffer[:at]

    def _step(self, at: int) -> tuple[_Window | _Event | _Squeezed | None, int] | None:
        """What begins at `at` and where the next thing begins; None when more bytes are needed."""
        if self._squeezed_left:
            return self._piece(at)
        return self._begin(at) if self._cut is None else self._pass_by(at)

    def _begin(self, at: int) -> tuple[_Window | _Event | _Squeezed | None, int] | None:
        """A frame's head, and its content unless that is squeezed."""
        kind = bytes(self._buffer[at : at + 2])
        size = _HEADS.get(kind)
        if size is None:
            if len(kind) < 2 and any(known.startswith(kind) for known in _HEADS):
                return None
            raise ProtocolError(f"no Lumberjack version 2 frame begins with {kind!r}")
        if len(self._buffer) < at + size:
            return None
        number = int.from_bytes(self._buffer[at + 2 : at + 6], "big")
        if kind == b"2W":
            return _Window(number), at + size
        if kind == b"2C":
            self._squeezed_left = self._checked(number, "compressed frame")
            return (None if number else _Squeezed(b"", is_last=True)), at + size
        return self._event(number, at)

    def _event(self, sequence: int, at: int) -> tuple[_Event | None, int] | None:
        size = self._checked(int.from_bytes(self._buffer[at + 6 : at + 10], "big"), "event")
        start, end = at + 10, at + 10 + size
        if size > self._limits.event:
            if len(self._buffer) < start + KEPT_BYTES:
                return None
            self._cut = _Event(sequence, bytes(self._buffer[start : start + KEPT_BYTES]), size)
            self._cut_left = size - KEPT_BYTES
            return None, start + KEPT_BYTES
        if len(self._buffer) < end:
            return None
        return _Event(sequence, bytes(self._buffer[start:end]), size), end

    def _piece(self, at: int) -> tuple[_Squeezed, int] | None:
        data = bytes(self._buffer[at : at + self._squeezed_left])
        if not data:
            return None
        self._squeezed_left -= len(data)
        return _Squeezed(data, is_last=not self._squeezed_left), at + len(data)

    def _pass_by(self, at: int) -> tuple[_Event | None, int] | None:
        passed = min(self._cut_left, len(self._buffer) - at)
        if not passed:
            return None
        self._cut_left -= passed
        if self._cut_left:
            return None, at + passed
        event, self._cut = self._cut, None
        return event, at + passed

    def _checked(self, size: int, what: str) -> int:
        if size > self._limits.frame:
            raise ProtocolError(f"{what} of {size} bytes, at most {self._limits.frame} are taken", reason="limit")
        return size
