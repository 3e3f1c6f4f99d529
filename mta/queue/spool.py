"""The durable queue: what was accepted stays until it is finished, whatever kills the process (promise 2).

The journal is also the **outbox of the log**: what happened to a message and the log record that tells of it are one
journal entry, so they become durable together. Records are numbered in journal order (`meta.mtascope_seq`); once
durable they are handed, in that order, to whoever writes the log. `logged` notes how far the log is durable. After a
crash the records beyond that are handed out again, and only those.

Memory holds an index of the messages that wait (`Index`); all else is read from the journal when a message's turn has
come. A segment of the journal can go when no waiting message has its entry in it, all its records are in the log, and
every older segment is gone. If a few old messages hold many bytes back, they are copied forward.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import orjson

from mta.errors import SpoolDamaged, SpoolError, SpoolFull, SpoolLocked
from mta.queue.entries import LogRecord, MessagesHead, Result, logged_head, messages_head, read_logged, read_result
from mta.queue.frame import Entry, EntryKind, SegmentHeader
from mta.queue.index import Index, RowState
from mta.queue.journal import Journal, Replayed
from mta.queue.message import Envelope, Message, Place
from mta.queue.naming import QueueName

__all__ = ["Outbox", "Recovery", "Spool"]

Outbox = Callable[[int, bytes], None]
"""Takes the number and the line of each log record as soon as it is durable, in order."""

_FULL_PAUSE = 0.5
_BUSY_PAUSE = 0.02
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

    `index` holds what waits, by rows; `load` makes a message of a row. `requests` are the parts of requests with an
    idempotency key whose messages were accepted; whoever knows the whole request to be answered takes them out.
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
        self._entries: Counter[int] = Counter()
        self._live_bytes = 0
        self._free, self._free_until = 0, 0.0
        self._head: tuple[Place, MessagesHead, Envelope] | None = None
        self.index = Index()
        self.requests: set[str] = set()
        self.on_accepted: Callable[[Sequence[Message]], None] = lambda _: None
        self.failed = self._journal.failed

    def __len__(self) -> int:
        return len(self.index)

    # Start

    def recover(self, logged: int) -> Recovery:
        """Read the journal. `logged` is the number of the last record found whole in the log (0 if none).

        Afterwards the index holds what waits, the outbox has got the records that the log lacks, and the spool accepts.
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
        while waiting and waiting[0][0] <= self._logged:
            waiting.popleft()
        for seq, line in waiting:
            self._outbox(seq, line)
        self._journal.start()
        return Recovery(len(self), len(waiting), tuple(damages))

    def _replay(self, found: Replayed, waiting: deque[tuple[int, bytes]]) -> None:
        entry = found.entry
        if entry.records:
            self._next_seq = max(self._next_seq, entry.last_seq + 1)
            self._last_seq[found.place.segment] = entry.last_seq
            if entry.last_seq > self._logged:
                waiting.extend(enumerate(entry.records, entry.first_seq))
        match entry.kind:
            case EntryKind.MESSAGES:
                self._replay_messages(MessagesHead.parse(entry.head), found.place)
            case EntryKind.RESULT:
                self._replay_result(read_result(entry.head))
            case EntryKind.LOGGED:
                self._noted = read_logged(entry.head)
                self._logged = max(self._logged, self._noted)
                while waiting and waiting[0][0] <= self._logged:
                    waiting.popleft()
            case EntryKind.RECORDS:
                pass

    def _replay_messages(self, head: MessagesHead, place: Place) -> None:
        received_at, of = head.received_at, len(head.rows)
        if request := head.shared.get("request"):
            self.requests.add(request)
        for nth, (id_, _, queue, attempts, due, *_) in enumerate(head.rows):
            row = self.index.find(id_) if head.copied else None
            if row is None:
                self._enter(id_, place, nth, of, queue, attempts=attempts, due=due, received_at=received_at)
            else:
                self._move(row, place, nth, of)

    def _replay_result(self, result: Result) -> None:
        row = self.index.find(result.id)
        if row is None:
            return
        if result.due is None:
            self._leave(row)
            self.index.free(row)
            return
        self.index.postpone(row, result.attempts, result.due)
        if result.queue is not None:
            self.index.rebind(row, result.queue)

    # What happens to messages

    async def accept(
        self, envelope: Envelope, messages: Sequence[Message], body: bytes, records: Sequence[LogRecord]
    ) -> None:
        """Make messages durable with their log records; when this returns they may be acknowledged.

        They are indexed, and told to `on_accepted`, even if the caller is cancelled meanwhile. Raises `SpoolFull`; then
        nothing was accepted.
        """
        envelope.size = len(body)
        head, of = messages_head(envelope, messages), len(messages)

        def applied(place: Place) -> None:
            for nth, message in enumerate(messages):
                message.row = self._enter(
                    *(message.id, place, nth, of, message.queue),
                    attempts=message.attempts,
                    due=message.due,
                    received_at=envelope.received_at,
                )
            if envelope.request:
                self.requests.add(envelope.request)
            self.on_accepted(messages)

        await self._append(EntryKind.MESSAGES, head, records, body, applied)

    async def record(self, records: Sequence[LogRecord]) -> None:
        """Make log records durable that belong to no queued message. Raises `SpoolFull`."""
        await self._append(EntryKind.RECORDS, b"{}", records)

    def record_soon(self, records: Sequence[LogRecord]) -> None:
        """The same without waiting; on a full disk they are lost."""
        self._append(EntryKind.RECORDS, b"{}", records)

    async def load(self, row: int) -> Message | None:
        """The message of a row that the caller has taken off its list; None, and the row is free, if it is finished."""
        if self._let_go(row):
            return None
        message = await self.peek(row)
        return None if self._let_go(row) else message

    async def peek(self, row: int) -> Message:
        """The message of a row that waits."""
        place = self.index.place(row)
        if self._head is None or self._head[0] != place:
            head = MessagesHead.parse(await self._journal.read_head(place))
            self._head = place, head, head.envelope()
        return self._message(row, *self._head[1:])

    async def find(self, queue_id: str) -> Message | None:
        """The waiting message of that id."""
        row = self.index.find(queue_id)
        return None if row is None else await self.peek(row)

    async def in_queue(self, name: str, limit: int) -> list[Message]:
        """At most `limit` of the messages that wait in a queue."""
        return [await self.peek(row) for row in islice(self.index.rows_in({name}), limit)]

    async def all(self) -> list[Message]:
        """Every waiting message. As large as they are many."""
        return [await self.peek(row) for row in self.index.rows()]

    def _message(self, row: int, head: MessagesHead, envelope: Envelope) -> Message:
        message = head.message(self.index.nth(row), envelope)
        message.row, message.attempts, message.due = row, self.index.attempts(row), self.index.due[row]
        if message.queue != (queue := self.index.queue(row)):
            self._relabel(message, queue)
        return message

    @staticmethod
    def _relabel(message: Message, queue: str) -> None:
        """Tenant and campaign are those of the queue that the message is in."""
        name = QueueName.parse(queue)
        labels = {"tenant": name.tenant, "campaign": name.campaign}
        meta = {key: value for key, value in message.envelope.meta.items() if key not in labels}
        meta |= {key: value for key, value in labels.items() if value}
        message.queue, message.domain, message.envelope = queue, name.route, replace(message.envelope, meta=meta)

    def _let_go(self, row: int) -> bool:
        if self.index.state(row) is not RowState.FINISHED:
            return False
        self.index.free(row)
        return True

    async def claim(self, message: Message) -> bool:
        """Begin to work on a message that the caller took off its list; False if it was finished meanwhile.

        Ended by `postpone`, `finish`, `rebind` or `leave`. Waits while somebody else works on it.
        """
        while (state := self.index.state(message.row)) is RowState.BUSY:  # noqa: ASYNC110 - compaction is copying it
            await asyncio.sleep(_BUSY_PAUSE)  # an Event for each message costs more than it saves
        if state is RowState.FINISHED:
            self.index.free(message.row)
            return False
        self.index.set_busy(message.row, busy=True)
        message.attempts = self.index.attempts(message.row)
        return True

    def claim_listed(self, row: int) -> bool:
        """Begin to work on a message whose row somebody else lists; False if somebody works on it, or it is gone."""
        if self.index.state(row) is not RowState.WAITING:
            return False
        self.index.set_busy(row, busy=True)
        return True

    def leave(self, message: Message) -> None:
        """End the work on a message that was claimed, with nothing changed."""
        self.index.set_busy(message.row, busy=False)

    async def postpone(self, message: Message, due: int, records: Sequence[LogRecord]) -> None:
        """Record a failed attempt: one more, and when to try again. The message was claimed."""

        def applied(_: Place) -> None:
            message.attempts, message.due = message.attempts + 1, due
            self.index.postpone(message.row, message.attempts, due)
            self.index.set_busy(message.row, busy=False)

        await self._insist(Result(message.id, message.attempts + 1, due), records, applied)

    async def rebind(self, message: Message, queue: str, records: Sequence[LogRecord]) -> None:
        """Record that a claimed message is in another queue now."""

        def applied(_: Place) -> None:
            self.index.rebind(message.row, queue)
            self.index.set_busy(message.row, busy=False)
            self._relabel(message, queue)

        await self._insist(Result(message.id, message.attempts, message.due, queue), records, applied)

    async def finish(self, message: Message, records: Sequence[LogRecord], *, listed: bool = False) -> None:
        """Record that a claimed message is delivered or given up. `listed`: somebody else still lists its row."""

        def applied(_: Place) -> None:
            self._leave(message.row)
            if not listed:
                self.index.free(message.row)

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

    @property
    def domains(self) -> Counter[str]:
        """How many messages wait, by the domain by which they are routed."""
        found: Counter[str] = Counter()
        for queue, count in self.index.queues.items():
            found[QueueName.parse(queue).route] += count
        return found

    # The index, and what is counted beside it

    def _enter(
        self, id_: str, place: Place, nth: int, of: int, queue: str, *, attempts: int, due: int, received_at: int
    ) -> int:
        row = self.index.add(id_, place, nth, of, queue, attempts=attempts, due=due, received_at=received_at)
        self._entries[place.segment] += 1
        self._live_bytes += self.index.share(row)
        return row

    def _move(self, row: int, place: Place, nth: int, of: int) -> None:
        self._entries[self.index.place(row).segment] -= 1
        self._live_bytes -= self.index.share(row)
        self.index.move(row, place, nth, of)
        self._entries[place.segment] += 1
        self._live_bytes += self.index.share(row)

    def _leave(self, row: int) -> None:
        self._entries[self.index.place(row).segment] -= 1
        self._live_bytes -= self.index.share(row)
        self.index.finish(row)

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
        if message.row < 0:
            raise ValueError(f"message {message.id} is not in the journal yet")
        return await self._journal.read(_end_of(self.index.place(message.row), message.envelope.size))

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
            if self._entries[number] or self._last_seq.get(number, 0) > self._logged:
                return
            self._journal.drop(number)
            self._entries.pop(number, None)
            self._last_seq.pop(number, None)

    async def _copy_forward(self, segment: int) -> None:
        groups: dict[int, list[int]] = {}
        for row in self.index.rows_in_segment(segment):
            groups.setdefault(self.index.place(row).offset, []).append(row)
            if len(groups) > _COPY_LIMIT:
                break
        for rows in list(groups.values())[:_COPY_LIMIT]:
            await self._copy(sorted(rows, key=self.index.nth))

    async def _copy(self, rows: list[int]) -> None:
        """Copy an entry with those of its messages that wait.

        A copy that is written while an attempt is under way would come after that attempt's result in the journal, and
        a replay would believe the copy: so only what rests may be copied, and must rest until the copy is written.
        """
        rows = [row for row in rows if self.claim_listed(row)]
        if not rows:
            return
        try:
            place = self.index.place(rows[0])
            head = MessagesHead.parse(await self._journal.read_head(place))
            envelope = head.envelope()
            messages = [self._message(row, head, envelope) for row in rows]
            body = await self._journal.read(_end_of(place, envelope.size))

            def applied(place: Place) -> None:
                for nth, row in enumerate(rows):
                    self._move(row, place, nth, len(rows))

            await self._append(EntryKind.MESSAGES, messages_head(envelope, messages, copied=True), (), body, applied)
        finally:
            for row in rows:
                self.index.set_busy(row, busy=False)

    async def close(self) -> None:
        """Write what has been appended, and release the folder."""
        await self._journal.close()
        os.close(self._lock)


def _numbered(record: LogRecord, seq: int) -> bytes:
    return orjson.dumps({**record, "meta": {**record["meta"], "mtascope_seq": seq}})


def _end_of(place: Place, size: int) -> Place:
    """Where the last `size` bytes of an entry stand: its body."""
    return Place(place.segment, place.offset + place.size - size, size)


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
