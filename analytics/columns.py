"""Reading lines in columns: the engine takes what a dialect's SQL is sure about, Python reads the rest.

The lines are numbered and put where the engine's JSON reader can read them: into memory that has a file name, so that
nothing in clear touches the disk and nothing is left behind by a crash. Lines that do not come back as an event, for
whatever reason, are read one by one: the two ways together lose nothing, whatever SQL makes of a line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from tempfile import TemporaryFile

import duckdb

from analytics.staging import tell
from mta.events.intake import ColumnReader, Outcome, Quarantined, Unread

__all__ = ["Told", "tell_unread"]


@dataclass(frozen=True, slots=True)
class Told:
    """What became of records: how many are understood, which were refused, how many were about something else."""

    understood: int = 0
    quarantined: tuple[Quarantined, ...] = ()
    ignored: int = 0

    def __add__(self, other: Told) -> Told:
        """Both together."""
        return Told(
            self.understood + other.understood, self.quarantined + other.quarantined, self.ignored + other.ignored
        )


def tell_unread(con: duckdb.DuckDBPyConnection, unread: Sequence[Unread], first: int) -> Told:
    """Put the events of these lines into `clear`, as records from number `first` on."""
    told = Told()
    for reader in {id(portion.columns): portion.columns for portion in unread}.values():
        portions = [portion for portion in unread if portion.columns is reader]
        told += _tell_portions(con, reader, portions, first)
        first += _size(portions)
    return told


def _tell_portions(
    con: duckdb.DuckDBPyConnection, reader: ColumnReader, portions: Sequence[Unread], first: int
) -> Told:
    left = _read_columns(con, reader, portions, first)
    outcomes = list(_read_rest(portions, left))
    records = [(first + number, outcome) for number, outcome in outcomes if isinstance(outcome, tuple)]
    tell(con, records)
    refused = tuple(outcome for _, outcome in outcomes if isinstance(outcome, Quarantined))
    ignored = len(outcomes) - len(records) - len(refused)
    return Told(_size(portions) - len(refused) - ignored, refused, ignored)


def _size(portions: Sequence[Unread]) -> int:
    return sum(len(portion.lines) for portion in portions)


def _read_columns(
    con: duckdb.DuckDBPyConnection, reader: ColumnReader, portions: Sequence[Unread], first: int
) -> list[int]:
    """Let the engine read; the numbers of the lines that it passed over."""
    lines = list(chain.from_iterable(portion.lines for portion in portions))
    fields = ", ".join(f'"{name}" {sql_type}' for name, sql_type in reader.fields.items())
    with _file_of(_numbered(lines)) as path:
        source = (
            f"(SELECT n, unnest(record) FROM read_json('{path}', format = 'newline_delimited', ignore_errors = true, "
            f"compression = 'none', columns = {{'n': 'UINTEGER', 'record': 'STRUCT({fields})'}}) WHERE n IS NOT NULL)"
        )
        con.execute(
            "INSERT INTO clear BY NAME "
            f"SELECT * EXCLUDE n, $first::UINTEGER + n AS record FROM ({reader.events(source)})",
            {"first": first},
        )
    con.execute("DELETE FROM clear WHERE sure IS NOT TRUE")
    left = con.execute(
        "SELECT range FROM range(?, ?) WHERE range NOT IN (SELECT record FROM clear) ORDER BY 1",
        [first, first + _size(portions)],
    ).fetchall()
    return [number - first for (number,) in left]


def _numbered(lines: Sequence[bytes]) -> bytes:
    """JSON lines of `n`, the number of a line, and `record`, which is the line as it is."""
    pieces = [b""] * (2 * len(lines) + 1)
    pieces[:-1:2] = _heads(-(-len(lines) // 4096) * 4096)[: len(lines)]
    pieces[1::2] = lines
    pieces[-1] = b"}\n"
    return b"".join(pieces)[2:]


@lru_cache(maxsize=4)
def _heads(count: int) -> list[bytes]:
    return [b'}\n{"n":%d,"record":' % number for number in range(count)]


def _read_rest(portions: Sequence[Unread], left: Sequence[int]) -> Iterator[tuple[int, Outcome]]:
    """What the lines of these numbers say, in their order."""
    starts = iter(portions)
    portion, begin, end = None, 0, 0
    for number in left:
        while portion is None or number >= end:
            portion = next(starts)
            begin, end = end, end + len(portion.lines)
        yield number, portion.read(number - begin)


@contextmanager
def _file_of(content: bytes) -> Iterator[str]:
    """A path that leads to these bytes while inside, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("mtascope-lines", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb") as memory:
            memory.write(content)
            memory.flush()
            yield f"/proc/self/fd/{descriptor}"
    else:
        with TemporaryFile() as file:
            file.write(content)
            file.flush()
            yield f"/dev/fd/{file.fileno()}"
