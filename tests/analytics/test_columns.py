"""Lines that the engine reads in columns tell exactly what the same lines tell when they are read one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.columns import Told, tell_unread
from analytics.staging import create_clear, tell
from collector.drain import Drain
from collector.formats.kumomta import opened
from collector.formats.kumomta_sql import COLUMN_READER
from collector.framing.lines import Lines
from collector.framing.parcels import Parcel, Shape
from collector.ingest import ingest_paths
from collector.landing import Landing
from collector.roads import landing_folders
from collector.settings import CollectorSettings
from collector.unread import LinesOfFile
from mta.events.intake import Quarantined, Unread

RECORD: dict[str, Any] = {
    "type": "Delivery",
    "id": "d7ef132b5d7711eea8c8000c29c33806",
    "sender": "b+1@news.sender.example",
    "recipient": "ada@mailbox.example",
    "queue": "spring:acme@mailbox.example",
    "site": "ip1->mx@smtp_client",
    "size": 1047,
    "response": {
        "code": 250,
        "enhanced_code": {"class": 2, "subject": 0, "detail": 0},
        "content": "OK ids=8f45",
        "command": ".\r\n",
    },
    "peer_address": {"name": "mx1.mailbox.example.", "addr": "2a00:1450:4025:c01::1b"},
    "timestamp": 1_757_675_281,
    "created": 1_757_675_279,
    "event_time": "2025-09-12T11:08:01.440526926Z",
    "created_time": "2025-09-12T11:07:59.120000Z",
    "num_attempts": 0,
    "bounce_classification": "Uncategorized",
    "egress_pool": "warm",
    "egress_source": "ip1",
    "source_address": {"address": "192.0.2.200:38112"},
    "feedback_report": None,
    "meta": {"tenant": "acme", "campaign": "spring"},
    "headers": {"Message-ID": "<4711.spring@news.sender.example>", "Subject": "Hello"},
    "delivery_protocol": "ESMTP",
    "reception_protocol": "ESMTP",
    "nodeid": "557f3ad4-2c8c-11ee-976e-782d7e12e173",
    "tls_protocol_version": "TLSv1.3",
}
PLAIN: Sequence[dict[str, Any]] = (
    RECORD,
    RECORD | {"type": "Reception", "source_address": None, "headers": {"DKIM-Signature": "v=1;\r\n\td=A.Example; s=k"}},
    RECORD | {"type": "TransientFailure", "num_attempts": 3, "peer_address": {"name": "mx.", "addr": "192.0.2.1:25"}},
    RECORD | {"type": "Bounce", "headers": {}, "meta": {}, "queue": "mailbox.example"},
    RECORD | {"type": "Expiration", "event_time": None, "created_time": None, "peer_address": None},
    RECORD | {"queue": "acme@mailbox.example!relay.example", "size": 0, "headers": {"message-id": "4711@x"}},
    RECORD | {"type": "Bounce", "response": RECORD["response"] | {"content": "KumoMTA internal: no route"}},
    RECORD | {"meta": {"mtascope_seq": 7, "pool": "warm", "mtascope_direction": "inbound"}, "egress_pool": None},
)

ABSENT = object()
TEXTS = (
    "", "x", "7", "-1.5e3", "true", "null", "[1]", "{}", "<a@b.example>", "a@b@c.example", " spaced ",
    "Ünï@cödé.example",
    "2025-09-12T24:00:00Z", "2025-02-30T00:00:00Z", "2025-09-12T11:08:01+02:00", "2025-09-12T11:08:01Z", "null@null",
    "4.2.2 mailbox full", "5.1.1", "MAIL FROM:<a@b>\r\n", "rcpt\tto", "1.2.3.4", "1.2.3.400", "[::1]:25", "::1",
    "1:0::2", "fe80::1:0:0:2", "1:2:3:4:5:6:7:8", "1::3:4:5:6:7:8", "1:0:0:4:5:6:7:8", "::ffff:1.2.3.4", "a.log_hook",
    "a@b.kumomta.internal", "LogRecord", "Rejection", "OOB", "Feedback", "AdminBounce", "XferOut", ":@x.example",
    "KumoMTA internal: x", "v=1; d=News.Example; s=k", "a:b:c@x.example", "<4711@x>", "\u0000", "1:2:3:4:5:6:7::",
)  # fmt: skip
VALUES = (
    ABSENT, None, True, 0, 1, -1, 999, 1000, 65_536, 2**31, 2**62, 2**63, 2**64, 1.5, 1e300, [], {}, ["a@b.example"],
    ["a@b.example", "c@d.example"], {"class": 5, "subject": 1, "detail": 1}, {"name": "mx", "addr": "::1"},
)  # fmt: skip
NESTED = [(key, inner) for key, value in RECORD.items() if isinstance(value, dict) for inner in value]
NESTED += [("response", "enhanced_code", inner) for inner in ("class", "subject", "detail")]
NESTED += [
    ("meta", key)
    for key in ("message_id", "mtascope_seq", "mtascope_suppressed", "mtascope_direction", "pool", "dkim_domain")
]
NESTED += [("headers", key) for key in ("message-id", "Message-Id", "MESSAGE-ID", "X-Message-ID", "DKIM-Signature")]
PLACES = [*((key,) for key in RECORD), *NESTED]
NOT_RECORDS = (b"", b" ", b"{", b"{}", b"[1]", b"a template's line", b'{"type": 5}', b"\xff\xfe", b'{"a":"\xff"}')


def changed(record: dict[str, Any], place: Sequence[str], value: object) -> dict[str, Any]:
    """The record with one value replaced, wherever it stands; ABSENT takes the key out."""
    head, *rest = place
    inner = record.get(head)
    if rest:
        return record | {head: changed(inner if isinstance(inner, dict) else {}, rest, value)}
    if value is ABSENT:
        return {key: kept for key, kept in record.items() if key != head}
    return record | {head: value}


def some_line(random: Random) -> bytes:
    """An everyday record with up to two values changed; sometimes something else altogether."""
    if random.random() < 0.05:
        return random.choice(NOT_RECORDS)
    record = random.choice(PLAIN)
    for _ in range(random.choice((0, 1, 1, 2))):
        record = changed(record, random.choice(PLACES), random.choice(TEXTS + VALUES))
    return json.dumps(record, ensure_ascii=random.random() < 0.5).encode()


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with closing(duckdb.connect()) as connection:
        yield connection


@given(seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_both_readers_agree_on_every_line(con: duckdb.DuckDBPyConnection, seed: int) -> None:
    random = Random(seed)
    lines = [some_line(random) for _ in range(40)]
    rest = LinesOfFile("file", Lines(0, 0, lines), opened(), 100)
    one_by_one = [rest.read(number) for number in range(len(lines))]
    refused = tuple(outcome for outcome in one_by_one if isinstance(outcome, Quarantined))
    ignored = sum(isinstance(outcome, str) for outcome in one_by_one)

    create_clear(con)
    told = tell_unread(con, [Unread(lines, COLUMN_READER, rest.read)], 0)
    assert told == Told(len(lines) - len(refused) - ignored, refused, ignored)
    in_columns = con.execute("FROM clear ORDER BY ALL").fetchall()

    create_clear(con)
    tell(con, [(number, outcome) for number, outcome in enumerate(one_by_one) if isinstance(outcome, tuple)])
    for left, right in zip(in_columns, con.execute("FROM clear ORDER BY ALL").fetchall(), strict=True):
        assert left == right, lines[left[0]]


@pytest.mark.parametrize("record", PLAIN, ids=lambda record: record["type"])
def test_everyday_records_are_read_by_the_engine_itself(con: duckdb.DuckDBPyConnection, record: dict[str, Any]) -> None:
    def ask(index: int) -> Any:
        raise AssertionError(f"line {index} was passed over")

    create_clear(con)
    assert tell_unread(con, [Unread([orjson.dumps(record)], COLUMN_READER, ask)], 0).understood == 1


def contents(store: Any) -> Iterator[Any]:
    """Everything that a load leaves in the store, but for when it was."""
    yield store.query("SELECT * EXCLUDE loaded_at FROM event ORDER BY event_id")
    yield store.query("SELECT * FROM unit ORDER BY unit_id")
    yield store.query("SELECT metric, labels, value FROM counter ORDER BY ALL")
    yield store.query("SELECT * EXCLUDE quarantined_at FROM quarantine ORDER BY ALL")
    yield store.query("SELECT source, read_to, finished FROM checkpoint ORDER BY ALL")


def test_a_store_that_reads_columns_holds_what_one_holds_that_does_not(tmp_path: Path, store_at: Any) -> None:
    odd = [
        b"a template's own line",
        b"",
        orjson.dumps(RECORD | {"size": "large"}),
        orjson.dumps(RECORD | {"type": "Novel"}),
    ]
    log = tmp_path / "log"
    numbered = enumerate(record for _ in range(200) for record in PLAIN)
    kinds = [orjson.dumps(record | {"id": f"{number:031x}a"}) for number, record in numbered]
    log.write_bytes(b"\n".join([*kinds, *odd, *kinds[:10]]) + b"\n")
    receipts = []
    with store_at(tmp_path / "a") as quick, store_at(tmp_path / "b") as slow:
        receipts = [ingest_paths([str(log)], store)[0] for store in (quick, OneByOne(slow))]
        for left, right in zip(contents(quick), contents(slow), strict=True):
            assert left == right
    assert receipts[0] == receipts[1]
    assert (receipts[0].stored, receipts[0].quarantined, receipts[0].ignored) == (1600, 3, 1)
    assert receipts[0].duplicates == 10
    assert receipts[0].adds_up


async def land(folder: Path, shipped: Sequence[bytes]) -> None:
    landing = Landing(folder)
    landing.open()
    for first in range(0, len(shipped), 400):
        await landing.land(Parcel(shipped[first : first + 400], Shape.EVENT, "relay-1"))
    landing.close()


async def test_what_shippers_send_is_read_in_columns_too(tmp_path: Path, store_at: Any) -> None:
    records = [record | {"id": f"{number:031x}b"} for number, record in enumerate(PLAIN * 200)]
    odd = [b"{", b'{"message": "no log of ours", "log": {"offset": 7}}']
    wrapped = [
        orjson.dumps({"message": orjson.dumps(record).decode(), "log": {"offset": number}, "host": {"name": "relay-1"}})
        for number, record in enumerate(records)
    ]
    found = []
    with store_at(tmp_path / "a") as quick, store_at(tmp_path / "b") as slow:
        for name, store in (("quick", quick), ("slow", OneByOne(slow))):
            await land(tmp_path / name / "lumberjack", [*wrapped, *wrapped[:5], *odd])
            drain = Drain(landing_folders(tmp_path / name), store, CollectorSettings())
            while drain.step():
                pass
            drain.flush()
            drain.close()
            found.append(drain.receipt)
        for left, right in zip([*contents(quick)][:4], [*contents(slow)][:4], strict=True):
            assert without_segments(left) == without_segments(right)
    assert found[0] == found[1]
    assert (found[0].stored, found[0].duplicates, found[0].quarantined) == (1600, 5, 2)


def without_segments(rows: list[Any]) -> list[Any]:
    """Segments are named by the clock and by chance."""
    return sorted(
        (tuple("landing" if str(value).startswith("landing:") else value for value in row) for row in rows), key=str
    )


class OneByOne:
    """A store that says nothing of columns."""

    def __init__(self, store: Any) -> None:
        self.load = store.load
        self.checkpoint = store.checkpoint
