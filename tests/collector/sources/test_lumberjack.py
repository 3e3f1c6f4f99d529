"""The Lumberjack server: acknowledged is durable, waiting is told, and broken or slow peers are cut."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import struct
import zlib

import pytest

from collector.errors import LandingFull


def events(data: bytes, **fields) -> list[bytes]:
    """What Filebeat makes of lines of a log."""
    offset, made = 0, []
    for line in data.splitlines():
        event = {
            "@timestamp": "2026-01-01T00:00:00.000Z",
            "@metadata": {"beat": "filebeat", "type": "_doc", "version": "9.2.0"},
            "message": line.decode(),
            "log": {"offset": offset, "file": {"path": "/var/log/kumo"}},
            "host": {"name": "relay-1"},
            "input": {"type": "filestream"},
            "ecs": {"version": "8.0.0"},
        }
        made.append(json.dumps(event | fields).encode())
        offset += len(line) + 1
    return made


def batch(contents: list[bytes], first: int = 1, *, compress: bool = True) -> bytes:
    frames = b"".join(b"2J" + struct.pack(">II", n, len(one)) + one for n, one in enumerate(contents, first))
    if compress:
        content = zlib.compress(frames, 3)
        frames = b"2C" + struct.pack(">I", len(content)) + content
    return b"2W" + struct.pack(">I", len(contents)) + frames


class Shipper:
    """One connection that reads acknowledgements as Beats do."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ack(self) -> int:
        async with asyncio.timeout(10):
            frame = await self.reader.readexactly(6)
        assert frame[:2] == b"2A"
        return int.from_bytes(frame[2:], "big")

    async def send(self, contents: list[bytes]) -> int:
        """Send a window; how often we were told to wait."""
        self.writer.write(batch(contents))
        waits = 0
        while (sequence := await self.ack()) < len(contents):
            waits += sequence == 0
        return waits

    async def is_cut(self) -> bool:
        async with asyncio.timeout(10):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True


@pytest.fixture
async def connect():
    async with contextlib.AsyncExitStack() as stack:

        async def connect(address, **options) -> Shipper:
            shipper = Shipper(*await asyncio.open_connection(*address, **options))

            async def close() -> None:
                shipper.writer.close()
                with contextlib.suppress(OSError):
                    await shipper.writer.wait_closed()

            stack.push_async_callback(close)
            return shipper

        yield connect


async def test_windows_are_acknowledged_when_they_are_durable(open_roads, connect, records):
    roads = await open_roads(lumberjack={})
    shipper = await connect(roads.at("lumberjack"))
    shipper.writer.write(batch(events(records(3))))
    assert await shipper.ack() == 3
    shipper.writer.write(batch(events(records(2, start=3)), first=4, compress=False))
    assert await shipper.ack() == 5
    assert roads.recipients == [f"user{n}@mailbox.example" for n in range(5)]


async def test_windows_may_be_sent_before_the_last_one_was_acknowledged(open_roads, connect, records):
    roads = await open_roads(lumberjack={})
    shipper = await connect(roads.at("lumberjack"))
    shipper.writer.write(b"".join(batch(events(records(2, start=2 * n))) for n in range(4)))
    assert [await shipper.ack() for _ in range(4)] == [2, 2, 2, 2]
    assert len(roads.recipients) == 8


async def test_the_same_log_by_lumberjack_again_and_by_http_is_stored_once(open_roads, connect, records):
    import httpx

    roads = await open_roads(lumberjack={}, http={})
    shipper = await connect(roads.at("lumberjack"))
    await shipper.send(events(records(50)))
    await shipper.send(events(records(50)))
    async with httpx.AsyncClient() as client:
        await client.post(roads.url("http") + "/v1/records", content=records(60))
    receipt = roads.drain().receipt
    assert (receipt.received, receipt.stored, receipt.duplicates) == (160, 60, 100)


async def test_a_sender_that_must_wait_hears_that_we_are_alive_and_loses_nothing(open_roads, connect, records):
    roads = await open_roads(lumberjack={"keepalive_s": 0.05})
    landing = roads.roads._landings[0]
    check = landing.check_room

    def refuse(_size: int = 0) -> None:
        raise LandingFull("no room")

    landing.check_room = refuse
    shipper = await connect(roads.at("lumberjack"))
    sending = asyncio.create_task(shipper.send(events(records(10))))
    await asyncio.sleep(0.3)
    assert not sending.done()
    landing.check_room = check
    assert await sending >= 2
    assert roads.health("lumberjack").refusals["full"] == 1
    assert roads.drain().receipt.stored == 10


