"""Lists come a page at a time, and in the format that was asked for, with the same rows."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import duckdb
import httpx
import pytest
from fastapi import FastAPI

from exporter.formats import as_csv


async def get(app: FastAPI, url: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        return await http.get(url, headers=headers)


async def test_following_the_links_gives_every_row_once(api: FastAPI) -> None:
    whole = (await get(api, "/v1/rates?by=domain,mta")).json()
    url, rows = "/v1/rates?by=domain,mta&limit=1", []
    while url:
        page = await get(api, url)
        rows += page.json()
        url = page.links.get("next", {}).get("url", "")
    assert rows == whole
    assert len(rows) == 2


async def test_every_format_has_the_same_rows(api: FastAPI, tmp_path: Path) -> None:
    url = "/v1/rates?by=provider&step=1d"
    rows = (await get(api, url)).json()
    ndjson = await get(api, f"{url}&format=ndjson")
    assert [json.loads(line) for line in ndjson.text.splitlines()] == rows
    table = list(csv.DictReader(io.StringIO((await get(api, f"{url}&format=csv")).text)))
    assert [row["delivery_rate_num"] for row in table] == [str(row["delivery_rate"]["num"]) for row in rows]
    parquet = tmp_path / "rates.parquet"
    parquet.write_bytes((await get(api, f"{url}&format=parquet")).content)
    found = duckdb.sql(f"SELECT provider, injected, delivery_rate_value FROM '{parquet}'").fetchall()
    assert found == [(row["provider"], row["injected"], row["delivery_rate"]["value"]) for row in rows]


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("text/csv", "text/csv"),
        ("application/x-ndjson;q=0.9, text/csv", "application/x-ndjson"),
        ("text/html,*/*", "application/json"),
    ],
)
async def test_accept_chooses_the_format(api: FastAPI, accept: str, answered: str) -> None:
    assert (await get(api, "/v1/rates", accept=accept)).headers["content-type"].startswith(answered)


async def test_nothing_found_is_an_empty_list_in_every_format(api: FastAPI) -> None:
    for name in ("json", "ndjson", "csv", "parquet"):
        assert (await get(api, f"/v1/rates?tenant=nobody&format={name}")).status_code == 200


async def test_a_cursor_that_is_none_of_ours_is_refused(api: FastAPI) -> None:
    answer = await get(api, "/v1/rates?cursor=bogus!")
    assert (answer.status_code, "cursor" in answer.json()["error"]) == (422, True)


async def test_a_parameter_that_is_unknown_is_refused_by_name(api: FastAPI) -> None:
    answer = await get(api, "/v1/rates?tennant=red")
    assert (answer.status_code, "tennant" in answer.json()["error"]) == (422, True)


def test_a_text_that_a_spreadsheet_would_run_is_harmless() -> None:
    assert as_csv([{"reply": "=HYPERLINK(1)"}]) == b"reply\r\n'=HYPERLINK(1)\r\n"


async def test_a_board_asks_for_the_largest_groups_and_the_columns_it_shows(api: FastAPI) -> None:
    [row] = (await get(api, "/v1/rates?by=domain&top=1&only=delivered,bounce_rate")).json()
    assert set(row) == {"domain", "ripe", "delivered", "bounce_rate"}
