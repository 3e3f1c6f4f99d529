"""The log is written behind the spool's journal.

Records come in the order of their numbers and only when the journal holds them durably. They are written in that
order, so the number of the last whole record found in the log (`find_leftovers`) says which are there: after a crash
the spool hands out the rest, and every record stands in the log once.

That a segment's records are in the log is noted in the journal *before* the segment is marked as done, because a marked
segment is not read at the next start.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeVar

from mta.control.log_segment import LogSegment
from mta.errors import SpoolFull
from mta.events.instants import SECOND
from mta.queue.message import Clock

__all__ = ["LogWriter"]

_T = TypeVar("_T")

_RETRY_PAUSE = 1.0
_BATCH_RECORDS = 20_000


class LogWriter:
    """Writes records behind the journal. `put` takes them; `run` writes until `close`.

    `on_durable` is told the number of the last record that is durable in the log, and makes that itself durable.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        on_durable: Callable[[int], Awaitable[None]],
        *,
        form: Literal["zstd", "plain"] = "zstd",
        segment_bytes: int = 256 * 1024 * 1024,
        segment_duration: float = 60.0,
        flush_interval: float = 0.5,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._folder = folder
        self._clock = clock
        self._on_durable = on_durable
        self._form = form
        self._segment_bytes = segment_bytes
        self._segment_duration = int(segment_duration * SECOND)
        self._flush_interval = flush_interval
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._segment: LogSegment | None = None
        self._last_seq = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="log")
        self._stop = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.last_error: OSError | None = None

    def put(self, seq: int, line: bytes) -> None:
        """Write the record soon; numbers must grow."""
        self._waiting.append((seq, line))

    def start(self) -> None:
        """Begin to write."""
        self.task = asyncio.get_running_loop().create_task(self._run())

    async def close(self, grace: float = 10.0) -> None:
        """Write what waits and close the segment. After `grace` seconds what a full disk keeps us from stays undone."""
        self._stop.set()
        if self.task is not None:
            await asyncio.wait([self.task], timeout=grace)
            self.task.cancel()
            with suppress(asyncio.CancelledError):
                await self.task
        self._thread.shutdown(wait=False)

    async def _run(self) -> None:
        while not self._stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._flush_interval)
            await self._flush()
            if self._segment is not None and self._is_full(self._segment):
                await self._rotate(self._segment)
        await self._flush()
        if self._segment is not None:
            await self._rotate(self._segment)

    async def _flush(self) -> None:
        while self._waiting:
            count = min(len(self._waiting), _BATCH_RECORDS)
            batch = [self._waiting.popleft() for _ in range(count)]
            if self._segment is None:
                self._segment = await self._insist(self._open)
            lines = [line for _, line in batch]
            await asyncio.get_running_loop().run_in_executor(self._thread, self._segment.write, lines)
            await self._insist(self._segment.push)
            self._last_seq = batch[-1][0]
            await self._note()
            if self._is_full(self._segment):
                await self._rotate(self._segment)

    def _open(self) -> LogSegment:
        return LogSegment(self._folder, self._clock(), self._form)

    def _is_full(self, segment: LogSegment) -> bool:
        return segment.size >= self._segment_bytes or self._clock() - segment.started >= self._segment_duration

    async def _rotate(self, segment: LogSegment) -> None:
        await self._insist(segment.seal)
        await self._note()
        segment.mark_done()
        self._segment = None

    async def _note(self) -> None:
        while True:
            try:
                await self._on_durable(self._last_seq)
            except SpoolFull:
                await asyncio.sleep(_RETRY_PAUSE)
            else:
                return

    async def _insist(self, act: Callable[[], _T]) -> _T:
        while True:
            try:
                return await asyncio.get_running_loop().run_in_executor(self._thread, act)
            except OSError as error:
                self.last_error = error
                await asyncio.sleep(_RETRY_PAUSE)
