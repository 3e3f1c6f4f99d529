"""The same log over three roads at once, into the real store, with the owner killed again and again.

Whatever a kill interrupts, afterwards the store holds what a store holds that read the log once, in peace; and every
record that was received is accounted for.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import struct
import sys
import time
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from analytics.enrich import Enricher
from analytics.store import Store
from collector.ingest import ingest_paths
from mta.events.pseudonym import Keyring
from mtascope.resources import provider_map, reply_classifier, taxonomy

KILLS = int(os.environ.get("MTASCOPE_KILLS", "200"))
MESSAGES = 3_000
BEGAN = int(time.time()) - 3600
"""Mail of today, which is not sealed yet: all of it stands in tables that can be compared."""
BATCH = 100
ROADS = ("tail", "lumberjack", "elasticsearch")

OWNER = """
import asyncio, signal, sys, threading
from pathlib import Path
from analytics.enrich import Enricher
from analytics.store import Store
from collector.drain import Drain
from collector.follower import Follower
from collector.roads import Roads, landing_folders
from collector.settings import CollectorSettings
from mta.events.pseudonym import Keyring
from mtascope.resources import provider_map, reply_classifier, taxonomy

async def main():
    root, lumberjack, elasticsearch = Path(sys.argv[1]), *map(int, sys.argv[2:])
    settings = CollectorSettings.model_validate({
        "paths": [str(root / "logs")], "lumberjack": {"port": lumberjack}, "elasticsearch": {"port": elasticsearch},
        "batch_age_s": 0.05, "batch_records": 300, "landing_free_bytes": 0, "poll_interval_s": 0.05,
    })
    enricher = Enricher(Keyring(b"i" * 32, {1: b"r" * 32}), provider_map(), taxonomy(), reply_classifier())
    store = Store(root / "store.duckdb", enricher)
    follower, drain = Follower(settings, store), Drain(landing_folders(root / "landing"), store, settings)
    threads = [threading.Thread(target=one.run, daemon=True) for one in (follower, drain)]
    for thread in threads:
        thread.start()
    roads = Roads(settings, root / "landing")
    await roads.start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    print("ready", flush=True)
    await stopped.wait()
    await roads.stop()
    await asyncio.sleep(2)  # what was landed is read, and the file to its end
    for one, thread in zip((follower, drain), threads):
        one.stop()
        await asyncio.to_thread(thread.join)
    store.close()

