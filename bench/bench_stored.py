"""Events that shippers send, until they stand in the real store: how many a second, and how late.

    python bench/bench_stored.py [--events 120000] [--rate 5000] [--seconds 20]

One process receives over Lumberjack, lands, reads and loads, as the owner does; this one sends prepared windows of
distinct KumoMTA records as Filebeat wraps them. First as fast as they are acknowledged, then at a steady rate, with the
figures that boards ask for being read meanwhile. Sender and collector share the machine, whose load is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import orjson
import psutil
from bench_load import kumomta

COLLECTOR = """
import asyncio, sys, threading, time
from pathlib import Path
from analytics.enrich import Enricher
from analytics.snapshot import take_snapshot
from analytics.store import Store
from collector.drain import Drain
from collector.roads import Roads, landing_folders
from collector.settings import CollectorSettings
from mta.events.pseudonym import Keyring
from mtascope.resources import provider_map, reply_classifier, taxonomy

def read_boards(store):
    while True:
        take_snapshot(store)
        time.sleep(1)

async def main():
    loop, root = asyncio.get_running_loop(), Path(sys.argv[1])
    settings = CollectorSettings.model_validate({"lumberjack": {"port": 0}})
    enricher = Enricher(Keyring(b"i" * 32, {1: b"r" * 32}), provider_map(), taxonomy(), reply_classifier())
    store = Store(root / "store.duckdb", enricher)
    drain = Drain(landing_folders(root / "landing"), store, settings)
    threading.Thread(target=drain.run, daemon=True).start()
    threading.Thread(target=read_boards, args=(store,), daemon=True).start()
    roads = Roads(settings, root / "landing")
    await roads.start()
    print(roads.addresses["lumberjack"][1], flush=True)
    while await loop.run_in_executor(None, sys.stdin.buffer.readline):
        print(drain.receipt.events_stored, drain.receipt.received, flush=True)

asyncio.run(main())
"""
WINDOW, STEADY = 2048, 500


def window(lines: list[bytes], first: int) -> bytes:
    events = [
        orjson.dumps(
            {
                "@timestamp": "2025-09-12T11:08:02.000Z", "host": {"name": "relay-1"}, "input": {"type": "filestream"},
                "agent": {"type": "filebeat", "version": "9.2.0"}, "message": line.decode(),
                "log": {"offset": first + number, "file": {"path": "/var/log/kumomta/1"}},
            }
        )
        for number, line in enumerate(lines)
    ]  # fmt: skip
    frames = b"".join(b"2J" + struct.pack(">II", n, len(one)) + one for n, one in enumerate(events, 1))
    content = zlib.compress(frames, 3)
    return b"2W" + struct.pack(">I", len(events)) + b"2C" + struct.pack(">I", len(content)) + content


class Collector:
    """The process that receives and stores."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", COLLECTOR, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._ask, self._answer = self.process.stdin, self.process.stdout
        self.port = int(self._answer.readline())

    def stored(self) -> int:
        """Records committed by now, duplicates included."""
        self._ask.write(b"?\n")
        self._ask.flush()
        return int(self._answer.readline().split()[1])


async def send(port: int, windows: list[tuple[bytes, int]], waits: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while windows:
        data, count = windows.pop()
        began = time.monotonic()
        writer.write(data)
        while int.from_bytes((await reader.readexactly(6))[2:], "big") < count:
            pass
        waits.append(time.monotonic() - began)
    writer.close()


async def flood(collector: Collector, windows: list[tuple[bytes, int]], total: int) -> None:
    began = time.monotonic()
    await asyncio.gather(*(send(collector.port, windows, []) for _ in range(4)))
    durable = time.monotonic() - began
    while collector.stored() < total:  # noqa: ASYNC110 - another process makes it so
        await asyncio.sleep(0.05)
    stored = time.monotonic() - began
    print(
        f"  as fast as they go     {total / durable:>9,.0f} events/s durable  {total / stored:>9,.0f} events/s stored"
    )


async def steady(collector: Collector, windows: list[tuple[bytes, int]], rate: int, before: int) -> None:
    waits: list[float] = []
    sent: list[tuple[float, int]] = []
    late: list[float] = []
    total = before + sum(count for _, count in windows)

    async def watch() -> None:
        done = before
        while done < total:
            await asyncio.sleep(0.1)
            done = await asyncio.to_thread(collector.stored)
            while sent and sent[0][1] <= done:
                late.append(time.monotonic() - sent.pop(0)[0])

    watching = asyncio.create_task(watch())
    reached, began = before, time.monotonic()
    for number, (data, count) in enumerate(windows):
        await asyncio.sleep(max(0.0, began + number * STEADY / rate - time.monotonic()))
        reached += count
        sent.append((time.monotonic(), reached))
        await send(collector.port, [(data, count)], waits)
    await watching
    print(
        f"  at {rate:,} events/s      ack p50 {_at(waits, 0.5):.3f} s, p99 {_at(waits, 0.99):.3f} s   "
        f"sent to stored p50 {_at(late, 0.5):.2f} s, p95 {_at(late, 0.95):.2f} s"
    )


def _at(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=120_000)
    parser.add_argument("--rate", type=int, default=5_000)
    parser.add_argument("--seconds", type=int, default=20)
    given = parser.parse_args()
    lines = kumomta()
    portions = [list(itertools.islice(lines, WINDOW)) for _ in range(given.events // WINDOW)]
    flooding = [(window(portion, WINDOW * n), WINDOW) for n, portion in enumerate(portions)]
    slices = [list(itertools.islice(lines, STEADY)) for _ in range(given.rate * given.seconds // STEADY)]
    calm = [(window(portion, 10**9 + STEADY * n), STEADY) for n, portion in enumerate(slices)]
    print(f"Lumberjack into the store; load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        collector = Collector(Path(name))
        try:
            total = WINDOW * len(flooding)
            asyncio.run(flood(collector, flooding, total))
            asyncio.run(steady(collector, calm, given.rate, total))
            used = psutil.Process(collector.process.pid)
            print(
                f"  collector              {used.memory_info().rss >> 20} MB, {sum(used.cpu_times()[:2]):.1f} s of CPU"
            )
        finally:
            collector.process.kill()
            collector.process.wait()


if __name__ == "__main__":
    main()
