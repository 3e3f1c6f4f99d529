"""A Redis list is emptied into the store; a crash in between loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket

import pytest

from collector.settings import RedisSettings
from collector.sources.redis import _Connection

SECRET = "sesame"  # noqa: S105


def events(data: bytes) -> list[bytes]:
    return [json.dumps({"message": line.decode()}).encode() for line in data.splitlines()]


async def call(port: int, *words: bytes):
    connection = await _Connection.open(RedisSettings(port=port, password=SECRET))
    try:
        return await connection.call(*words)
    finally:
        connection.close()


async def stored(roads, count: int) -> list[str]:
    async with asyncio.timeout(10):
        while len(roads.recipients) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return roads.recipients


# --- a server of our own, for what a real one does not do -----------------------------------------------------


@pytest.mark.parametrize(
    "answer", [b"-NOAUTH Authentication required.\r\n", b"HTTP/1.1 400\r\n", b"$99999999999\r\n", b"x" * 200_000, b""]
)
@pytest.mark.parametrize("password", [None, SECRET])
async def test_whatever_answers_in_place_of_redis_is_survived_and_shown(open_roads, answer, password):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        with contextlib.suppress(ConnectionError):
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    roads = await open_roads(redis={"port": server.sockets[0].getsockname()[1], "password": password})
    async with asyncio.timeout(5):
        while not roads.health("redis").refusals["protocol"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert roads.health("redis").last_refusal.startswith("Redis: ")
    server.close()
    await server.wait_closed()


# --- the real one ---------------------------------------------------------------------------------------------


@pytest.fixture
async def redis(tmp_path):
    """Starts a Redis with a password on a free port; its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = [
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(tmp_path),
        "--requirepass",
        SECRET,
    ]
    process = await asyncio.create_subprocess_exec("redis-server", *words, stdout=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(OSError):
                    await call(port, b"PING")
                    break
                await asyncio.sleep(0.02)
        yield port
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.e2e
@pytest.mark.peer
@pytest.mark.skipif(not shutil.which("redis-server"), reason="needs redis-server")
async def test_a_list_is_emptied_also_of_what_a_crash_left_half_done(open_roads, records, redis):
    sent = events(records(700))
    await call(redis, b"RPUSH", b"mail:mtascope", *sent[:100])
    await call(redis, b"RPUSH", b"mail", *sent[100:])
    roads = await open_roads(redis={"port": redis, "key": "mail", "password": SECRET})
    assert sorted(await stored(roads, 700)) == sorted(f"user{n}@mailbox.example" for n in range(700))
    await call(redis, b"RPUSH", b"mail", *events(records(5, start=700)))
    assert len(await stored(roads, 705)) == 705
    assert [await call(redis, b"LLEN", key) for key in (b"mail", b"mail:mtascope")] == [0, 0]
    assert roads.store.receipt.duplicates == 0
