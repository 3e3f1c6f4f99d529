"""A notebook gets the same frames from files, from a running owner and from an API."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
import uvicorn

from analytics.frames import Frames
from analytics.store import Store
from collector.sources.http_server import EmbeddedServer
from exporter.api import Backend, create_api
from exporter.prometheus import MetricsPage
from exporter.settings import HttpSettings
from mta.events.errors import SettingsError
from mta.events.event import Event, EventType
from mta.events.intake import Batch
from mta.events.reply import SmtpReply
from mtascope.notebooks import Closed, Remote, frames
from mtascope.opened_store import open_store
from mtascope.settings import load_settings

START = 1_780_000_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(load_settings(None, tmp_path / "var")) as opened:
        events = []
        for number in range(10):
            common: dict[str, Any] = {
                "node": "n", "mta": "kumomta", "queue_id": f"q{number}", "created": START,
                "recipient": f"u{number}@{('gmail.com', 'yahoo.com')[number % 2]}",
            }  # fmt: skip
            kind, code = (EventType.BOUNCE, 550) if number == 0 else (EventType.DELIVERY, 250)
            events.append(Event(type=EventType.RECEPTION, time=START, **common))
            reply = SmtpReply(code, None, "no such user" if number == 0 else "ok")
            events.append(Event(type=kind, time=START + 1_000_000, attempt=1, reply=reply, **common))
        opened.load(Batch("test", [(event,) for event in events]))
        yield opened


@pytest.fixture
def sources(store: Store) -> Iterator[dict[str, Frames]]:
    unasked = {field.name: dict for field in fields(Backend)}
    backend = Backend(**unasked | {"store": store, "page": MetricsPage({})})  # type: ignore[arg-type]
    path = store.path.parent / "api.sock"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(8)
    server = EmbeddedServer(uvicorn.Config(create_api(backend, HttpSettings(), "0"), log_level="warning"))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost") as client:
        yield {"files": Frames(Closed(store)), "api": Frames(Remote(client))}
    server.should_exit = True
    thread.join()


def test_every_source_gives_the_same_frames(sources: dict[str, Frames]) -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    asked = [
        lambda data: data.rates(since=since, step="1d", zone="Europe/Berlin"),
        lambda data: data.rates(["bounce_class"], where={"provider": "gmail"}, clock="event"),
        lambda data: data.latency(),
        lambda data: data.reasons(since="2026-01-01T00:00:00Z"),
        lambda data: data.queues(),
        lambda data: data.sql("SELECT * FROM v_recipient ORDER BY ALL"),
    ]
    for ask in asked:
        pd.testing.assert_frame_equal(ask(sources["files"]), ask(sources["api"]))


def test_a_rate_has_columns_and_its_time_is_an_instant(sources: dict[str, Frames]) -> None:
    found = sources["files"].rates(step="1d", where={"provider": ["gmail"]})
    assert found["delivery_rate_value"].tolist() == [0.8]
    assert found["delivery_rate_num"].tolist() == [4]
    assert str(found["time"].dtype) == "datetime64[us, UTC]"


def test_sql_gives_instants_numbers_and_hashes_as_such(sources: dict[str, Frames]) -> None:
    found = sources["api"].sql("SELECT injected_at, recipient_hash, n FROM v_recipient")
    assert [str(kind) for kind in found.dtypes] == ["datetime64[us, UTC]", "UInt64", "Int64"]
    with pytest.raises(SettingsError, match="more than 3 rows"):
        sources["api"].sql("SELECT * FROM v_event", limit=3)


def test_what_is_wrong_is_named_by_every_source(sources: dict[str, Frames]) -> None:
    for data in sources.values():
        with pytest.raises(SettingsError, match="colour"):
            data.rates(["colour"])
    with pytest.raises(SettingsError, match="time zone"):
        sources["files"].rates(since=datetime(2026, 1, 1))  # noqa: DTZ001  (that it has none is the point)


def test_a_data_directory_without_an_owner_is_opened_itself(tmp_path: Path) -> None:
    assert frames(tmp_path / "var").rates().empty


def test_an_api_that_is_not_there_does_not_answer() -> None:
    assert not Remote(httpx.Client(base_url="http://127.0.0.1:9", timeout=1)).answers()
