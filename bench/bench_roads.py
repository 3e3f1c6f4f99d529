"""How many events a second each road makes durable, and how long a sender waits for its acknowledgement.

Run: .venv/bin/python bench/bench_roads.py [SECONDS]. A collector in a process of its own lands what four connections
send as fast as it is acknowledged, in batches as real shippers make them, and parses it meanwhile into a store that
does nothing. Events are about 1.3 KiB: a KumoMTA record as Filebeat wraps it. Syslog over TCP has no acknowledgement:
there the time counts until the last message is on disk; rsyslog, where installed, writes the same stream to a file,
unsynced.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import psutil

CONNECTIONS = 4
COLLECTOR = """
import asyncio, sys, threading
from pathlib import Path
from collector.drain import Drain
from collector.roads import Roads, landing_folders
from collector.settings import CollectorSettings
from mta.events.intake import Receipt

class Sink:
    def load(self, batch):
        return Receipt(batch.received, len(batch.records), 0, len(batch.quarantined), sum(batch.ignored.values()))
    def checkpoint(self, source):
        return None

async def main():
    loop = asyncio.get_running_loop()
    root = Path(sys.argv[1])
    tables = {road: {"port": 0} for road in ("http", "lumberjack", "elasticsearch", "syslog")}
    settings = CollectorSettings.model_validate(tables)
    drain = Drain(landing_folders(root), Sink(), settings)
    threading.Thread(target=drain.run, daemon=True).start()
    roads = Roads(settings, root)
    await roads.start()
    print(*(f"{road}={port}" for road, (_, port) in roads.addresses.items()), flush=True)
    while await loop.run_in_executor(None, sys.stdin.buffer.readline):
        print(sum(health.records for health in roads.health.values()), drain.receipt.received, flush=True)

