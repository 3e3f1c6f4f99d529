"""The durable queue: what was accepted stays until it is finished, whatever kills the process (promise 2).

The journal is also the **outbox of the log**: what happened to a message and the log record that tells of it are one
journal entry, so they become durable together. Records are numbered in journal order (`meta.mtascope_seq`); once
durable they are handed, in that order, to whoever writes the log. `logged` notes how far the log is durable. After a
crash the records beyond that are handed out again, and only those.

Memory holds an index of the messages that wait. A segment of the journal can go when no waiting message has its body
in it, all its records are in the log, and every older segment is gone. If a few old messages hold many bytes back,
they are copied forward.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from mta.errors import SpoolDamaged, SpoolError, SpoolFull, SpoolLocked
from mta.queue.entries import LogRecord, Result, logged_head, messages_head, read_logged, read_messages, read_result
from mta.queue.frame import Entry, EntryKind, SegmentHeader
from mta.queue.journal import Journal, Replayed
from mta.queue.message import Envelope, Message, Place

__all__ = ["Outbox", "Recovery", "Spool"]

Outbox = Callable[[int, bytes], None]
"""Takes the number and the line of each log record as soon as it is durable, in order."""

_FULL_PAUSE = 0.5
_COPY_LIMIT = 200
_FREE_FOR = 0.1


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found at the start."""

    messages: int
    records: int
    """Log records that the log did not hold yet."""
    damages: tuple[SpoolDamaged, ...]


