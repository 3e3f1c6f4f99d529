"""A collector killed at random moments, again and again, while the logs grow: every record is stored once."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zstandard

RECORDS = 6000
KILLS = 12

COLLECTOR = '''
import sqlite3, sys
from collector.follower import Follower
from collector.settings import CollectorSettings
from mta.events.intake import Batch, Checkpoint, Receipt

class DurableStore:
    """Counts how often each record was stored, in one transaction with the checkpoints."""

    def __init__(self, path):
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def load(self, batch):
        self.db.execute("BEGIN IMMEDIATE")
        for events in batch.records:
            for event in events:
                self.db.execute("INSERT INTO stored VALUES (?)", (event.recipient,))
        for item in batch.quarantined:
            self.db.execute("INSERT INTO refused VALUES (?)", (item.reason,))
        for point in batch.checkpoints:
            self.db.execute("REPLACE INTO checkpoint VALUES (?, ?, ?)", (point.source, point.offset, point.finished))
        self.db.execute("COMMIT")
        return Receipt(batch.received, len(batch.records), 0, len(batch.quarantined), sum(batch.ignored.values()))

    def checkpoint(self, source):
        row = self.db.execute("SELECT at, finished FROM checkpoint WHERE source = ?", (source,)).fetchone()
        return Checkpoint(source, row[0], finished=bool(row[1])) if row else None

settings = CollectorSettings(
    paths=(sys.argv[2],), batch_records=50, batch_age_s=0.01, poll_interval_s=0.01, idle_close_s=1, max_open_files=2
)
print("ready", flush=True)
Follower(settings, DurableStore(sys.argv[1])).run()
'''


class _GrowingLogs:
    """Segments as a mail server writes them: plain or zstd, flushed now and then, marked when full."""

    def __init__(self, folder: Path, lines: list[bytes], chance: random.Random) -> None:
        self._folder = folder
        self._lines = lines
        self._chance = chance
        self._segment = 0

    def grow(self, count: int) -> None:
        """One whole segment of `count` lines, written in uneven pieces."""
        lines, self._lines = self._lines[:count], self._lines[count:]
        if not lines:
            return
        path = self._folder / f"{self._segment:06d}"
        self._segment += 1
        writer = zstandard.ZstdCompressor().compressobj() if self._segment % 2 else None
        with path.open("wb", buffering=0) as log:
            for line in lines:
                raw = line if writer is None else writer.compress(line)
                if writer is not None and self._chance.random() < 0.2:
                    raw += writer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
                cut = self._chance.randrange(len(raw) + 1)
                log.write(raw[:cut])
                log.write(raw[cut:])
            if writer is not None:
                log.write(writer.flush())
        path.chmod(0o444)


def _start(database: Path, folder: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", COLLECTOR, str(database), str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    _, messages = process.communicate()
    assert b"Traceback" not in messages


def _stored(database: Path) -> list[str]:
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT recipient FROM stored").fetchall()
    connection.close()
    return sorted(row[0] for row in rows)


@pytest.mark.e2e
def test_every_record_is_stored_once_however_often_the_collector_is_killed(tmp_path, records):
    chance = random.Random(20)
    folder = tmp_path / "logs"
    folder.mkdir()
    database = tmp_path / "store.sqlite"
    connection = sqlite3.connect(database)
    connection.executescript(
        "PRAGMA journal_mode=WAL; CREATE TABLE stored (recipient); CREATE TABLE refused (reason);"
        "CREATE TABLE checkpoint (source PRIMARY KEY, at, finished);"
    )
    connection.close()
    logs = _GrowingLogs(folder, records(RECORDS).splitlines(keepends=True), chance)
    for _ in range(KILLS):
        process = _start(database, folder)
        for _ in range(2):
            logs.grow(RECORDS // (2 * KILLS))
        time.sleep(chance.uniform(0, 0.04))
        _kill(process)
    process = _start(database, folder)
    deadline = time.monotonic() + 20
    while len(_stored(database)) < RECORDS and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.1)
    _kill(process)
    assert _stored(database) == sorted(f"user{n}@mailbox.example" for n in range(RECORDS))
