"""Syslog over TCP, TLS and UDP."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest

HEADERS = {
    "RFC 5424": b"<22>1 2026-01-01T00:00:00.5Z relay-1 kumod 99 - - ",
    "RFC 5424 with structured data": b'<22>1 2026-01-01T00:00:00Z relay-1 kumod - ID [a@1 b="c\\]"][d] ',
    "RFC 3164": b"<22>Jan  1 00:00:00 relay-1 kumod[99]: ",
    "bare": b"<22>",
    "nothing": b"",
}


def counted(message: bytes) -> bytes:
    return b"%d %s" % (len(message), message)


async def send(address, data: bytes, **options) -> None:
    _, writer = await asyncio.open_connection(*address, **options)
    writer.write(data)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def landed(roads, count: int) -> list[str]:
    async with asyncio.timeout(5):
        while len(roads.recipients) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return roads.recipients


@pytest.mark.parametrize("frame", [counted, lambda message: message + b"\n"], ids=["counted", "line ends"])
@pytest.mark.parametrize("header", HEADERS)
async def test_records_in_syslog_messages_are_stored(open_roads, records, frame, header):
    roads = await open_roads(syslog={})
    data = b"".join(frame(HEADERS[header] + line) for line in records(3).splitlines())
    await send(roads.at("syslog"), data)
    assert await landed(roads, 3) == [f"user{n}@mailbox.example" for n in range(3)]


async def test_messages_come_over_tls(open_roads, records, certificates):
    server = certificates["server"]
    roads = await open_roads(syslog={"tls": {"certificate": server[0], "key": server[1]}})
    context = ssl.create_default_context(cafile=certificates["ca"][0])
    await send(roads.at("syslog"), records(3), ssl=context, server_hostname="localhost")
    assert len(await landed(roads, 3)) == 3


async def test_datagrams_are_gathered_and_stored(open_roads, records):
    roads = await open_roads(syslog={"udp": True})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for line in records(20).splitlines():
            sock.sendto(b"<22>" + line, roads.at("syslog"))
    assert len(await landed(roads, 20)) == 20


async def test_datagrams_that_there_is_no_room_for_are_counted_as_lost(open_roads, records):
    roads = await open_roads(syslog={"udp": True}, shared={"landing_free_bytes": 1 << 62})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for line in records(7).splitlines():
            sock.sendto(b"<22>" + line, roads.at("syslog"))
    async with asyncio.timeout(5):
        while roads.health("syslog").refusals["lost"] < 7:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert roads.drain().receipt.received == 0


async def test_a_stream_without_sense_is_cut(open_roads):
    roads = await open_roads(syslog={})
    reader, writer = await asyncio.open_connection(*roads.at("syslog"))
    writer.write(b"4294967295 <22>")
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
    assert roads.health("syslog").refusals["limit"] == 1


async def test_a_message_that_stalls_is_cut(open_roads):
    roads = await open_roads(syslog={"stall_s": 0.1})
    reader, writer = await asyncio.open_connection(*roads.at("syslog"))
    writer.write(b"100 <22>half")
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
    assert roads.health("syslog").refusals["timeout"] == 1
