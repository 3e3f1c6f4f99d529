"""The suppression list over HTTP: admins change it, tenants see and change their own part of it, readers read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from analytics.suppression import find
from exporter.access import TokenFile
from exporter.api import Backend, create_api
from exporter.settings import HttpSettings
from mta.events.unsubscribe import UnsubscribeTokens, Unsubscription

ANN = {"address": "ann@example.org"}


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "tokens.json")


@pytest.fixture
def guarded(backend: Backend, tokens: TokenFile) -> FastAPI:
    return create_api(backend, HttpSettings(tokens_file=tokens.path), "0")


async def ask(app: FastAPI, token: str, method: str, path: str, **options: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        headers = {"Authorization": f"Bearer {token}"}
        return await http.request(method, f"/v1/suppression{path}", headers=headers, **options)


async def test_an_admin_adds_lists_checks_and_removes(guarded: FastAPI, tokens: TokenFile) -> None:
    admin = tokens.add("boss", "admin")
    added = await ask(guarded, admin, "POST", "", json={"entries": [ANN, {**ANN, "tenant": "red"}]})
    assert added.json() == {"received": 2, "changed": 2}
    rows = (await ask(guarded, admin, "GET", "?limit=1000&reason=manual")).json()
    assert [(row["domain"], row["tenant"], row["address"]) for row in rows] == [
        ("example.org", "", None), ("example.org", "red", None)
    ]  # fmt: skip
    assert (await ask(guarded, admin, "GET", "/check?address=ANN@example.org")).json()["suppressed"] is True
    assert (await ask(guarded, admin, "POST", "/remove", json=ANN)).json() == {"removed": 2}
    assert (await ask(guarded, admin, "GET", "/check?address=ann@example.org")).json()["suppressed"] is False


async def test_bounces_are_on_the_list_and_pages_follow_one_another(guarded: FastAPI, tokens: TokenFile) -> None:
    reader = tokens.add("board", "read")
    whole = (await ask(guarded, reader, "GET", "")).json()
    assert len(whole) == 20
    assert {(row["reason"], row["class"], row["domain"]) for row in whole} == {
        ("bounce", "bad_mailbox", "gmail.com"), ("bounce", "bad_mailbox", "yahoo.com")
    }  # fmt: skip
    page = await ask(guarded, reader, "GET", "?limit=15&format=ndjson")
    assert len(page.text.splitlines()) == 15
    following = page.links["next"]["url"].removeprefix("/v1/suppression")
    assert len((await ask(guarded, reader, "GET", following)).text.splitlines()) == 5


async def test_a_tenant_reaches_its_own_entries_only(guarded: FastAPI, tokens: TokenFile) -> None:
    red = tokens.add("red", "tenant:red")
    assert (await ask(guarded, red, "POST", "", json={"entries": [ANN]})).status_code == 403
    own = {"entries": [{**ANN, "tenant": "red"}]}
    assert (await ask(guarded, red, "POST", "", json=own)).json() == {"received": 1, "changed": 1}
    assert [row["tenant"] for row in (await ask(guarded, red, "GET", "?tenant=blue")).json()] == ["red"]
    blue = tokens.add("blue", "tenant:blue")
    assert (await ask(guarded, blue, "GET", "")).json() == []
    assert (await ask(guarded, blue, "POST", "/remove", json={**ANN, "tenant": "red"})).json() == {"removed": 0}
    assert (await ask(guarded, red, "POST", "/remove", json=ANN)).json() == {"removed": 1}


async def test_a_reader_changes_nothing(guarded: FastAPI, tokens: TokenFile) -> None:
    reader = tokens.add("board", "read")
    assert (await ask(guarded, reader, "POST", "", json={"entries": [ANN]})).status_code == 403
    assert (await ask(guarded, reader, "POST", "/remove", json=ANN)).status_code == 403


@pytest.mark.parametrize(
    "entry", [{}, {"address": "nobody"}, {**ANN, "reason": "No!"}, {"recipient": "12"}, {**ANN, "unknown": 1}]
)
async def test_a_wrong_entry_is_refused_by_name(guarded: FastAPI, tokens: TokenFile, entry: dict[str, Any]) -> None:
    answer = await ask(guarded, tokens.add("boss", "admin"), "POST", "", json={"entries": [entry]})
    assert answer.status_code == 422
    assert answer.json()["error"]


async def click(app: FastAPI, method: str, token: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=app, client=("198.51.100.9", 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="https://news.example.com") as http:
        return await http.request(method, f"/unsubscribe/{token}", data={"List-Unsubscribe": "One-Click"})


async def test_a_click_stops_the_mail_of_that_tenant_and_needs_no_other_permission(
    guarded: FastAPI, backend: Backend
) -> None:
    token = UnsubscribeTokens(backend.store.keyring).make(Unsubscription("Ann@example.org", "red", "may"))
    assert "Ann@example.org" in (await click(guarded, "GET", token)).text
    assert find(backend.store, "ann@example.org") == []  # filters follow links: looking is not asking
    assert (await click(guarded, "POST", token)).status_code == 200
    (entry,) = find(backend.store, "ann@example.org")
    assert (entry.reason, entry.tenant, entry.note, entry.expires) == ("unsubscribe", "red", "campaign may", None)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("token", ["x", "A" * 200, "%00"])
async def test_a_link_that_is_not_ours_does_nothing(guarded: FastAPI, method: str, token: str) -> None:
    assert (await click(guarded, method, token)).status_code == 404
