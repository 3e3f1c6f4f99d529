"""The store: the sole owner of the database file. Everything that is kept goes through here, everything asked too.

One process owns the file (DuckDB lets no second one even read it). Inside that process one writer at a time loads
batches; any number of readers ask through their own cursors and see whole transactions only.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import duckdb

from analytics import learning
from analytics.enrich import Enricher
from analytics.errors import StoreBusy, StoreDamaged, StoreError, StoreFull
from analytics.load import Loader
from analytics.migrations import migrate
from analytics.parts import Damage, Part, Parts
from analytics.sealed import Sealed
from analytics.settings import StoreSettings
from analytics.stager import Staged, Stager
from analytics.suppressor import Suppressor
from analytics.tending import Tending
from analytics.transaction import transaction
from mta.events.instants import DAY
from mta.events.intake import Batch, Checkpoint, Receipt
from mta.events.provider import Provider
from mta.events.pseudonym import Keyring

__all__ = ["Store"]

_log = logging.getLogger(__name__)


def _wall_clock() -> int:
    return time.time_ns() // 1000


class Store:
    """Events, outcomes, figures and reports in one DuckDB file.

    `path` is the database file; its folder is made if absent. `clock` gives the instant of loading in microseconds.
    Raises StoreBusy when another process owns the file, SchemaTooNew after a downgrade, StoreDamaged when it is no
    database that can be read.
    """

    def __init__(
        self,
        path: Path,
        enricher: Enricher,
        settings: StoreSettings | None = None,
        clock: Callable[[], int] = _wall_clock,
    ) -> None:
        self.path = path
        self._enricher = enricher
        self.clock = clock
        self._settings = settings or StoreSettings()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._con = _open(path, self._settings)
        try:
            migrate(self._con, path, clock())
            self._parts = Parts(path)
            self._parts.sweep(self._con, at_once=True)
            self._parts.verify(self._con, thoroughly=False)
            self._sealed = Sealed(self._con, self._parts)
            self._stager = Stager(self._con, enricher)
            self.suppression = Suppressor(self._settings.suppression, enricher.keyring)
            self._loader = Loader(self._con, enricher, self._sealed, self.suppression, self._settings.restate_days)
            self._tending = Tending(self._con, self._loader, self._sealed, self._parts, self._settings, now=clock())
        except BaseException:
            self._con.close()
            raise
        self._write_lock = threading.Lock()
        self.loads = 0
        """Batches loaded since the store was opened."""

    def stage(self, batch: Batch) -> Staged:
        """Take a batch apart before its turn, while another may be loading. StoreFull and StoreError keep nothing."""
        with _named_errors(self.path):
            return self._stager.stage(batch)

    def load(self, batch: Batch | Staged) -> Receipt:
        """Store a batch in one transaction; returns after the commit. StoreFull and StoreError keep nothing."""
        staged = batch if isinstance(batch, Staged) else self.stage(batch)
        with self._write_lock, _named_errors(self.path):
            receipt = self._loader.load(staged, self.clock())
            self._stager.forget(staged)
            self.loads += 1
            self._tending.after_load(receipt.events_stored, self.clock())
        return receipt

    @property
    def identity_broken(self) -> int:
        """By how many recipients the counting identity failed after the last load; 0 is right."""
        return self._loader.identity_broken

    @property
    def queue_lifetime(self) -> int:
        """How long mail may wait in a queue, in microseconds."""
        return round(self._settings.queue_lifetime_days * DAY)

    def checkpoint(self, source: str) -> Checkpoint | None:
        """How far `source` was read, as of the last commit."""
        rows = self.query("SELECT read_to, path, finished FROM checkpoint WHERE source = ?", [source])
        return Checkpoint(source, rows[0][0], rows[0][1], finished=rows[0][2]) if rows else None

    @property
    def keyring(self) -> Keyring:
        """The keys that pseudonyms are made with."""
        return self._loader.keyring

    def recipient_hashes(self, address: str) -> list[int]:
        """The pseudonyms of an address under every key that is still kept, the newest first."""
        keyring = self._loader.keyring
        return [keyring.recipient_hash(address, epoch) for epoch in sorted(keyring.recipient_keys, reverse=True)]

    def message_keys(self, queue_id: str) -> list[int]:
        """The identities that a message with this queue id has on each node that was ever heard of."""
        nodes = self.query("SELECT node FROM watermark")
        return [self._loader.keyring.message_key(node, queue_id) for (node,) in nodes]

    def query(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Rows of one SELECT, on a cursor of its own: readers never wait for the writer, nor for each other.

        Sealed history that the text asks for (analytics/relations.py) is found in the same transaction. A part that
        turns out to be damaged is named in the log, and the question is answered without it.
        """
        with _named_errors(self.path):
            try:
                return self._ask(sql, parameters)
            except duckdb.Error:
                if self._parts.bind(self._con.cursor(), sql) == sql or not self.verify():
                    raise
                _log.exception("a sealed part cannot be read; it is passed over until it is put back")
            return self._ask(sql, parameters)

    def _ask(self, sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        cursor = self._con.cursor()
        try:
            cursor.begin()
            return cursor.execute(self._parts.bind(cursor, sql), parameters).fetchall()
        finally:
            cursor.close()

    def learn_provider(self, domain: str, provider: Provider) -> None:
        """Remember who serves a domain, for mail from now on."""
        with self.writing() as con:
            told = learning.remember(con, domain, provider, self.clock())
        self._enricher.learned |= told

    def bound(self, con: duckdb.DuckDBPyConnection, sql: str) -> str:
        """A text of analytics/relations.py with the sealed history of now, for a cursor of one's own."""
        return self._parts.bind(con, sql)

    @property
    def parts(self) -> Parts:
        """The sealed parts; whoever changes them does so inside `writing`."""
        return self._parts

    def part_files(self) -> list[Path]:
        """The files of every sealed part that can be relied on."""
        return [self._parts.path(name) for name in self._parts.names(self._con.cursor())]

    @property
    def event_columns(self) -> Mapping[str, str]:
        """Columns of the table `event` and their types."""
        return self._sealed.columns

    def tend(self, *, thoroughly: bool = False) -> list[Part]:
        """Settle late reports and seal old mail now rather than when it is due; the parts that were made.

        `thoroughly` seals all that may be sealed, however little it is.
        """
        with self._write_lock, _named_errors(self.path):
            return self._tending.tend(self.clock(), least=1 if thoroughly else None)

    def verify(self) -> list[Damage]:
        """Check every sealed part, byte by byte; what is damaged is passed over from now on, and named here."""
        with self.writing() as con:
            return self._parts.verify(con)

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The writer's connection inside a transaction of its own; loads wait. Committed at the end, or undone."""
        with self._write_lock, _named_errors(self.path), transaction(self._con):
            yield self._con

    @contextmanager
    def at_rest(self) -> Iterator[Path]:
        """The database file with everything in it and nobody writing: copy it while inside."""
        with self._write_lock, _named_errors(self.path):
            self._con.execute("CHECKPOINT")
            yield self.path

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else writes meanwhile: for a writer with a connection of its own; its errors get their names here."""
        with self._write_lock, _named_errors(self.path):
            yield

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor for several questions; close it."""
        return self._con.cursor()

    def size(self) -> int:
        """Bytes on disk: the database file, its write-ahead log and the sealed parts."""
        files = (self.path, self.path.with_name(self.path.name + ".wal"), *self._parts.files())
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Check point and give the file back."""
        with self._write_lock:
            self._con.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(path: Path, settings: StoreSettings) -> duckdb.DuckDBPyConnection:
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": settings.threads,
        "memory_limit": settings.memory_limit,
        "checkpoint_threshold": f"{settings.checkpoint_megabytes}MB",
        "temp_directory": str(path.parent / "spill"),
        "preserve_insertion_order": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    try:
        return duckdb.connect(str(path), config=config)
    except duckdb.IOException as error:
        if "lock" in str(error).lower():
            raise StoreBusy(
                "another process owns the store",
                where=str(path),
                remedy="ask it through its socket, or stop it",
            ) from error
        raise StoreDamaged(f"cannot be opened: {error}", where=str(path), remedy="restore a backup") from error
    except duckdb.Error as error:
        raise StoreDamaged(f"cannot be opened: {error}", where=str(path), remedy="restore a backup") from error


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Translate the database's errors once, here."""
    try:
        yield
    except duckdb.Error as error:
        text = str(error)
        if "No space left" in text or "disk quota" in text.lower():
            raise StoreFull(
                "no space left to commit",
                where=str(path),
                remedy="free some disk; the load is repeated by itself",
            ) from error
        raise StoreError(text, where=str(path), remedy="see the message; nothing of this load was kept") from error