class Spool:
    """`recover`, then `accept`, `record`, `postpone` and `finish`; `reclaim` now and then; `close` at the end.

    `messages` holds what waits, by id, the longest waiting first; `domains` counts it by recipient domain, `retrying`
    what has failed before.
    """

    def __init__(
        self,
        folder: Path,
        *,
        outbox: Outbox,
        segment_bytes: int = 64 * 1024 * 1024,
        sync: Callable[[int], None] = os.fdatasync,
        on_sync: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.folder = folder
        self._lock = _lock(folder)
        self._outbox = outbox
        self._next_seq = 1
        self._logged = 0
        self._noted = 0
        self._journal = Journal(
            folder, segment_bytes=segment_bytes, sync=sync, on_sync=on_sync, next_seq=lambda: self._next_seq
        )
        self._segment_bytes = segment_bytes
        self._last_seq: dict[int, int] = {}
        self._bodies: Counter[int] = Counter()
        self._live_bytes = 0
        self._free, self._free_until = 0, 0.0
        self.domains: Counter[str] = Counter()
        self.retrying = 0
        self.on_accepted: Callable[[Sequence[Message]], None] = lambda _: None
        self.messages: dict[str, Message] = {}
        self.failed = self._journal.failed

    # Start

    def recover(self, logged: int) -> Recovery:
        """Read the journal. `logged` is the number of the last record found whole in the log (0 if none).

        Afterwards `messages` holds what waits, the outbox has got the records that the log lacks, and the spool
        accepts.
        """
        damages: list[SpoolDamaged] = []
        waiting: deque[tuple[int, bytes]] = deque()
        self._logged = logged
        for found in self._journal.replay(damages.append):
            if isinstance(found, SegmentHeader):
                self._next_seq = max(self._next_seq, found.next_seq)
            else:
                self._replay(found, waiting)
        self._next_seq = max(self._next_seq, self._logged + 1)
        self.messages = dict(sorted(self.messages.items(), key=lambda item: item[1].envelope.received_at))
        for message in self.messages.values():
            self._wait(message)
        while waiting and waiting[0][0] <= self._logged:
            waiting.popleft()
        for seq, line in waiting:
            self._outbox(seq, line)
        self._journal.start()
        return Recovery(len(self.messages), len(waiting), tuple(damages))

    def _replay(self, found: Replayed, waiting: deque[tuple[int, bytes]]) -> None:
        entry = found.entry
        if entry.records:
            self._next_seq = max(self._next_seq, entry.last_seq + 1)
            self._last_seq[found.body.segment] = entry.last_seq
            waiting.extend(enumerate(entry.records, entry.first_seq))
        match entry.kind:
            case EntryKind.MESSAGES:
                self.messages.update((message.id, message) for message in read_messages(entry.head, found.body))
            case EntryKind.RESULT:
                self._replay_result(read_result(entry.head))
            case EntryKind.LOGGED:
                self._noted = read_logged(entry.head)
                self._logged = max(self._logged, self._noted)
                while waiting and waiting[0][0] <= self._logged:
                    waiting.popleft()
            case EntryKind.RECORDS:
                pass

    def _replay_result(self, result: Result) -> None:
        message = self.messages.get(result.id)
        if message is None:
            return
        if result.due is None:
            del self.messages[result.id]
        else:
            message.attempts, message.due = result.attempts, result.due

    # What happens to messages

    async def accept(
        self, envelope: Envelope, messages: Sequence[Message], body: bytes, records: Sequence[LogRecord]
    ) -> None:
        """Make messages durable with their log records; when this returns they may be acknowledged.

        They are indexed, and told to `on_accepted`, even if the caller is cancelled meanwhile. Raises `SpoolFull`; then
        nothing was accepted.
        """

        def applied(place: Place) -> None:
            envelope.place = place
            for message in messages:
                self.messages[message.id] = message
                self._wait(message)
            self.on_accepted(messages)

        await self._append(EntryKind.MESSAGES, messages_head(envelope, messages), records, body, applied)

    async def record(self, records: Sequence[LogRecord]) -> None:
        """Make log records durable that belong to no queued message. Raises `SpoolFull`."""
        await self._append(EntryKind.RECORDS, b"{}", records)

    def record_soon(self, records: Sequence[LogRecord]) -> None:
        """The same without waiting; on a full disk they are lost."""
        self._append(EntryKind.RECORDS, b"{}", records)

    async def postpone(self, message: Message, due: int, records: Sequence[LogRecord]) -> None:
        """Record a failed attempt: one more, and when to try again. The message must be busy, and then is not."""

        def applied(_: Place) -> None:
            self.retrying += not message.attempts
            message.attempts, message.due, message.busy = message.attempts + 1, due, False

        await self._insist(Result(message.id, message.attempts + 1, due), records, applied)

    async def finish(self, message: Message, records: Sequence[LogRecord]) -> None:
        """Record that a message is delivered or given up. It must be busy."""

        def applied(_: Place) -> None:
            del self.messages[message.id]
            self._release(message)

        await self._insist(Result(message.id, message.attempts, None), records, applied)

    async def _insist(self, result: Result, records: Sequence[LogRecord], applied: Callable[[Place], None]) -> None:
        """What has happened at the peer cannot be refused: a full disk is waited for."""
        while True:
            try:
                await self._append(EntryKind.RESULT, result.to_head(), records, applied=applied)
            except SpoolFull:
                await asyncio.sleep(_FULL_PAUSE)
            else:
                return

    def _wait(self, message: Message) -> None:
        envelope = message.envelope
        self.domains[message.domain] += 1
        self.retrying += message.attempts > 0
        envelope.waiting += 1
        if envelope.waiting == 1:
            self._bodies[_place(message).segment] += 1
            self._live_bytes += envelope.size

    def _release(self, message: Message) -> None:
        envelope = message.envelope
        self.retrying -= message.attempts > 0
        self.domains[message.domain] -= 1
        if not self.domains[message.domain]:
            del self.domains[message.domain]
        envelope.waiting -= 1
        if not envelope.waiting:
            self._bodies[_place(message).segment] -= 1
            self._live_bytes -= envelope.size

    def _append(
        self,
        kind: EntryKind,
        head: bytes,
        records: Sequence[LogRecord] = (),
        body: bytes = b"",
        applied: Callable[[Place], None] = lambda _: None,
    ) -> asyncio.Future[Place]:
        first = self._next_seq
        lines = tuple(_numbered(record, seq) for seq, record in enumerate(records, first))
        self._next_seq += len(lines)

        def durable(place: Place) -> None:
            if lines:
                self._last_seq[place.segment] = first + len(lines) - 1
            applied(place)
            for seq, line in enumerate(lines, first):
                self._outbox(seq, line)

        return self._journal.append(Entry(kind, head, body, first, lines), durable)

    # The log, space, end

    async def logged(self, through: int) -> None:
        """Note durably that the log holds all records up to number `through`. Raises `SpoolFull`."""
        self._logged = max(self._logged, through)
        if through > self._noted:
            await self._append(EntryKind.LOGGED, logged_head(through))
            self._noted = max(self._noted, through)

    async def read(self, message: Message) -> bytes:
        """The body of a message."""
        return await self._journal.read(_place(message))

    @property
    def backlog(self) -> int:
        """Log records that are not yet durable in the log."""
        return self._next_seq - 1 - self._logged

    @property
    def size(self) -> int:
        """Bytes in the journal."""
        return sum(self._journal.sizes.values())

    @property
    def free(self) -> int:
        """Bytes free on the journal's disk for an unprivileged process, at most a tenth of a second ago."""
        now = time.monotonic()
        if now >= self._free_until:
            disk = os.statvfs(self.folder)
            self._free, self._free_until = disk.f_bavail * disk.f_frsize, now + _FREE_FOR
        return self._free

    async def reclaim(self) -> None:
        """Delete segments that nothing needs; copy forward a few old messages that hold many bytes back."""
        self._drop_unneeded()
        sizes = self._journal.sizes
        if len(sizes) < 3:
            return
        if sum(sizes.values()) > 2 * (self._live_bytes + self._segment_bytes):
            await self._copy_forward(min(sizes))
            self._drop_unneeded()

    def _drop_unneeded(self) -> None:
        for number in list(self._journal.sizes)[:-1]:
            if self._bodies[number] or self._last_seq.get(number, 0) > self._logged:
                return
            self._journal.drop(number)
            self._bodies.pop(number, None)
            self._last_seq.pop(number, None)

    async def _copy_forward(self, segment: int) -> None:
        groups: dict[int, list[Message]] = {}
        for message in self.messages.values():
            if _place(message).segment == segment:
                groups.setdefault(id(message.envelope), []).append(message)
        for group in list(groups.values())[:_COPY_LIMIT]:
            await self._copy(group, segment)

    async def _copy(self, group: list[Message], segment: int) -> None:
        envelope = group[0].envelope
        body = await self.read(group[0])
        # While the body was read an attempt may have begun or ended. A copy written now would come after that attempt's
        # result in the journal, and a replay would believe the copy: so only what rests may be copied.
        group = [message for message in group if message.id in self.messages]
        if not group or any(message.busy for message in group):
            return
        for message in group:
            message.busy = True

        def applied(place: Place) -> None:
            self._bodies[segment] -= 1
            self._bodies[place.segment] += 1
            envelope.place = place

        try:
            await self._append(EntryKind.MESSAGES, messages_head(envelope, group), (), body, applied)
        finally:
            for message in group:
                message.busy = False

    async def close(self) -> None:
        """Write what has been appended, and release the folder."""
        await self._journal.close()
        os.close(self._lock)


def _numbered(record: LogRecord, seq: int) -> bytes:
    return orjson.dumps({**record, "meta": {**record["meta"], "mtascope_seq": seq}})


def _place(message: Message) -> Place:
    place = message.envelope.place
    if place is None:
        raise ValueError(f"message {message.id} is not in the journal yet")
    return place


def _lock(folder: Path) -> int:
    """Make the folder if need be, and make it ours for as long as the descriptor is open."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        what = f"the spool cannot be opened: {error.strerror}"
        raise SpoolError(what, where=str(folder), remedy="check --data and its permissions") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        what, remedy = "another worker has this spool open", "stop it or give another --worker"
        raise SpoolLocked(what, where=str(folder), remedy=remedy) from error
    return fd
