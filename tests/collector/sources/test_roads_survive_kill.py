"""A collector killed at random moments while the same records come by three roads: each is stored once.

`MTASCOPE_KILLS` sets how often it is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import sqlite3
import struct
import sys
import zlib
from collections.abc import Awaitable, Callable

import httpx
import pytest

KILLS = int(os.environ.get("MTASCOPE_KILLS", "12"))
RECORDS = 1500
BATCH = 25

COLLECTOR = '''
import asyncio, sqlite3, sys, threading
from pathlib import Path
from collector.drain import Drain
from collector.roads import Roads, landing_folders
from collector.settings import CollectorSettings
from mta.events.intake import Checkpoint, Receipt

class DurableStore:
    """Keeps each recipient once, in one transaction with the checkpoints."""

    def __init__(self, path):
        self.lock = threading.Lock()
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.db.executescript(
            "PRAGMA journal_mode=WAL; CREATE TABLE IF NOT EXISTS stored (recipient PRIMARY KEY);"
            "CREATE TABLE IF NOT EXISTS refused (reason);"
            "CREATE TABLE IF NOT EXISTS checkpoint (source PRIMARY KEY, at, finished);"
        )

    def load(self, batch):
        with self.lock:
            self.db.execute("BEGIN IMMEDIATE")
            for events in batch.records:
                for event in events:
                    self.db.execute("INSERT OR IGNORE INTO stored VALUES (?)", (event.recipient,))
            for item in batch.quarantined:
                self.db.execute("INSERT INTO refused VALUES (?)", (item.reason,))
            for point in batch.checkpoints:
                row = (point.source, point.offset, point.finished)
                self.db.execute("REPLACE INTO checkpoint VALUES (?, ?, ?)", row)
            self.db.execute("COMMIT")
        return Receipt(batch.received, len(batch.records), 0, len(batch.quarantined), sum(batch.ignored.values()))

    def checkpoint(self, source):
        row = self.db.execute("SELECT at, finished FROM checkpoint WHERE source = ?", (source,)).fetchone()
        return Checkpoint(source, row[0], finished=bool(row[1])) if row else None

async def main():
    root, http, lumberjack, elasticsearch = Path(sys.argv[1]), *map(int, sys.argv[2:])
    settings = CollectorSettings.model_validate({
        "http": {"port": http}, "lumberjack": {"port": lumberjack}, "elasticsearch": {"port": elasticsearch},
        "batch_age_s": 0.02, "batch_records": 40, "landing_free_bytes": 0,
    })
    drain = Drain(landing_folders(root / "landing"), DurableStore(root / "store.sqlite"), settings)
    threading.Thread(target=drain.run, daemon=True).start()
    await Roads(settings, root / "landing").start()
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
'''

Send = Callable[[list[str]], Awaitable[None]]


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


async def _until_accepted(lines: list[str], send: Send, pace: float) -> None:
    """Send batch by batch, each again and again until it is acknowledged."""
    for start in range(0, len(lines), BATCH):
        while True:
            try:
                async with asyncio.timeout(5):
                    await send(lines[start : start + BATCH])
                break
            except (OSError, httpx.HTTPError, asyncio.IncompleteReadError, TimeoutError):
                await asyncio.sleep(0.02)
        await asyncio.sleep(pace)


def _by_lumberjack(port: int) -> Send:
    async def send(lines: list[str]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            events = [json.dumps({"message": line}).encode() for line in lines]
            frames = b"".join(b"2J" + struct.pack(">II", n, len(one)) + one for n, one in enumerate(events, 1))
            content = zlib.compress(frames)
            writer.write(b"2W" + struct.pack(">I", len(events)) + b"2C" + struct.pack(">I", len(content)) + content)
            while int.from_bytes((await reader.readexactly(6))[2:], "big") < len(events):
                pass
        finally:
            writer.close()

    return send


def _by_http(client: httpx.AsyncClient, url: str, wrap: Callable[[str], str]) -> Send:
    async def send(lines: list[str]) -> None:
        (await client.post(url, content="".join(map(wrap, lines)))).raise_for_status()

    return send


def _as_action(line: str) -> str:
    return '{"create":{}}\n' + json.dumps({"message": line}) + "\n"


def _stored(path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return sorted(row[0] for row in connection.execute("SELECT recipient FROM stored"))
    finally:
        connection.close()


@pytest.mark.e2e
@pytest.mark.timeout(60 + 5 * KILLS)
async def test_every_record_is_stored_once_however_often_the_collector_is_killed(tmp_path, records):
    chance = random.Random(7)
    ports = _free_ports(3)
    lines = records(RECORDS).decode().splitlines()
    arguments = ["-c", COLLECTOR, str(tmp_path), *map(str, ports)]

    async def start() -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        return process

    async with httpx.AsyncClient() as client, asyncio.TaskGroup() as group:
        http, lumberjack, elasticsearch = ports
        pace = KILLS * 0.15 * BATCH / RECORDS
        senders = [
            group.create_task(_until_accepted(lines, send, pace))
            for send in (
                _by_http(client, f"http://127.0.0.1:{http}/v1/records", lambda line: line + "\n"),
                _by_http(client, f"http://127.0.0.1:{elasticsearch}/_bulk", _as_action),
                _by_lumberjack(lumberjack),
            )
        ]
        for _ in range(KILLS):
            process = await start()
            await asyncio.sleep(chance.uniform(0, 0.3))
            process.kill()
            await process.wait()
        process = await start()
        await asyncio.wait(senders)
    expected = sorted(f"user{n}@mailbox.example" for n in range(RECORDS))
    async with asyncio.timeout(20):
        while _stored(tmp_path / "store.sqlite") != expected:  # noqa: ASYNC110 - another process makes it so
            await asyncio.sleep(0.1)
    process.kill()
    await process.wait()
    connection = sqlite3.connect(tmp_path / "store.sqlite")
    assert connection.execute("SELECT count(*) FROM refused").fetchone() == (0,)
    connection.close()
