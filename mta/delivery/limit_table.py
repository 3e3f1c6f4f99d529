"""Rates and numbers of connections that all workers of a machine keep together, in one file that each of them maps.

There is no coordinator that could die. A worker changes the table under an advisory lock on its file for some
microseconds; the kernel drops the lock of a process that is killed. Each value is a few bytes that are written at
once, so a kill at any instant leaves a table that can be read.

- A rate is one number, the theoretical arrival time of the generic cell rate algorithm, on the machine's monotonic
  clock. A number that lies further ahead than the rate can have put it (after a reboot, or when a rate was changed)
  counts as unused.
- Connections are counted per worker. A worker holds the lock on a file of its own for as long as it lives; what is
  counted for a worker whose lock is free is void. So nothing expires while its owner lives, and nothing outlives it.

A worker that finds no room says that it wants some. Others then keep no more than their share: see `Hold.should_yield`.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from mta.delivery.limits import Rate
from mta.errors import LimitTableError

__all__ = ["Hold", "LimitTable", "Ration"]

_MAGIC = b"mtascope limits 1"
_HEADER = 64
_KEY = 16
_GROUP = 16
"""A key can stand in any of the rows of its group."""
_RATES, _RATE_ROW = 16_384, _KEY + 8
_HOLDS, _WORKERS = 4096, 32
_HOLD_ROW = _KEY + 4 * _WORKERS
_HOLDS_START = _HEADER + _RATES * _RATE_ROW
_SIZE = _HOLDS_START + _HOLDS * _HOLD_ROW
_FREE, _NOBODY = bytes(_KEY), bytes(4 * _WORKERS)
_NUMBER = struct.Struct("<q")
_COLUMNS = struct.Struct(f"<{_WORKERS}I")
_COLUMN = struct.Struct("<I")
_NANO = 1_000_000_000
_COUNT_MASK = 0xFFFF
"""A tally is the instant at which it ends, whose last bits, some microseconds, are the count."""
_LOCK_TRIES, _LOCK_PAUSE = 100, 0.0002
_BUSY_WAIT = 0.05
_WANT_HOLDS = 20
"""Tenths of a second for which a worker that wanted room counts as still wanting it."""
_STARVED = 2.0
"""Seconds for which an asker that found no room is believed to want some still."""
_LOOK = 0.1
"""Seconds for which a hold believes what it saw of the others' wishes."""
_TURN = 2.0
"""Seconds for which a worker keeps a connection when there are fewer of them than workers that want one."""


@dataclass(frozen=True, slots=True)
class Ration:
    """`most` connections for all who name the same key."""

    key: str
    most: int


