"""The API answers who may ask, and treats what it is told as data."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from exporter.api import Backend, create_api
from exporter.settings import HttpSettings


def client(app: FastAPI, address: str = "127.0.0.1", host: str = "localhost") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, client=(address, 50_000))
    return httpx.AsyncClient(transport=transport, base_url=f"http://{host}")


async def get(app: FastAPI, url: str, **options: Any) -> httpx.Response:
    async with client(app) as http:
        return await http.get(url, **options)


async def test_rates_come_by_provider_with_numerator_and_denominator(api: FastAPI) -> None:
    rows = (await get(api, "/v1/rates")).json()
    assert {row["provider"] for row in rows} == {"gmail", "yahoo"}
    rate = rows[0]["delivery_rate"]
    assert (rate["num"], rate["den"], rate["value"]) == (40, 50, 0.8)
    assert rate["low"] < 0.8 < rate["high"]
    assert set(rate) == {"num", "den", "value", "low", "high", "verdict", "phi"}


async def test_values_of_a_dimension_select(api: FastAPI) -> None:
    [row] = (await get(api, "/v1/rates?by=&provider=gmail")).json()
    [none] = (await get(api, "/v1/rates", params={"by": "", "tenant": "'; DROP TABLE event; --"})).json()
    assert (row["injected"], none["injected"]) == (50, 0)


async def test_reasons_say_class_reply_and_how_often(api: FastAPI) -> None:
    rows = (await get(api, "/v1/reasons?since=2026-01-01T00:00:00Z")).json()
    assert {(row["provider"], row["bounce_class"], row["events"]) for row in rows} == {
        ("gmail", "bad_mailbox", 10),
        ("yahoo", "bad_mailbox", 10),
    }


@pytest.mark.parametrize(
    "url",
    [
        "/v1/rates?by=colour",
        "/v1/rates?since=yesterday",
        "/v1/rates?since=0.5",
        "/v1/rates?since=2026-01-01T00:00:00",
        "/v1/reasons?limit=0",
    ],
)
async def test_a_wrong_question_is_refused_with_what_is_wrong(api: FastAPI, url: str) -> None:
    answer = await get(api, url)
    assert answer.status_code == 422
    assert any(word in answer.text for word in ("by", "since", "limit"))


async def test_an_api_open_to_loopback_serves_loopback_clients_with_a_loopback_host_only(api: FastAPI) -> None:
    async with client(api, address="192.0.2.7") as stranger, client(api, host="evil.example") as rebound:
        assert (await stranger.get("/v1/rates")).status_code == 401
        assert (await rebound.get("/v1/rates")).status_code == 401
        assert (await rebound.get("/healthz")).status_code == 200


async def test_with_a_token_nobody_is_served_without_it(backend: Backend) -> None:
    api = create_api(backend, HttpSettings(token=SecretStr("correct horse")), "0")
    assert (await get(api, "/v1/rates")).status_code == 401
    assert (await get(api, "/metrics", headers={"Authorization": "Bearer wrong"})).status_code == 401
    assert (await get(api, "/v1/rates", headers={"Authorization": "Bearer correct horse"})).status_code == 200


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("/v1/ingest", {"paths": ["/etc/passwd"]}),
        ("/v1/backup", {"path": "/tmp/backup"}),  # noqa: S108
        ("/v1/erase", {"recipient": "ada@example.com"}),
    ],
)
async def test_what_touches_files_or_destroys_data_is_not_done_for_a_tcp_client(
    api: FastAPI, url: str, body: dict[str, Any]
) -> None:
    async with client(api) as http:
        assert (await http.post(url, json=body)).status_code == 403


async def test_the_console_brings_all_its_parts_and_may_load_nothing_else(api: FastAPI) -> None:
    answer = await get(api, "/")
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "http://" not in answer.text.replace("http://www.w3.org", "")
    assert "https://" not in answer.text
    for part in ("console.js", "console.css", "icon.svg"):
        assert (await get(api, f"/{part}")).status_code == 200


async def test_the_metrics_page_is_prometheus_text(api: FastAPI) -> None:
    answer = await get(api, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "mtascope_recipients" in answer.text


async def test_a_message_is_traced_by_what_people_have_at_hand(api: FastAPI) -> None:
    [found] = (await get(api, "/v1/trace", params={"id": "gmail.com-1"})).json()["messages"]
    assert set(found) >= {"ids", "recipient", "provider", "outcome", "events"}
    assert (found["outcome"], found["ids"]["queue_ids"]) == ("delivered", ["gmail.com-1"])
    assert (await get(api, "/v1/trace?id=unknown")).json() == {"messages": []}


async def test_latency_and_queues_are_answered(api: FastAPI) -> None:
    rows = (await get(api, "/v1/latency?by=provider")).json()
    assert {row["provider"]: row["latency"]["p50"] for row in rows} == {"gmail": 0.9, "yahoo": 0.9}
    assert (await get(api, "/v1/queues")).json() == []
