"""OTLP log requests: the bytes that OpenTelemetry's own library wrote, and any others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.framing.otlp import events_of_json, events_of_protobuf
from mta.events.errors import ParseError

GOLDEN = Path(__file__).parents[2] / "data" / "otlp"

SHARED = {
    "host.name": "relay-1",
    "log.file.path": "/var/log/kumo",
    "log.offset": 4711,
    "ratio": 0.5,
    "ok": True,
    "negative": -5,
    "raw": "AAE=",
    "@timestamp": "2023-11-14T22:13:20.123456Z",
}
EVENTS = [SHARED | {"body": "a line of a log"}, SHARED | {"body": {"type": "Delivery", "codes": [250]}}]


def test_protobuf_is_read_as_it_was_meant():
    assert [json.loads(event) for event in events_of_protobuf((GOLDEN / "logs.bin").read_bytes())] == EVENTS


def test_json_says_the_same():
    assert [json.loads(event) for event in events_of_json((GOLDEN / "logs.json").read_bytes())] == EVENTS


def test_a_request_cut_anywhere_is_refused_or_shorter():
    data = (GOLDEN / "logs.bin").read_bytes()
    for cut in range(1, len(data)):
        with pytest.raises(ParseError):
            events_of_protobuf(data[:cut])


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"resourceLogs":5}', b'{"resourceLogs":[5]}', b'"x"'])
def test_json_that_is_no_request_is_refused(body):
    with pytest.raises(ParseError):
        events_of_json(body)


def test_values_nested_without_end_are_refused():
    value = b"\x0a\x01x"
    for _ in range(60):
        entry = b"\x0a" + _sized(value)
        value = b"\x2a" + _sized(entry)
    record = b"\x2a" + _sized(value)
    with pytest.raises(ParseError, match="nested"):
        events_of_protobuf(b"\x0a" + _sized(b"\x12" + _sized(b"\x12" + _sized(record))))


def _sized(content: bytes) -> bytes:
    size, out = len(content), b""
    while size > 127:
        out += bytes([size & 127 | 128])
        size >>= 7
    return out + bytes([size]) + content


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(data):
    for read in (events_of_protobuf, events_of_json):
        try:
            assert all(isinstance(json.loads(event), dict) for event in read(data))
        except ParseError:
            continue


@given(st.data())
def test_one_wrong_byte_is_survived(data):
    body = bytearray((GOLDEN / "logs.bin").read_bytes())
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        events_of_protobuf(bytes(body))
    except ParseError:
        return
