"""TLS reports over HTTPS: kept before the 201, and nobody fills the disk."""

from __future__ import annotations

import gzip

import httpx
import pytest
from pydantic import ValidationError

from dmarc.receiver import create_receiver
from dmarc.settings import ReceiverSettings

REPORT = gzip.compress(b'{"organization-name":"r","policies":[]}')
GZIP = {"content-type": "application/tlsrpt+gzip"}


def client(folder, clock=lambda: 0.0, **settings: object) -> httpx.AsyncClient:
    app = create_receiver(ReceiverSettings(**settings), folder, clock)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://reports")


def kept(folder) -> list[bytes]:
    return [path.read_bytes() for path in folder.iterdir()]


async def test_a_report_is_on_disk_when_the_sender_hears_201(tmp_path):
    answer = await client(tmp_path).post("/v1/tlsrpt", content=REPORT, headers=GZIP)
    assert answer.status_code == 201
    assert kept(tmp_path) == [REPORT]


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (REPORT, {"content-type": "text/html"}, 415),
        (b"", GZIP, 400),
        (b"x" * 2_000, GZIP, 413),
    ],
)
async def test_what_is_no_report_is_refused(tmp_path, content, headers, status):
    answer = await client(tmp_path, max_bytes=1_024).post("/", content=content, headers=headers)
    assert answer.status_code == status
    assert kept(tmp_path) == []


async def test_a_client_may_post_so_often_a_minute(tmp_path):
    now = [0.0]
    sender = client(tmp_path, lambda: now[0], posts_per_minute=2)
    codes = [(await sender.post("/", content=REPORT, headers=GZIP)).status_code for _ in range(3)]
    assert codes == [201, 201, 429]
    now[0] = 61.0
    assert (await sender.post("/", content=REPORT, headers=GZIP)).status_code == 201


async def test_when_too_many_wait_the_sender_is_told_to_come_again(tmp_path):
    sender = client(tmp_path, max_waiting=1)
    assert (await sender.post("/", content=REPORT, headers=GZIP)).status_code == 201
    answer = await sender.post("/", content=REPORT, headers=GZIP)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "600")


def test_beyond_loopback_only_with_a_certificate():
    with pytest.raises(ValidationError, match="over TLS only"):
        ReceiverSettings(host="0.0.0.0")  # noqa: S104