async def test_what_was_not_acknowledged_before_a_cut_comes_again_and_is_stored_once(open_roads, connect, records):
    roads = await open_roads(lumberjack={})
    sent = events(records(10))
    first = await connect(roads.at("lumberjack"))
    first.writer.write(batch(sent, compress=False)[:-20])
    await first.writer.drain()
    first.writer.close()
    second = await connect(roads.at("lumberjack"))
    await second.send(sent)
    assert roads.drain().receipt.stored == 10


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "protocol"),
        (b"2W\xff\xff\xff\xff", "limit"),
        (b"2W\0\0\0\1" + b"2J\0\0\0\1\xff\xff\xff\xff", "limit"),
        (b"2W\0\0\0\2" + b"2J\0\0\0\1\0\0\0\2{}", "timeout"),
        (b"2", "timeout"),
    ],
    ids=["HTTP", "huge window", "4 GB event", "a window that says too much", "one byte"],
)
async def test_a_broken_peer_is_cut_counted_and_does_not_disturb_its_neighbour(
    open_roads, connect, records, data, reason
):
    roads = await open_roads(lumberjack={"stall_s": 0.2})
    good, bad = await connect(roads.at("lumberjack")), await connect(roads.at("lumberjack"))
    bad.writer.write(data)
    assert await bad.is_cut()
    assert roads.health("lumberjack").refusals[reason] == 1
    await good.send(events(records(3)))
    assert roads.drain().receipt.received == 3


async def test_a_silent_peer_between_windows_is_left_alone_until_it_is_idle_for_long(open_roads, connect, records):
    roads = await open_roads(lumberjack={"stall_s": 0.05, "idle_s": 0.5})
    shipper = await connect(roads.at("lumberjack"))
    await shipper.send(events(records(1)))
    await asyncio.sleep(0.2)
    await shipper.send(events(records(1)))
    assert await shipper.is_cut()


async def test_connections_beyond_the_limit_are_cut(open_roads, connect, records):
    roads = await open_roads(lumberjack={"max_connections": 1})
    first = await connect(roads.at("lumberjack"))
    await first.send(events(records(1)))
    assert await (await connect(roads.at("lumberjack"))).is_cut()
    assert roads.health("lumberjack").refusals["connections"] == 1


async def test_an_event_without_a_readable_line_is_quarantined_and_acknowledged(open_roads, connect, records):
    roads = await open_roads(lumberjack={}, shared={"max_line_bytes": 4096})
    shipper = await connect(roads.at("lumberjack"))
    await shipper.send(
        [b"{not json", b"[]", b'{"message":5}', b'{"message":"%s"}' % (b"x" * 90_000), *events(records(1))]
    )
    receipt = roads.drain().receipt
    assert (receipt.stored, receipt.quarantined) == (1, 4)


# --- TLS ----------------------------------------------------------------------------------------------------


@pytest.fixture
def tls(certificates) -> dict:
    return {"certificate": certificates["server"][0], "key": certificates["server"][1]}


def trusting(certificates, client: str | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificates["ca"][0])
    if client:
        context.load_cert_chain(*certificates[client])
    return context


async def test_events_come_over_tls(open_roads, connect, records, certificates, tls):
    roads = await open_roads(lumberjack={"tls": tls})
    options = {"ssl": trusting(certificates), "server_hostname": "localhost"}
    shipper = await connect(roads.at("lumberjack"), **options)
    await shipper.send(events(records(5)))
    assert roads.drain().receipt.stored == 5


async def test_only_a_known_client_certificate_opens_the_road_and_names_the_sender(
    open_roads, connect, records, certificates, tls
):
    roads = await open_roads(lumberjack={"tls": tls | {"client_ca": certificates["ca"][0]}})
    names = {"server_hostname": "localhost"}
    for wrong in (None, "stranger"):
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):  # noqa: PT012
            shipper = await connect(roads.at("lumberjack"), ssl=trusting(certificates, wrong), **names)
            await shipper.send(events(records(1)))
    known = await connect(roads.at("lumberjack"), ssl=trusting(certificates, "client"), **names)
    await known.send([b'{"message":"junk"}'])
    assert roads.drain().receipt.received == 1


async def test_a_peer_that_speaks_no_tls_is_cut(open_roads, connect, tls):
    roads = await open_roads(lumberjack={"tls": tls})
    plain = await connect(roads.at("lumberjack"))
    plain.writer.write(batch([b"{}"]))
    assert await plain.is_cut()


# --- a client of another project ----------------------------------------------------------------------------


async def test_pylogbeat_is_served(open_roads, records):
    pylogbeat = pytest.importorskip("pylogbeat")
    roads = await open_roads(lumberjack={})
    host, port = roads.at("lumberjack")

    def ship() -> None:
        with pylogbeat.PyLogBeatClient(host, port, ssl_enable=False) as client:
            for start in range(0, 30, 10):
                client.send([json.loads(event) for event in events(records(10, start=start))])

    await asyncio.to_thread(ship)
    assert len(roads.recipients) == 30
