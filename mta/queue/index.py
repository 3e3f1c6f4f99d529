"""What memory holds of the messages that wait: one row of some 60 bytes each, in columns of packed numbers.

A million waiting messages must fit into a small worker, and a million Python objects do not. So a row holds only what
is needed to find the message again: its id, where its entry stands in the journal, when it is due, and which queue it
is in. Sender, recipient and body are read from the journal when it is their turn.

A row belongs to whoever lists it: the schedule, a lane, an attempt. A message can be finished while somebody else lists
its row (an operator gives it up); the row is then `FINISHED`, and free for another message only when whoever lists it
comes across it and lets it go. So a row number in a list never means another message than the one it was put there for.
"""

from __future__ import annotations

from array import array
from collections.abc import Container, Iterable, Iterator
from enum import IntEnum

from mta.queue.message import Place

__all__ = ["Index", "RowState"]

_EMPTY = 0
_FIRST_SLOTS = 1024
_NEVER = 2**32 - 1
_SECOND = 1_000_000
_MOST_ATTEMPTS = 2**16 - 1


class RowState(IntEnum):
    """What a row holds."""

    FREE = 0
    WAITING = 1
    BUSY = 2
    """Somebody works on the message: an attempt, compaction, an operator's order."""
    FINISHED = 3
    """The message is done with; the row is still in somebody's list."""


