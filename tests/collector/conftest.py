"""Records to put into logs, and a store to find them in."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from collector.testing import MemoryStore

Records = Callable[..., bytes]


def _record(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "type": "Delivery",
        "id": f"{number:032x}",
        "sender": "news@sender.example",
        "recipient": f"user{number}@mailbox.example",
        "queue": "spring:acme@mailbox.example",
        "size": 1000 + number,
        "response": {"code": 250, "enhanced_code": None, "content": "queued", "command": ".\r\n"},
        "peer_address": {"name": "mx.mailbox.example", "addr": "192.0.2.25"},
        "timestamp": 1_700_000_000 + number,
        "event_time": None,
        "created": 1_700_000_000,
        "num_attempts": 0,
        "meta": {},
        "headers": {},
        "delivery_protocol": "ESMTP",
        "nodeid": "557f3ad4-2c8c-11ee-976e-782d7e12e173",
    } | fields


@pytest.fixture
def records() -> Records:
    """`records(3)` gives three lines of a log, `records(3, start=7)` the three from number 7 on."""

    def lines(count: int, *, start: int = 0, **fields: Any) -> bytes:
        return b"".join(json.dumps(_record(n, **fields)).encode() + b"\n" for n in range(start, start + count))

    return lines


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()