class LimitTable:
    """The table in a folder; `close` it. `clock` gives seconds that are the same for all processes of the machine."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Make or join the table. Raises `LimitTableError` if that cannot be."""
        self._clock = clock
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(folder / "table", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LimitTableError(f"cannot be opened: {error.strerror}", where=str(folder)) from error
        self._alive: dict[int, int] = {}
        self._starving: dict[int, float] = {}
        self._folder = folder
        self._map = self._mapped()
        self.worker = self._enlist()

    def close(self) -> None:
        """Give everything back."""
        self._clear(self.worker)
        self._map.close()
        for lock in (self._file, *self._alive.values()):
            os.close(lock)

    def now(self) -> float:
        """The instant on the clock that all processes share, in seconds."""
        return self._clock()

    # Rates

    def take_turn(self, rates: Sequence[tuple[str, Rate]]) -> float:
        """0, and a turn is taken of every rate; or none is, and so many seconds must pass before asking again."""
        return self._turn(rates, take=True)

    def until_turn(self, rates: Sequence[tuple[str, Rate]]) -> float:
        """Seconds until a turn can be taken of every rate, as things stand."""
        return self._turn(rates, take=False)

    def _turn(self, rates: Sequence[tuple[str, Rate]], *, take: bool) -> float:
        if not self._lock():
            return _BUSY_WAIT
        try:
            now = int(self._clock() * _NANO)
            rows = self._rate_rows([key for key, _ in rates], now)
            turns = [(row, rate, self._due(row, rate, now)) for row, (_, rate) in zip(rows, rates, strict=True)]
            wait = max(due - int(rate.tolerance * _NANO) - now for _, rate, due in turns)
            if wait <= 0 and take:
                for row, rate, due in turns:
                    _NUMBER.pack_into(self._map, row + _KEY, due + int(rate.interval * _NANO))
        finally:
            self._unlock()
        return max(0, wait) / _NANO

    def tally(self, key: str, period: float) -> int:
        """How often this was called for the key, this time included, in a period that began with the first call."""
        if not self._lock():
            return 0
        try:
            now = int(self._clock() * _NANO)
            (row,) = self._rate_rows([f"tally {key}"], now)
            (value,) = _NUMBER.unpack_from(self._map, row + _KEY)
            begins = not now < value <= now + int(period * _NANO) + _COUNT_MASK
            ends, count = (now + int(period * _NANO), 0) if begins else (value, value & _COUNT_MASK)
            count = min(count + 1, _COUNT_MASK)
            _NUMBER.pack_into(self._map, row + _KEY, ends & ~_COUNT_MASK | count)
        finally:
            self._unlock()
        return count

    def _due(self, row: int, rate: Rate, now: int) -> int:
        (due,) = _NUMBER.unpack_from(self._map, row + _KEY)
        furthest = now + int((rate.tolerance + rate.interval) * _NANO)
        return max(due, now) if due <= furthest else now

    def _rate_rows(self, keys: Sequence[str], now: int) -> list[int]:
        """Where those rates stand. A row whose time has passed says nothing any more: another key can have it."""
        return self._find(
            keys, _HEADER, _RATES, _RATE_ROW, lambda row: _NUMBER.unpack_from(self._map, row + _KEY)[0] <= now
        )

    # Connections

    def hold(self, rations: Sequence[Ration], *, has_some: bool = False) -> Hold | None:
        """One connection of every ration; or None, and the wish is noted.

        Of those in this process who share a ration, who holds none at all goes before who `has_some`.
        """
        if not self._lock():
            return None
        try:
            rows = self._hold_rows([ration.key for ration in rations])
            full = [
                row
                for row, ration in zip(rows, rations, strict=True)
                if not self._has_room(row, ration.most) or (has_some and self._starves(row))
            ]
            for row in full:
                self._set(row, self._own(row), wants=True)
                if not has_some:
                    self._starving[row] = self._clock()
            if not full:
                for row in rows:
                    self._set(row, self._own(row) + 1)
                    self._starving.pop(row, None)
                return Hold(self, rows, [ration.most for ration in rations], self._clock())
        finally:
            self._unlock()
        return None

    def held(self, key: str) -> int:
        """How many connections all workers hold of a ration."""
        return sum(count for count, _ in self._columns(self._hold_rows([key])[0]))

    def _has_room(self, row: int, most: int) -> bool:
        if sum(count for count, _ in self._columns(row)) >= most:
            self._clear_dead(row)
        columns = self._columns(row)
        if sum(count for count, _ in columns) >= most:
            return False
        return columns[self.worker][0] < self._share(columns, most) or not self._others_want(columns, most)

    def _starves(self, row: int) -> bool:
        """Whether somebody in this process, who holds none of his own, lately found no room there."""
        return self._clock() - self._starving.get(row, -_STARVED) < _STARVED

    def _share(self, columns: Sequence[tuple[int, int]], most: int) -> int:
        claimants = sum(1 for number, (count, want) in enumerate(columns) if self._claims(number, count, want))
        return max(1, most // max(1, claimants))

    def _claims(self, number: int, count: int, want: int) -> bool:
        return bool(count) or number == self.worker or self._is_fresh(want, number)

    def _others_want(self, columns: Sequence[tuple[int, int]], most: int) -> bool:
        share = self._share(columns, most)
        return any(
            number != self.worker and count < share and self._is_fresh(want, number)
            for number, (count, want) in enumerate(columns)
        )

    def _is_fresh(self, want: int, number: int) -> bool:
        return bool(want) and (self._stamp() - want) % 2**16 <= _WANT_HOLDS and number != self.worker

    def _crowds(self, row: int, most: int, since: float) -> bool:
        """Whether this worker holds more of a row than others leave it."""
        columns = self._columns(row)
        if not self._others_want(columns, most) or sum(count for count, _ in columns) < most:
            return False
        return columns[self.worker][0] > self._share(columns, most) or self._clock() - since >= _TURN

    def _is_due(self, rows: Sequence[int], since: float) -> bool:
        """Whether somebody in this process starves on what the holder of these rows shares with him."""
        if not any(map(self._starves, rows)):
            return False
        return self._own(rows[0]) > 1 or self._clock() - since >= _TURN

    def _give_back(self, rows: Sequence[int]) -> None:
        """Needs no lock: only this worker writes its own column."""
        for row in rows:
            self._set(row, max(0, self._own(row) - 1))

    def _columns(self, row: int) -> list[tuple[int, int]]:
        """Of each worker: how many it holds, and when it last wanted one."""
        return [(value >> 16, value & 0xFFFF) for value in _COLUMNS.unpack_from(self._map, row + _KEY)]

    def _own(self, row: int) -> int:
        return int(_COLUMN.unpack_from(self._map, row + _KEY + 4 * self.worker)[0]) >> 16

    def _set(self, row: int, count: int, *, wants: bool = False) -> None:
        stamp = self._stamp() if wants else 0
        _COLUMN.pack_into(self._map, row + _KEY + 4 * self.worker, count << 16 | stamp)

    def _stamp(self) -> int:
        return int(self._clock() * 10) % 2**16 or 1

    def _hold_rows(self, keys: Sequence[str]) -> list[int]:
        return self._find(
            keys, _HOLDS_START, _HOLDS, _HOLD_ROW, lambda row: self._map[row + _KEY : row + _HOLD_ROW] == _NOBODY
        )

    # Rows

    def _find(self, keys: Sequence[str], start: int, rows: int, size: int, is_idle: Callable[[int], bool]) -> list[int]:
        """Where the keys stand, each in a row of its own. Called under the lock."""
        found: list[int] = []
        for key in keys:
            found.append(self._row(key, range(start, start + rows * size, size), is_idle, found))
        return found

    def _row(self, key: str, rows: range, is_idle: Callable[[int], bool], taken: Sequence[int]) -> int:
        """Where `key` stands, or a row that nobody needs, which is then its own."""
        digest = blake2b(key.encode(), digest_size=_KEY).digest()
        first = int.from_bytes(digest[:4], "little") % (len(rows) // _GROUP) * _GROUP
        idle = None
        for row in rows[first : first + _GROUP]:
            found = self._map[row : row + _KEY]
            if found == digest:
                return row
            if idle is None and row not in taken and (found == _FREE or is_idle(row)):
                idle = row
        if idle is None:  # sixteen busy keys met in one group: this one shares a row, which only makes it slower
            return rows[first]
        self._map[idle + _KEY : idle + rows.step] = bytes(rows.step - _KEY)
        self._map[idle : idle + _KEY] = digest
        return idle

    # Workers

    def _enlist(self) -> int:
        for number in range(_WORKERS):
            lock = os.open(self._folder / f"worker-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            self._alive[number] = lock
            self._clear(number)
            return number
        raise LimitTableError(f"{_WORKERS} workers share it already", where=str(self._folder))

    def _clear_dead(self, row: int) -> None:
        for number, (count, _) in enumerate(self._columns(row)):
            if count and number != self.worker and self._is_dead(number):
                self._clear(number)

    def _is_dead(self, number: int) -> bool:
        lock = os.open(self._folder / f"worker-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(lock)
        return True

    def _clear(self, number: int) -> None:
        for row in range(_HOLDS_START, _SIZE, _HOLD_ROW):
            at = row + _KEY + 4 * number
            if self._map[at : at + 4] != bytes(4):
                self._map[at : at + 4] = bytes(4)

    # The file

    def _mapped(self) -> mmap.mmap:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            if os.pread(self._file, len(_MAGIC), 0) != _MAGIC:
                os.ftruncate(self._file, 0)
                os.posix_fallocate(self._file, 0, _SIZE)  # a page that a full disk cannot give later would kill us
                os.pwrite(self._file, _MAGIC, 0)
            return mmap.mmap(self._file, _SIZE)
        except (OSError, ValueError) as error:
            raise LimitTableError(f"cannot be mapped: {error}", where=str(self._folder)) from error
        finally:
            self._unlock()

    def _lock(self) -> bool:
        """False if somebody keeps the lock too long (a worker stopped in a debugger): then nothing is allowed."""
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_LOCK_PAUSE)
            else:
                return True
        return False

    def _unlock(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)


class Hold:
    """The right to one connection, until `give_back`."""

    def __init__(self, table: LimitTable, rows: Sequence[int], most: Sequence[int], since: float) -> None:
        self._table = table
        self._rows = rows
        self._most = most
        self._since = since
        self._look_again = since

    @property
    def should_yield(self) -> bool:
        """Whether others have too few because of us: at once if we hold more than our share, else in turns."""
        now = self._table.now()
        if now < self._look_again:  # it is asked after every message
            return False
        self._look_again = now + _LOOK
        table, rows = self._table, self._rows
        return table._is_due(rows, self._since) or any(  # noqa: SLF001 - a hold is a part of its table
            table._crowds(row, most, self._since)  # noqa: SLF001
            for row, most in zip(rows, self._most, strict=True)
        )

    def give_back(self) -> None:
        """Let others have it; again does nothing."""
        self._table._give_back(self._rows)  # noqa: SLF001 - a hold is a part of its table
        self._rows = ()
        self._most = ()
