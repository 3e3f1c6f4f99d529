"""Sealed parts: immutable Parquet files beside the database, and the ledger that says which of them count.

A file is written under a temporary name, synced, named, and its folder synced; only then does a ledger row in the
database name it, in the transaction that removes what it holds from the hot tables. So at every instant each row is in
exactly one place: a file without a ledger row is a leftover of a crash and is deleted at the next start, and what the
ledger names is whole and on disk. Reading goes through the ledger, never by listing the folder.

A part that has gone or whose bytes changed is named, with what is lost with it; once marked as damaged it is passed
over, so that every other question goes on.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from mta.events.instants import DAY, format_instant

__all__ = ["PART_NAME", "Damage", "Part", "Parts", "optional"]

PART_NAME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9a-f]{12}\.parquet")
"""How the file of a part is called: the day of its first mail, and chance."""

_ROW_GROUP = 122_880
_FORMAT = f"FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, COMPRESSION_LEVEL 6, ROW_GROUP_SIZE {_ROW_GROUP}"


@dataclass(frozen=True, slots=True)
class Part:
    """One sealed file: its name, how much it holds, of which time (microseconds), and what its bytes must hash to."""

    name: str
    recipients: int
    rows: int
    events: int
    first_injected: int
    last_injected: int
    first_moment: int
    last_moment: int
    bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Damage:
    """A part that cannot be relied on, and what is lost with it. `days` as `2026-01-31`, or first and last."""

    name: str
    reason: str
    recipients: int
    events: int
    days: str


class Parts:
    """The folder of parts beside a database. The caller owns the connection's transactions."""

    def __init__(self, database: Path) -> None:
        self.folder = database.with_name(database.name + ".parts")
        self._retired: list[Path] = []

    def path(self, name: str) -> Path:
        """Where a part lies."""
        return self.folder / name

    def write(self, con: duckdb.DuckDBPyConnection, select: str, prefix: str) -> Part | None:
        """Write a SELECT of packed rows to a new file, synced, that the ledger does not name yet; None if no rows."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{prefix}-{uuid.uuid4().hex[:12]}.parquet"
        half = self.folder / f".{name}"
        try:
            con.execute(f"COPY ({select}) TO '{half}' ({_FORMAT})")
            measured = con.execute(_MEASURE.format(half)).fetchall()[0]
            if not measured[0]:
                return None
            digest = _sync(half)
            half.replace(self.path(name))
            _sync_folder(self.folder)
        finally:
            half.unlink(missing_ok=True)
        size = self.path(name).stat().st_size
        rows, recipients, events, born, youngest, begin, end = measured
        return Part(name, recipients, rows, events, born, youngest, begin, end, size, digest)

    def enter(self, con: duckdb.DuckDBPyConnection, part: Part, now: int) -> None:
        """Name a written part in the ledger."""
        instants = ", ".join(["make_timestamp(?)"] * 4)
        con.execute(
            f"INSERT INTO part VALUES (?, ?, ?, ?, {instants}, ?, ?, make_timestamp(?), NULL)",
            [part.name, part.recipients, part.rows, part.events, part.first_injected, part.last_injected,
             part.first_moment, part.last_moment, part.bytes, part.digest, now],
        )  # fmt: skip
        con.execute(
            "INSERT INTO part_outcome SELECT ?, coalesce(terminal_outcome, 'in_flight') AS outcome, sum(n) "
            f"FROM read_parquet('{self.path(part.name)}') WHERE n <> 0 AND successor IS NULL GROUP BY outcome",
            [part.name],
        )

    def rewrite(self, con: duckdb.DuckDBPyConnection, names: Sequence[str], columns: str, now: int) -> Part | None:
        """Put one new part in the place of these, in this transaction; `columns` is the SELECT list over their rows.

        How they are called, and in which order rows stand, is as after sealing.
        """
        rows = self._reading(names)
        select = f"SELECT {columns} FROM {rows} ORDER BY plain DESC, injected_at, message_key, unit_id, n"
        part = self.write(con, select, min(names)[:10])
        for name in names:
            self.remove(con, name)
        if part is not None:
            self.enter(con, part, now)
        return part

    def remove(self, con: duckdb.DuckDBPyConnection, name: str) -> None:
        """Strike a part from the ledger. Its file stays until `sweep`, for readers that have begun."""
        con.execute("DELETE FROM part WHERE name = ?", [name])
        con.execute("DELETE FROM part_outcome WHERE name = ?", [name])

    def names(self, con: duckdb.DuckDBPyConnection) -> list[str]:
        """Every part that the ledger names and that can be relied on."""
        return [name for (name,) in con.execute("SELECT name FROM part WHERE damage IS NULL ORDER BY name").fetchall()]

    def sweep(self, con: duckdb.DuckDBPyConnection, *, at_once: bool = False) -> list[str]:
        """Delete files that the ledger does not name: at a start all, later those that were unnamed last time too."""
        if not self.folder.exists():
            return []
        named = {name for (name,) in con.execute("SELECT name FROM part").fetchall()}
        unnamed = [path for path in sorted(self.folder.iterdir()) if path.name not in named]
        gone = [path for path in unnamed if at_once or path in self._retired]
        for path in gone:
            path.unlink(missing_ok=True)
        self._retired = [path for path in unnamed if path not in gone]
        return [path.name for path in gone]

    def relation(
        self, con: duckdb.DuckDBPyConnection, since: int | None, until: int | None, span: str = "moment"
    ) -> str | None:
        """SQL of the relation of packed rows with something in [`since`, `until`); None where nothing is sealed.

        `span` is what must lie there: any "moment", or when mail was "injected".
        """
        names = con.execute(
            f"SELECT name FROM part WHERE damage IS NULL AND ($since IS NULL OR last_{span} >= make_timestamp($since)) "
            f"AND ($until IS NULL OR first_{span} < make_timestamp($until)) ORDER BY first_injected, name",
            {"since": since, "until": until},
        ).fetchall()
        return self._reading([name for (name,) in names]) if names else None

    def _reading(self, names: Sequence[str]) -> str:
        files = ", ".join(f"'{self.path(name)}'" for name in names)
        return f"read_parquet([{files}], union_by_name = true)"

    def files(self) -> list[Path]:
        """Every file of the folder."""
        return sorted(self.folder.iterdir()) if self.folder.exists() else []

    def bind(self, con: duckdb.DuckDBPyConnection, sql: str) -> str:
        """Put the files in place of what `optional` left open, as the ledger names them in this transaction."""

        def fill(found: re.Match[str]) -> str:
            span, branch = found["span"], found["branch"]
            since, until = (None if bound == "None" else int(bound) for bound in (found["since"], found["until"]))
            rows = self.relation(con, since, until, span)
            return branch.replace(_HOLE, rows) if rows is not None else ""

        return _OPTIONAL.sub(fill, sql)

    def small_ones(self, con: duckdb.DuckDBPyConnection, many: int, most: int) -> list[str]:
        """Small parts of one day that had better be one: `many` of them, of together at most `most` rows.

        Two are enough for a day that lies well back, where no more are to come.
        """
        rows = con.execute(
            "WITH small AS (SELECT name, left(name, 10) AS day, sum(rows) OVER (PARTITION BY left(name, 10) "
            "ORDER BY rows, name) AS upto FROM part WHERE damage IS NULL AND 2 * rows < $most) "
            "SELECT list(name ORDER BY upto) FROM small WHERE upto <= $most GROUP BY day "
            "HAVING count(*) >= CASE WHEN day < (SELECT max(left(name, 10)) FROM part) THEN 2 ELSE $many END "
            "ORDER BY day LIMIT 1",
            {"many": many, "most": most},
        ).fetchall()
        return list(rows[0][0]) if rows else []

    def sealed_to(self, con: duckdb.DuckDBPyConnection) -> int | None:
        """The newest instant that any sealed row knows of; None where nothing is sealed."""
        newest: int | None = con.execute("SELECT epoch_us(max(last_moment)) FROM part").fetchall()[0][0]
        return newest

    def verify(self, con: duckdb.DuckDBPyConnection, *, thoroughly: bool = True) -> list[Damage]:
        """Check that every part is there and has its size and, `thoroughly`, its bytes; mark and name those that fail.

        A part that was marked and is whole again, because its file was put back, counts again.
        """
        found = []
        for name, digest, size, recipients, events, first, last in con.execute(_LEDGER).fetchall():
            reason = _fault(self.path(name), size, digest if thoroughly else None)
            if reason is None and not thoroughly:
                continue
            con.execute("UPDATE part SET damage = $why WHERE name = $name AND damage IS DISTINCT FROM $why",
                        {"name": name, "why": reason})  # fmt: skip
            if reason is not None:
                found.append(Damage(name, reason, recipients, events, _days(first, last)))
        return found


def optional(branch: Callable[[str], str], since: int | None, until: int | None, span: str) -> str:
    """A piece of SQL over a relation of packed rows, to be filled in by `Parts.bind`, or left out where none exist.

    A question's text is written before its transaction begins; which files belong to it is known only inside.
    """
    return f"/*sealed {span} {since} {until}*/{branch(_HOLE)}/*end*/"


_HOLE = "sealed_rows()"
_OPTIONAL = re.compile(r"/\*sealed (?P<span>\w+) (?P<since>\w+) (?P<until>\w+)\*/(?P<branch>.*?)/\*end\*/", re.DOTALL)
_MEASURE = """
SELECT count(*), coalesce(sum(n), 0)::BIGINT, coalesce(sum(len(events)), 0)::BIGINT,
       epoch_us(min(injected_at)), epoch_us(max(injected_at)),
       min(least(epoch_us(injected_at), epoch_us(injected_at) + first_event_at)),
       max(epoch_us(injected_at) + greatest(0, terminal_moment, coalesce(terminal_moment, 0) + last_event_at,
           oob_moment, complained_at))
FROM read_parquet('{}')
"""
_LEDGER = """
SELECT name, digest, bytes, recipients, events, epoch_us(first_injected), epoch_us(last_injected)
FROM part ORDER BY name
"""


def _sync(path: Path) -> str:
    """Bring a file to disk; the SHA-256 of its bytes."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fault(path: Path, size: int, digest: str | None) -> str | None:
    try:
        found = path.stat().st_size
        if found != size:
            return f"has {found} bytes instead of {size}"
        if digest is not None:
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    return "its bytes are not what was written"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def _days(first: int, last: int) -> str:
    begin, end = (format_instant(instant // DAY * DAY)[:10] for instant in (first, last))
    return begin if begin == end else f"{begin} to {end}"
