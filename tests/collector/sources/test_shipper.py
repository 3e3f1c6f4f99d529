"""The shipper: what stands in the logs arrives once, whatever the collector, the disk and the process do."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
import zstandard

from collector.errors import LandingFull
from collector.landing import Landing, segments
from collector.settings import CollectorSettings
from collector.shipper import Gatherer, Progress, Sender, buffer_limits


class Collector:
    """Answers as it is told, and keeps what it accepted."""

    def __init__(self) -> None:
        self.answers: list[httpx.Response | Exception] = []
        self.accepted: list[tuple[bytes, dict[str, str]]] = []
        self.largest = 1 << 30
        self.client = httpx.Client(transport=httpx.MockTransport(self.answer), base_url="http://collector")

    def answer(self, request: httpx.Request) -> httpx.Response:
        body = zstandard.decompress(request.content)
        if len(body) > self.largest:
            return httpx.Response(413)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        self.accepted.append((body, dict(request.headers)))
        return httpx.Response(200, json={})

    @property
    def lines(self) -> list[bytes]:
        return [line for body, _ in self.accepted for line in body.splitlines()]


class Shipping:
    """A shipper in the making; `restart` forgets everything that is not on disk."""

    def __init__(self, root: Path, client: httpx.Client, capacity: int = 1 << 30) -> None:
        self.root, self.client, self.capacity = root, client, capacity
        self.logs = root / "logs"
        self.logs.mkdir(exist_ok=True)
        self.restart()

    def restart(self) -> None:
        self.buffer = Landing(self.root / "buffer", buffer_limits(self.capacity))
        settings = CollectorSettings(paths=(str(self.logs),), node="relay-1")
        self.gatherer = Gatherer(settings, self.buffer, Progress(self.root / "gathered.json"))
        self.sender = Sender(
            self.buffer.folder, Progress(self.root / "sent.json"), self.client, threading.Event(), patience_s=2
        )
        self.buffer._limits = buffer_limits(self.capacity)
        self.buffer.open()

    def gather(self) -> None:
        while self.gatherer.step():
            pass

    def send(self) -> None:
        self.buffer.close()
        while self.sender.step():
            pass
        self.gatherer.close()


@pytest.fixture
def collector():
    one = Collector()
    yield one
    one.client.close()


@pytest.fixture
def shipping(tmp_path, collector):
    one = Shipping(tmp_path, collector.client)
    yield one
    one.buffer.close()
    one.gatherer.close()


def test_lines_arrive_with_host_path_and_offset_and_leave_the_buffer(shipping, collector, records):
    log = shipping.logs / "log"
    log.write_bytes(records(3))
    shipping.gather()
    with log.open("ab") as more:
        more.write(records(2, start=3))
    shipping.gather()
    shipping.send()
    assert collector.lines == records(5).splitlines()
    headers = [headers for _, headers in collector.accepted]
    assert [(one["x-log-host"], one["x-log-path"], int(one["x-log-offset"])) for one in headers] == [
        ("relay-1", str(log), 0),
        ("relay-1", str(log), len(records(3))),
    ]
    assert segments(shipping.buffer.folder) == []


def test_zstd_segments_are_shipped_as_their_lines(shipping, collector, records):
    (shipping.logs / "segment").write_bytes(zstandard.compress(records(50)))
    shipping.gather()
    shipping.send()
    assert collector.lines == records(50).splitlines()


def test_after_a_restart_it_goes_on_where_it_was(shipping, collector, records):
    log = shipping.logs / "log"
    log.write_bytes(records(3))
    shipping.gather()
    shipping.send()
    shipping.restart()
    with log.open("ab") as more:
        more.write(records(2, start=3))
    shipping.gather()
    shipping.send()
    assert collector.lines == records(5).splitlines()


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(429, headers={"Retry-After": "0"}),
        httpx.Response(503),
        httpx.Response(401, json={"error": "no"}),
        httpx.ConnectError("refused"),
    ],
    ids=["429", "503", "401", "down"],
)
def test_whatever_is_not_accepted_is_offered_again(shipping, collector, records, answer):
    collector.answers = [answer]
    (shipping.logs / "log").write_bytes(records(3))
    shipping.gather()
    shipping.send()
    assert collector.lines == records(3).splitlines()
    assert shipping.sender.trouble == ""


def test_while_the_collector_is_away_the_buffer_keeps_what_the_logs_have_lost(shipping, collector, records):
    collector.answers = [httpx.ConnectError("down")] * 1000
    log = shipping.logs / "log"
    log.write_bytes(records(20))
    shipping.gather()
    log.unlink()
    shipping.send()
    assert "down" in shipping.sender.trouble
    collector.answers = []
    shipping.restart()
    shipping.send()
    assert collector.lines == records(20).splitlines()


def test_a_full_buffer_stops_gathering_and_loses_nothing(tmp_path, collector, records):
    shipping = Shipping(tmp_path, collector.client, capacity=100_000)
    (shipping.logs / "log").write_bytes(records(2000))
    with pytest.raises(LandingFull):
        shipping.gather()
    shipping.send()
    shipping.capacity = 1 << 30
    shipping.restart()
    shipping.gather()
    shipping.send()
    assert sorted(set(collector.lines)) == sorted(records(2000).splitlines())


def test_what_is_too_large_for_the_collector_goes_in_parts(shipping, collector, records):
    collector.largest = 6000
    (shipping.logs / "log").write_bytes(records(100) + b"x" * 10_000 + b"\n")
    shipping.gather()
    shipping.send()
    assert collector.lines[:-1] == records(100).splitlines()
    assert collector.accepted[-1][1]["x-log-cut"] == "10000"
    offsets = [int(headers["x-log-offset"]) for _, headers in collector.accepted]
    sizes = [len(body) for body, _ in collector.accepted]
    assert offsets == [sum(sizes[:number]) for number in range(len(sizes))]


@pytest.mark.e2e
async def test_the_command_ships_to_a_collector_over_tls_with_a_token(tmp_path, open_roads, certificates, records):
    server = certificates["server"]
    roads = await open_roads(http={"tokens": ["secret"], "tls": {"certificate": server[0], "key": server[1]}})
    logs, token = tmp_path / "logs", tmp_path / "token"
    logs.mkdir()
    (logs / "20260101-000000").write_bytes(zstandard.compress(records(100)))
    token.write_text("secret\n")
    command = [sys.executable, "-m", "mtascope", "ship", "--once", "--data", str(tmp_path / "node"), "--token-file"]
    url = f"https://localhost:{roads.at('http')[1]}"
    command += [str(token), "--ca", certificates["ca"][0], "--to", url, str(logs)]
    for _ in range(2):
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=30, check=False)
        assert (done.returncode, done.stderr.splitlines()[1:]) == (0, [])
    assert roads.recipients == [f"user{n}@mailbox.example" for n in range(100)]
    assert roads.store.receipt.duplicates == 0
