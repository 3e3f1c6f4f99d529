"""How many log records one core parses, and how many it gets from stored segments into batches.

Run: .venv/bin/python bench/bench_parse.py [RECORDS]. The records are about as long as real ones (1 KiB). `parse` is the
dialect alone; `ingest` decompresses, cuts lines, parses and gathers, with a store that does nothing.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import zstandard

from collector.formats.kumomta import parse_line
from collector.ingest import ingest_paths
from mta.events.intake import Batch, Checkpoint, Receipt

_RECORD = {
    "sender": "bounce+4711@news.sender.example",
    "site": "ip1->(mx1|mx2).mailbox.example@smtp_client",
    "size": 24_512,
    "peer_address": {"name": "mx1.mailbox.example", "addr": "198.51.100.7"},
    "timestamp": 1_757_675_281,
    "event_time": "2025-09-12T11:08:01.440526026Z",
    "created": 1_757_675_279,
    "created_time": "2025-09-12T11:07:59.120000Z",
    "num_attempts": 0,
    "bounce_classification": "Uncategorized",
    "egress_pool": "warm",
    "egress_source": "ip1",
    "source_address": {"address": "192.0.2.200:38112"},
    "feedback_report": None,
    "meta": {"tenant": "acme", "campaign": "spring"},
    "headers": {"Message-ID": "<4711.spring@news.sender.example>"},
    "delivery_protocol": "ESMTP",
    "reception_protocol": "ESMTP",
    "nodeid": "557f3ad4-2c8c-11ee-976e-782d7e12e173",
    "tls_cipher": "TLS_AES_256_GCM_SHA384",
    "tls_protocol_version": "TLSv1.3",
    "session_id": "557f3ad4-2c8c-11ee-976e-782d7e12e174",
}
_ANSWERS = (
    ("Delivery", 250, (2, 0, 0), "OK 1757675281 queued as 4cM7cK1Xz9"),
    ("TransientFailure", 421, (4, 7, 28), "Our system has detected an unusual rate of mail, try again later"),
    ("Bounce", 550, (5, 1, 1), "The account that you tried to reach does not exist"),
)


class _Sink:
    """A store that only counts."""

    def load(self, batch: Batch) -> Receipt:
        return Receipt(batch.received, len(batch.records), 0, len(batch.quarantined), sum(batch.ignored.values()))

    def checkpoint(self, source: str) -> Checkpoint | None:  # noqa: ARG002
        return None


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    lines = [_line(number) for number in range(count)]
    print(f"{count} records of {sum(map(len, lines)) // count} bytes, one process")
    _measure("orjson.loads alone", count, lambda: [orjson.loads(line) for line in lines])
    _measure("parse", count, lambda: [parse_line(line) for line in lines])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "20250912-110801"
        content = b"\n".join(lines) + b"\n"
        path.write_bytes(content)
        _measure("ingest, plain", count, lambda: ingest_paths([folder], _Sink()))
        path.write_bytes(zstandard.ZstdCompressor().compress(content))
        _measure("ingest, zstd", count, lambda: ingest_paths([folder], _Sink()))


def _line(number: int) -> bytes:
    kind, code, enhanced, text = _ANSWERS[0 if number % 10 < 8 else number % 2 + 1]
    domain = f"mailbox{number % 50}.example"
    status = dict(zip(("class", "subject", "detail"), enhanced, strict=True))
    own = {
        "type": kind,
        "id": f"{number:032x}",
        "recipient": f"user{number}@{domain}",
        "queue": f"spring:acme@{domain}",
        "response": {"code": code, "enhanced_code": status, "content": text, "command": ".\r\n"},
    }
    return json.dumps(own | _RECORD).encode()


def _measure(name: str, count: int, work: Callable[[], object]) -> None:
    """The best of three, because neighbours on the machine only ever slow it down."""
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    print(f"  {name:<20} {count / best:>10,.0f} records/s")


if __name__ == "__main__":
    main()