class Index:
    """Rows by number and by message id. `waiting` counts the messages, `retrying` those that have failed before."""

    def __init__(self) -> None:
        self._high, self._low = array("Q"), array("Q")
        self._segment, self._offset, self._size = array("I"), array("I"), array("I")
        self._nth, self._of = array("H"), array("H")
        self._queue = array("I")
        self._attempts = array("H")
        self._received = array("I")
        self._state = array("B")
        self.due = array("Q")
        """When each message is to be tried (again). The schedule sorts by it."""
        self._free = array("I")
        self._columns = (
            *(self._high, self._low, self._segment, self._offset, self._size, self._nth, self._of, self._queue),
            *(self._attempts, self._received, self._state, self.due),
        )
        self._appends = tuple(column.append for column in self._columns)
        self._slots = array("I", bytes(4 * _FIRST_SLOTS))
        self._queues = _Names()
        self.waiting = 0
        self.retrying = 0

    def __len__(self) -> int:
        return self.waiting

    # Coming and going

    def add(
        self, id_: str, place: Place, nth: int, of: int, queue: str, *, attempts: int, due: int, received_at: int
    ) -> int:
        """A row for the `nth` of the `of` messages that share the entry at `place`."""
        high, low = _halves(id_)
        values = (
            *(high, low, place.segment, place.offset, place.size, nth, of, self._queues.enter(queue)),
            *(min(attempts, _MOST_ATTEMPTS), received_at // _SECOND, RowState.WAITING, due),
        )
        if self._free:
            row = self._free.pop()
            for column, value in zip(self._columns, values, strict=True):
                column[row] = value
        else:
            row = len(self.due)
            for append, value in zip(self._appends, values, strict=True):
                append(value)
        self.waiting += 1
        self.retrying += attempts > 0
        if self.waiting * 3 > len(self._slots) * 2:
            rows = array("I", (found - 1 for found in self._slots if found))
            self._slots = array("I", bytes(4 * 2 * len(self._slots)))
            self._link(rows)
        self._link((row,))
        return row

    def finish(self, row: int) -> None:
        """The message is done with. Its row stays `FINISHED` until `free`."""
        self._unlink(row)
        self._queues.leave(self._queue[row])
        self.waiting -= 1
        self.retrying -= self._attempts[row] > 0
        self._state[row] = RowState.FINISHED
        self._segment[row] = 0
        self._received[row] = _NEVER

    def free(self, row: int) -> None:
        """Nobody lists this finished row any more."""
        if self._state[row] != RowState.FINISHED:
            raise ValueError(f"row {row} is not finished")
        self._state[row] = RowState.FREE
        self._free.append(row)

    # One row

    def state(self, row: int) -> RowState:
        """What the row holds."""
        return RowState(self._state[row])

    def set_busy(self, row: int, *, busy: bool) -> None:
        """Somebody works on the message, or no longer does."""
        self._state[row] = RowState.BUSY if busy else RowState.WAITING

    def place(self, row: int) -> Place:
        """Where the entry stands that holds the message."""
        return Place(self._segment[row], self._offset[row], self._size[row])

    def move(self, row: int, place: Place, nth: int, of: int) -> None:
        """The message now stands in another entry."""
        self._segment[row], self._offset[row], self._size[row] = place.segment, place.offset, place.size
        self._nth[row], self._of[row] = nth, of

    def nth(self, row: int) -> int:
        """Which of its entry's messages it is."""
        return self._nth[row]

    def share(self, row: int) -> int:
        """The part of its entry's bytes that this message stands for."""
        return self._size[row] // self._of[row]

    def id(self, row: int) -> str:
        """The id of its message."""
        return f"{self._high[row]:016x}{self._low[row]:016x}"

    def queue(self, row: int) -> str:
        """The name of its queue."""
        return self._queues.name(self._queue[row])

    def rebind(self, row: int, queue: str) -> None:
        """The message is in another queue now."""
        number = self._queues.enter(queue)
        self._queues.leave(self._queue[row])
        self._queue[row] = number

    def attempts(self, row: int) -> int:
        """How many attempts have failed."""
        return self._attempts[row]

    def postpone(self, row: int, attempts: int, due: int) -> None:
        """The message has failed that many times and is due then."""
        self.retrying += (attempts > 0) - (self._attempts[row] > 0)
        self._attempts[row], self.due[row] = min(attempts, _MOST_ATTEMPTS), due

    # All rows

    def find(self, id_: str) -> int | None:
        """The row of the waiting message of that id."""
        try:
            high, low = _halves(id_)
        except (ValueError, OverflowError):
            return None
        found = self._slots[self._slot(high, low)]
        return found - 1 if found else None

    def rows(self) -> Iterator[int]:
        """All waiting messages, in no order. Rows that come or go meanwhile may be left out."""
        state = self._state
        return (row for row in range(len(state)) if state[row] in {RowState.WAITING, RowState.BUSY})

    def rows_in_segment(self, segment: int) -> Iterator[int]:
        """The waiting messages whose entries stand in a segment of the journal."""
        return _where(self._segment, segment)

    def rows_in(self, queues: Container[str]) -> Iterator[int]:
        """The waiting messages of these queues."""
        numbers = {number for name, number in self._queues.items() if name in queues}
        held = self._queue
        return (row for row in self.rows() if held[row] in numbers)

    @property
    def queues(self) -> dict[str, int]:
        """How many messages wait, by queue."""
        return self._queues.counts

    @property
    def oldest(self) -> int | None:
        """When the oldest waiting message was accepted, to the second; None if none waits."""
        return min(self._received) * _SECOND if self.waiting else None

    # Finding ids: a table of open addresses, in which a number costs 4 bytes and not a Python object

    def _slot(self, high: int, low: int) -> int:
        """Where the id stands, or where it would."""
        slots, mask = self._slots, len(self._slots) - 1
        at = hash((high, low)) & mask
        while row := slots[at]:
            if self._low[row - 1] == low and self._high[row - 1] == high:
                break
            at = (at + 1) & mask
        return at

    def _link(self, rows: Iterable[int]) -> None:
        """Put in ids that are not there."""
        slots, mask, high, low = self._slots, len(self._slots) - 1, self._high, self._low
        for row in rows:
            at = hash((high[row], low[row])) & mask
            while slots[at]:
                at = (at + 1) & mask
            slots[at] = row + 1

    def _unlink(self, row: int) -> None:
        """Take an id out, and move up those behind it that were displaced by it."""
        slots, mask = self._slots, len(self._slots) - 1
        gap = self._slot(self._high[row], self._low[row])
        at = gap
        while True:
            at = (at + 1) & mask
            other = slots[at]
            if not other:
                break
            home = hash((self._high[other - 1], self._low[other - 1])) & mask
            if (at - home) & mask >= (at - gap) & mask:
                slots[gap] = other
                gap = at
        slots[gap] = _EMPTY


class _Names:
    """Queue names as small numbers, as long as a message is in them."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        self._counts: list[int] = []
        self._free: list[int] = []

    def enter(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = self._free.pop() if self._free else len(self._names)
            self._names[number : number + 1] = [name]
            self._counts[number : number + 1] = [0]
        self._counts[number] += 1
        return number

    def leave(self, number: int) -> None:
        self._counts[number] -= 1
        if not self._counts[number]:
            del self._numbers[self._names[number]]
            self._free.append(number)

    def name(self, number: int) -> str:
        return self._names[number]

    def items(self) -> list[tuple[str, int]]:
        return list(self._numbers.items())

    @property
    def counts(self) -> dict[str, int]:
        return {name: self._counts[number] for name, number in self._numbers.items()}


def _halves(id_: str) -> tuple[int, int]:
    return int(id_[:16], 16), int(id_[16:], 16)


def _where(column: array[int], value: int) -> Iterator[int]:
    row = -1
    while True:
        try:
            row = column.index(value, row + 1)
        except ValueError:
            return
        yield row
