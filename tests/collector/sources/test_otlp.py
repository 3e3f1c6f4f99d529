"""OTLP/HTTP: what a Collector's filelog receiver sends is stored; what is no OTLP is refused once and for all."""

from __future__ import annotations

import gzip
import json

import httpx
import pytest


def request_of(data: bytes) -> bytes:
    records = [
        {"body": {"stringValue": line.decode()}, "timeUnixNano": "1700000000000000000"} for line in data.splitlines()
    ]
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).encode()


async def test_log_records_are_stored(open_roads, records):
    roads = await open_roads(otlp={})
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with httpx.AsyncClient() as client:
        answer = await client.post(
            roads.url("otlp") + "/v1/logs", content=gzip.compress(request_of(records(3))), headers=headers
        )
    assert (answer.status_code, answer.json()) == (200, {})
    assert roads.recipients == [f"user{n}@mailbox.example" for n in range(3)]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"\xff\xff", "application/x-protobuf", 400),
        (b"[", "application/json", 400),
        (b"", "application/x-protobuf", 200),
    ],
)
async def test_only_what_is_no_otlp_is_refused(open_roads, body, kind, status):
    roads = await open_roads(otlp={})
    async with httpx.AsyncClient() as client:
        answer = await client.post(roads.url("otlp") + "/v1/logs", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status
