"""Records and webhooks by HTTP: accepted is durable, refused is clear, and slow or huge senders cost little."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import zlib

import httpx
import pytest
import zstandard
from pydantic import ValidationError

from collector.settings import CollectorSettings

KUMOMTA = "/v1/webhooks/kumomta"


@pytest.fixture
async def post():
    """POST, with everything that httpx can do."""
    async with httpx.AsyncClient() as client:
        yield client.post


def expected(count: int) -> list[str]:
    return [f"user{number}@mailbox.example" for number in range(count)]


BODIES = {
    "ndjson": lambda data: data,
    "no final line end": lambda data: data[:-1],
    "array": lambda data: b"[" + b",".join(data.splitlines()) + b"]",
    "array of strings": lambda data: json.dumps([line.decode() for line in data.splitlines()]).encode(),
    "crlf": lambda data: data.replace(b"\n", b"\r\n"),
}


@pytest.mark.parametrize("path", ["/v1/records", KUMOMTA])
@pytest.mark.parametrize("layout", BODIES)
async def test_records_are_taken_in_every_layout(open_roads, post, records, layout, path):
    roads = await open_roads(http={})
    answer = await post(roads.url("http") + path, content=BODIES[layout](records(3)))
    assert (answer.status_code, answer.json()) == (200, {"accepted": 3})
    assert roads.recipients == expected(3)


async def test_one_object_may_be_spread_over_lines(open_roads, post, records):
    roads = await open_roads(http={})
    body = json.dumps(json.loads(records(1)), indent=2)
    await post(roads.url("http") + "/v1/records", content=body)
    assert roads.recipients == expected(1)


@pytest.mark.parametrize(
    ("encoding", "squeeze"),
    [
        ("gzip", gzip.compress),
        ("gzip", lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:])),
        ("deflate", zlib.compress),
        ("zstd", zstandard.compress),
        ("identity", bytes),
    ],
    ids=["gzip", "gzip members", "deflate", "zstd", "identity"],
)
async def test_bodies_may_be_compressed(open_roads, post, records, encoding, squeeze):
    roads = await open_roads(http={})
    answer = await post(
        roads.url("http") + "/v1/records", content=squeeze(records(500)), headers={"Content-Encoding": encoding}
    )
    assert answer.json() == {"accepted": 500}
    assert len(roads.recipients) == 500


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("gzip", gzip.compress(bytes(20_000_000)), 413),
        ("zstd", zstandard.compress(bytes(20_000_000)), 413),
        ("gzip", gzip.compress(b"x" * 1000)[:-9], 400),
        ("zstd", zstandard.compress(b"x" * 1000)[:-1], 400),
        ("gzip", b"no gzip", 400),
        ("snappy", b"x", 415),
        ("", b"x" * 100_001, 413),
    ],
    ids=["gzip bomb", "zstd bomb", "cut gzip", "cut zstd", "no gzip", "unknown", "plain"],
)
async def test_bodies_that_cannot_be_taken_are_refused_by_name_and_counted(open_roads, post, encoding, body, status):
    roads = await open_roads(http={"max_body_bytes": 100_000})
    answer = await post(roads.url("http") + "/v1/records", content=body, headers={"Content-Encoding": encoding})
    assert answer.status_code == status
    assert answer.json()["error"]
    assert sum(roads.health("http").refusals.values()) == 1
    assert roads.drain().receipt.received == 0


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ({"Authorization": "Bearer first"}, 200),
        ({"Authorization": "Bearer second"}, 200),
        ({"Authorization": "Basic YW55Ym9keTpmaXJzdA=="}, 200),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Basic \xe4".encode("latin-1")}, 401),
        ({}, 401),
    ],
)
async def test_a_token_is_asked_for_where_one_is_set(open_roads, post, records, header, status):
    roads = await open_roads(http={"tokens": ["first", "second"]})
    answer = await post(roads.url("http") + "/v1/records", content=records(1), headers=header)
    assert answer.status_code == status
    assert roads.health("http").refusals["unauthorised"] == (status == 401)


async def test_a_sender_is_told_to_come_again_when_there_is_no_room(open_roads, post, records):
    roads = await open_roads(http={"landing_bytes": 1 << 20})
    refused = None
    for start in range(0, 10_000, 500):
        answer = await post(roads.url("http") + "/v1/records", content=records(500, start=start))
        if answer.status_code == 429:
            refused = start
            break
    assert refused
    assert int(answer.headers["retry-after"]) > 0
    assert roads.drain().receipt.stored == refused


async def test_a_webhook_waits_for_room_and_is_never_told_no(open_roads, post, records):
    roads = await open_roads(http={"landing_bytes": 1 << 20})
    filled = 0
    while roads.health("webhook").landing_bytes < 900_000:
        await post(roads.url("http") + KUMOMTA, content=records(200, start=filled))
        filled += 200
    waiting = asyncio.create_task(post(roads.url("http") + KUMOMTA, content=records(500, start=filled), timeout=20))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    roads.drain()
    assert (await waiting).status_code == 200
    assert roads.drain().receipt.stored == filled + 500


async def test_a_webhook_that_must_be_refused_is_cut_off_so_that_it_comes_again(open_roads, post, records):
    roads = await open_roads(http={"memory_bytes": 1 << 20})
    with pytest.raises(httpx.TransportError):
        await post(roads.url("http") + KUMOMTA, content=records(3000))
    answer = await post(roads.url("http") + KUMOMTA, content=records(3))
    assert answer.status_code == 200


async def test_a_webhook_with_a_wrong_token_is_cut_off_so_that_it_comes_again(open_roads, post, records):
    roads = await open_roads(http={"tokens": ["right"]})
    with pytest.raises(httpx.TransportError):
        await post(roads.url("http") + KUMOMTA, content=records(1), headers={"Authorization": "Bearer wrong"})
    assert roads.health("http").refusals["unauthorised"] + roads.health("webhook").refusals["unauthorised"] == 1


async def test_a_body_that_drips_is_cut_in_the_end(open_roads):
    roads = await open_roads(http={"stall_s": 0.06})
    _, writer = await asyncio.open_connection(*roads.at("http"))
    writer.write(b"POST /v1/records HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        for _ in range(40):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.03)
    assert roads.health("http").refusals["timeout"] == 1
    writer.close()


async def test_what_cannot_be_read_is_accepted_and_quarantined(open_roads, post, records):
    roads = await open_roads(http={}, shared={"max_line_bytes": 5000})
    body = b"no record\n" + records(1) + b"x" * 6000 + b"\n[1,\n"
    assert (await post(roads.url("http") + KUMOMTA, content=body)).json() == {"accepted": 4}
    receipt = roads.drain().receipt
    assert (receipt.stored, receipt.quarantined) == (1, 3)
    assert {item.size for item in roads.store.quarantined.values()} >= {6000}


async def test_the_sender_names_host_path_and_offset_of_its_lines(open_roads, post):
    roads = await open_roads(http={}, shared={"format": "kumomta"})
    place = {"X-Log-Host": "relay-7", "X-Log-Path": "/var/log/mail", "X-Log-Offset": "1000"}
    for _ in range(2):
        await post(roads.url("http") + "/v1/records", content=b"junk\nmore junk\n", headers=place)
    receipt = roads.drain().receipt
    assert (receipt.quarantined, receipt.duplicates) == (2, 2)
    assert sorted(offset for _, offset in roads.store.quarantined) == [1000, 1005]


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"POST /v1/records HT",
        b"POST /v1/records HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nPOST /v1/rec",
    ],
    ids=["nothing", "half a head", "half a body", "half a second head"],
)
async def test_a_connection_that_stalls_is_cut(open_roads, beginning):
    roads = await open_roads(http={"stall_s": 0.2})
    reader, writer = await asyncio.open_connection(*roads.at("http"))
    writer.write(beginning)
    async with asyncio.timeout(5):
        while True:
            try:
                if not await reader.read(4096):
                    break
            except ConnectionResetError:
                break
    assert roads.health("http").refusals["timeout"] == 1
    writer.close()


async def test_connections_beyond_the_limit_and_from_other_networks_are_cut(open_roads, post):
    roads = await open_roads(http={"max_connections": 1})
    held = await asyncio.open_connection(*roads.at("http"))
    await asyncio.sleep(0.05)
    with pytest.raises(httpx.TransportError):
        await post(roads.url("http") + "/v1/records", content=b"x")
    assert roads.health("http").refusals["connections"] == 1
    held[1].close()
    foreign = await open_roads(elasticsearch={"networks": ["192.0.2.0/24"]})
    with pytest.raises(httpx.TransportError):
        await post(foreign.url("elasticsearch") + "/_bulk", content=b"x")
    assert foreign.health("elasticsearch").refusals["unauthorised"] == 1


@pytest.mark.parametrize("road", ["http", "elasticsearch", "lumberjack", "syslog"])
def test_a_road_that_anybody_could_use_is_refused(road):
    with pytest.raises(ValidationError, match="reachable from outside"):
        CollectorSettings.model_validate({road: {"host": "0.0.0.0"}})  # noqa: S104
    CollectorSettings.model_validate({road: {"host": "0.0.0.0", "networks": ["10.0.0.0/8"]}})  # noqa: S104