asyncio.run(main())
"""

_RECORD = {
    "type": "Delivery", "sender": "bounce+4711@news.sender.example", "queue": "spring:acme@mailbox.example",
    "site": "ip1->(mx1|mx2).mailbox.example@smtp_client", "size": 24_512, "timestamp": 1_757_675_281,
    "response": {"code": 250, "enhanced_code": {"class": 2, "subject": 0, "detail": 0},
                 "content": "OK 1757675281 queued as 4cM7cK1Xz9", "command": ".\r\n"},
    "peer_address": {"name": "mx1.mailbox.example", "addr": "198.51.100.7"},
    "event_time": "2025-09-12T11:08:01.440526026Z", "created": 1_757_675_279,
    "created_time": "2025-09-12T11:07:59.120000Z", "num_attempts": 0, "bounce_classification": "Uncategorized",
    "egress_pool": "warm", "egress_source": "ip1", "source_address": {"address": "192.0.2.200:38112"},
    "feedback_report": None, "meta": {"tenant": "acme"}, "headers": {"Message-ID": "<4711@news.sender.example>"},
    "delivery_protocol": "ESMTP", "reception_protocol": "ESMTP", "nodeid": "557f3ad4-2c8c-11ee-976e-782d7e12e173",
}  # fmt: skip
_WRAP = {
    "@timestamp": "2025-09-12T11:08:02.000Z", "@metadata": {"beat": "filebeat", "type": "_doc", "version": "9.2.0"},
    "host": {"name": "relay-1"}, "input": {"type": "filestream"}, "ecs": {"version": "8.0.0"},
    "agent": {"id": "2b0c1c0e-5b8e-4a7d-9d5f-0c1f5d3a2b1c", "name": "relay-1", "type": "filebeat"},
}  # fmt: skip


def lines(count: int, start: int) -> list[bytes]:
    return [
        json.dumps(_RECORD | {"id": f"{n:032x}", "recipient": f"user{n}@mailbox.example"}).encode()
        for n in range(start, start + count)
    ]


def events(count: int, start: int) -> list[bytes]:
    return [
        json.dumps(_WRAP | {"message": line.decode(), "log": {"offset": n, "file": {"path": "/var/log/k"}}}).encode()
        for n, line in enumerate(lines(count, start))
    ]


def window(count: int, start: int) -> bytes:
    frames = b"".join(b"2J" + struct.pack(">II", n, len(one)) + one for n, one in enumerate(events(count, start), 1))
    content = zlib.compress(frames, 3)
    return b"2W" + struct.pack(">I", count) + b"2C" + struct.pack(">I", len(content)) + content


Step = Callable[[], Awaitable[None]]


async def lumberjack(port: int, batch: int, start: int) -> Step:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = window(batch, start)

    async def step() -> None:
        writer.write(data)
        while int.from_bytes((await reader.readexactly(6))[2:], "big") < batch:
            pass

    return step


async def post(url: str, body: bytes) -> Step:
    client = httpx.AsyncClient(timeout=60)
    content = gzip.compress(body, 1)

    async def step() -> None:
        (await client.post(url, content=content, headers={"Content-Encoding": "gzip"})).raise_for_status()

    return step


async def measure(name: str, batch: int, steps: list[Step], seconds: float) -> None:
    waits: list[float] = []
    deadline = time.monotonic() + seconds

    async def run(step: Step) -> None:
        while time.monotonic() < deadline:
            began = time.monotonic()
            await step()
            waits.append(time.monotonic() - began)

    began = time.monotonic()
    await asyncio.gather(*map(run, steps))
    rate = batch * len(waits) / (time.monotonic() - began)
    waits.sort()
    p99 = waits[min(len(waits) - 1, int(0.99 * len(waits)))]
    print(f"{name:34} {rate:10,.0f} events/s durable   ack p50 {waits[len(waits) // 2]:.3f} s  p99 {p99:.3f} s")


def stream(port: int, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(data)


def syslog(port: int, landed: Callable[[], int], seconds: float) -> None:
    count = int(20_000 * seconds)
    message = b"".join(b"<22>" + line + b"\n" for line in lines(1000, 0))
    before, began = landed(), time.monotonic()
    stream(port, message * (count // 1000))
    while landed() - before < count:
        time.sleep(0.02)
    print(f"{'syslog over TCP':34} {count / (time.monotonic() - began):10,.0f} messages/s durable")


def rsyslog(folder: Path, seconds: float) -> None:
    if not shutil.which("rsyslogd"):
        print("rsyslog: not installed")
        return
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    out, count = folder / "rsyslog.out", int(20_000 * seconds)
    (folder / "rsyslog.conf").write_text(
        f'global(workDirectory="{folder}" maxMessageSize="64k")\nmodule(load="imtcp")\n'
        f'template(name="raw" type="string" string="%rawmsg%\\n")\n'
        f'input(type="imtcp" port="{port}" address="127.0.0.1")\naction(type="omfile" file="{out}" template="raw")\n'
    )
    process = subprocess.Popen(
        [shutil.which("rsyslogd") or "rsyslogd", "-n", "-f", folder / "rsyslog.conf", "-i", folder / "pid"],
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(1)
        message = b"".join(b"<22>" + line + b"\n" for line in lines(1000, 0))
        size, began = len(message) * (count // 1000), time.monotonic()
        stream(port, message * (count // 1000))
        while not out.exists() or out.stat().st_size < size * 0.99:
            time.sleep(0.02)
        print(
            f"{'  peer: rsyslog, imtcp to a file':34} {count / (time.monotonic() - began):10,.0f} messages/s unsynced"
        )
    finally:
        process.terminate()
        process.wait()


def main(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = subprocess.Popen(
            [sys.executable, "-c", COLLECTOR, str(folder / "landing")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        ports = {road: int(port) for road, port in (word.split(b"=") for word in process.stdout.readline().split())}

        def counts() -> list[int]:
            process.stdin.write(b"?\n")
            process.stdin.flush()
            return [int(word) for word in process.stdout.readline().split()]

        try:
            asyncio.run(_acknowledged(ports, seconds))
            syslog(ports[b"syslog"], lambda: counts()[0], seconds)
            rsyslog(folder, seconds)
            memory = psutil.Process(process.pid).memory_info().rss
            landed, parsed = counts()
            print(f"{'parsed meanwhile, one core':34} {100 * parsed / landed:9.0f} % of {landed:,} events")
            print(f"{'collector':34} {memory / 2**20:10,.0f} MiB RSS; {os.cpu_count()} cores shared with the senders")
        finally:
            process.kill()
            process.wait()


async def _acknowledged(ports: dict[bytes, int], seconds: float) -> None:
    for batch in (2048, 200):
        steps = [await lumberjack(ports[b"lumberjack"], batch, batch * n) for n in range(CONNECTIONS)]
        await measure(f"Lumberjack, windows of {batch}", batch, steps, seconds)
    action = b'{"create":{}}\n'
    url = f"http://127.0.0.1:{ports[b'elasticsearch']}/_bulk"
    bodies = [b"".join(action + one + b"\n" for one in events(1600, 1600 * n)) for n in range(CONNECTIONS)]
    await measure("_bulk, 1600 events, gzip", 1600, [await post(url, body) for body in bodies], seconds)
    url = f"http://127.0.0.1:{ports[b'http']}/v1/records"
    bodies = [b"\n".join(lines(2000, 2000 * n)) for n in range(CONNECTIONS)]
    await measure("HTTP NDJSON, 2000 records, gzip", 2000, [await post(url, body) for body in bodies], seconds)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