asyncio.run(main())
"""


def log_lines() -> list[bytes]:
    """A node's log: receptions, deliveries, deferrals, bounces; now and then a line that is none, or not ours.

    The domains name their providers: what is only learned on the way depends on what was read before, by design.
    """
    chance = random.Random(3)
    lines = []
    for number in range(MESSAGES):
        lines.append(_record(number, "Reception", 0, 250, "OK"))
        if chance.random() < 0.2:
            lines.append(_record(number, "TransientFailure", 1, 421, f"4.7.28 Unusual rate of mail {number}"))
        kind, code, text = (
            ("Delivery", 250, f"queued {number}") if chance.random() < 0.9 else ("Bounce", 550, "unknown")
        )
        lines.append(_record(number, kind, 2, code, text))
        if number % 100 == 0:
            lines += [b"a line of a template", b'{"type": "Delivery", "queue": "null"}']
    return lines


def _record(number: int, kind: str, after: int, code: int, text: str) -> bytes:
    at = BEGAN + number // 10
    return json.dumps(
        {
            "type": kind,
            "id": f"{number:030x}ab",
            "sender": "news@sender.example",
            "recipient": f"user{number}@{('gmail.com', 'yahoo.com')[number % 2]}",
            "queue": "spring:acme@mailbox.example",
            "size": 2000,
            "response": {"code": code, "enhanced_code": None, "content": text, "command": ".\r\n"},
            "peer_address": {"name": "mx.mailbox.example", "addr": "192.0.2.25"},
            "event_time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{after}00{number % 1000:03}Z",
            "timestamp": at,
            "created": BEGAN - 60,
            "num_attempts": max(0, after - 1),
            "meta": {},
            "headers": {"Message-ID": f"<{number}@sender.example>"},
            "delivery_protocol": "ESMTP",
            "nodeid": "node-1",
        }
    ).encode()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


Send = Callable[[list[bytes], int], Awaitable[None]]


def _by_lumberjack(port: int) -> Send:
    async def send(lines: list[bytes], first: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            events = [json.dumps(_shipped(line, first + n)).encode() for n, line in enumerate(lines)]
            frames = b"".join(b"2J" + struct.pack(">II", n, len(one)) + one for n, one in enumerate(events, 1))
            content = zlib.compress(frames)
            writer.write(b"2W" + struct.pack(">I", len(events)) + b"2C" + struct.pack(">I", len(content)) + content)
            while int.from_bytes((await reader.readexactly(6))[2:], "big") < len(events):
                pass
        finally:
            writer.close()

    return send


def _by_bulk(client: httpx.AsyncClient, port: int) -> Send:
    async def send(lines: list[bytes], first: int) -> None:
        actions = ('{"create":{}}\n' + json.dumps(_shipped(line, first + n)) + "\n" for n, line in enumerate(lines))
        (await client.post(f"http://127.0.0.1:{port}/_bulk", content="".join(actions))).raise_for_status()

    return send


def _shipped(line: bytes, offset: int) -> dict[str, Any]:
    return {"message": line.decode(), "host": {"name": "node-1"}, "log": {"offset": offset, "file": {"path": "/k"}}}


async def _until_accepted(lines: list[bytes], send: Send, done: asyncio.Event) -> None:
    """Every batch again and again until it is acknowledged; once through, batches at random, until all is done."""
    starts, chance = list(range(0, len(lines), BATCH)), random.Random(11)
    while starts or not done.is_set():
        start = starts[0] if starts else chance.randrange(0, len(lines), BATCH)
        with suppress(OSError, httpx.HTTPError, asyncio.IncompleteReadError, TimeoutError):
            async with asyncio.timeout(5):
                await send(lines[start : start + BATCH], start)
            if starts:
                starts.pop(0)
        await asyncio.sleep(0.1)


async def _grow(path: Path, lines: list[bytes], done: asyncio.Event) -> None:
    """Write the log slowly, half of it under a name that it then leaves."""
    for start in range(0, len(lines), BATCH):
        if start == len(lines) // 2 // BATCH * BATCH:
            os.replace(path, f"{path}.1")  # noqa: PTH105 - a rename takes no time worth a thread
        with path.open("ab") as log:
            log.write(b"".join(line + b"\n" for line in lines[start : start + BATCH]))
        with suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), 0.3)


def _open(path: Path) -> Store:
    return Store(path, Enricher(Keyring(b"i" * 32, {1: b"r" * 32}), provider_map(), taxonomy(), reply_classifier()))


def _kept(store: Store) -> list[Any]:
    return [
        store.query("SELECT * EXCLUDE loaded_at FROM event ORDER BY event_id"),
        store.query("SELECT * FROM unit ORDER BY unit_id"),
        store.query(
            "SELECT metric, labels, round(value, 3) FROM counter "
            "WHERE metric NOT LIKE 'mtascope_collector%' ORDER BY ALL"
        ),
    ]


def _accounts(store: Store) -> dict[tuple[str, str], int]:
    rows = store.query("SELECT labels, value FROM counter WHERE metric = 'mtascope_collector_records_total'")
    return {tuple(json.loads(labels)): int(value) for labels, value in rows}


@pytest.mark.e2e
@pytest.mark.soak
@pytest.mark.timeout(300 + 12 * KILLS)
async def test_kills_at_random_moments_over_three_roads_change_nothing(tmp_path: Path) -> None:
    chance, done, lines = random.Random(7), asyncio.Event(), log_lines()
    (tmp_path / "logs").mkdir()
    lumberjack, elasticsearch = _free_port(), _free_port()
    arguments = ["-c", OWNER, str(tmp_path), str(lumberjack), str(elasticsearch)]

    async def start() -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        return process

    async with httpx.AsyncClient() as client, asyncio.TaskGroup() as group:
        growing = group.create_task(_grow(tmp_path / "logs" / "mail.log", lines, done))
        for send in (_by_lumberjack(lumberjack), _by_bulk(client, elasticsearch)):
            group.create_task(_until_accepted(lines, send, done))
        for _ in range(KILLS):
            process = await start()
            await asyncio.sleep(chance.uniform(0, 0.4))
            process.kill()
            await process.wait()
        process = await start()
        done.set()
        await growing
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0

    with _open(tmp_path / "store.duckdb") as store, _open(tmp_path / "clean.duckdb") as clean:
        receipt, _ = ingest_paths([str(tmp_path / "logs")], clean)
        assert receipt.adds_up
        assert receipt.received == len(lines)
        for left, right in zip(_kept(store), _kept(clean), strict=True):
            assert left == right
        accounts = _accounts(store)
    assert sum(count for (_, result), count in accounts.items() if result == "stored") == receipt.stored
    assert sum(count for (road, _), count in accounts.items() if road == "tail") == len(lines)
    assert {road for (road, result), count in accounts.items() if count and result != "quarantined"} >= set(ROADS)
