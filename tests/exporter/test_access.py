"""No token, no data; a token reaches as far as its scope, over every route and with every parameter."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics.dimensions import DIMENSIONS
from exporter.access import Access, TokenFile
from exporter.api import Backend, create_api
from exporter.api.limiter import RateLimiter
from exporter.errors import TokenFileDamaged
from exporter.settings import HttpSettings
from mta.events.errors import SettingsError


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "tokens.json")


@pytest.fixture
def guarded(backend: Backend, tokens: TokenFile) -> FastAPI:
    generous = HttpSettings(tokens_file=tokens.path, requests_per_second=10_000, burst=10_000)
    return create_api(backend, generous, "0", console_secret="of the console")  # noqa: S106  (a test's own)


async def ask(app: FastAPI, url: str, secret: str | None = None, method: str = "GET", **options: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        return await http.request(method, url, headers=headers, **options)


def data_routes(app: FastAPI) -> list[tuple[str, str]]:
    """Every route that there is, with a method; those without data are named here."""
    found = [
        (method, route.path)  # type: ignore[attr-defined]
        for route in _flat(app.routes)
        for method in sorted(getattr(route, "methods", None) or ())
        if method not in {"HEAD", "OPTIONS"}
    ]
    return [
        (method, path)
        for method, path in found
        if path not in {"/healthz", "/openapi.json", "/console", "/unsubscribe/{token}"}
    ]


def _flat(routes: Any) -> list[Any]:
    found: list[Any] = []
    for route in routes:
        inner = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", None)
        found += _flat(inner) if inner else [route]
    return found


async def test_no_token_no_data_on_any_route(guarded: FastAPI) -> None:
    routes = data_routes(guarded)
    assert len(routes) >= 12
    for method, path in routes:
        for secret in (None, "wrong", "Bearer"):
            assert (path, (await ask(guarded, path, secret, method)).status_code) == (path, 401)


async def test_a_token_works_at_once_and_ends_when_it_is_removed(guarded: FastAPI, tokens: TokenFile) -> None:
    secret = tokens.add("grafana", "read")
    assert (await ask(guarded, "/v1/rates", secret)).status_code == 200
    assert (await ask(guarded, "/v1/rates", "of the console")).status_code == 200
    tokens.remove("grafana")
    assert (await ask(guarded, "/v1/rates", secret)).status_code == 401


def test_only_hashes_are_kept_in_a_file_for_its_owner_only(tokens: TokenFile) -> None:
    secret = tokens.add("acme", "tenant:acme")
    assert secret not in tokens.path.read_text()
    assert stat.S_IMODE(tokens.path.stat().st_mode) == 0o600
    assert tokens.tokens()[0].access == Access("acme", tenant="acme")


@pytest.mark.parametrize("scope", ["write", "tenant:", "read:all", ""])
def test_a_scope_that_is_none_is_refused(tokens: TokenFile, scope: str) -> None:
    with pytest.raises(SettingsError, match="is no scope"):
        tokens.add("x", scope)


async def test_a_damaged_file_lets_nobody_in_by_it(guarded: FastAPI, tokens: TokenFile) -> None:
    secret = tokens.add("grafana", "read")
    content = json.loads(tokens.path.read_text())
    del content["tokens"][0]["scope"]
    tokens.path.write_text(json.dumps(content))
    os.utime(tokens.path, ns=(1, 1))
    with pytest.raises(TokenFileDamaged):
        tokens.tokens()
    assert (await ask(guarded, "/v1/rates", secret)).status_code == 401
    assert (await ask(guarded, "/v1/rates", "of the console")).status_code == 200


async def test_who_asks_too_often_is_told_when_to_ask_again(backend: Backend) -> None:
    api = create_api(backend, HttpSettings(open_to_loopback=True, requests_per_second=0.5, burst=2), "0")
    answers = [await ask(api, "/v1/queues") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[2].headers["retry-after"]) in {1, 2}


def test_a_client_gets_its_burst_and_then_its_rate_and_takes_nothing_from_others() -> None:
    now = [0.0]
    limiter = RateLimiter(2, 3, lambda: now[0])
    assert [limiter.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert limiter.wait("b") == 0
    now[0] = 0.5
    assert [limiter.wait("a") for _ in range(2)] == [0, 0.5]


@pytest.mark.parametrize("path", ["/v1/status", "/v1/incidents", "/metrics", "/v1/dmarc/advice?domain=example.org"])
async def test_what_is_about_everybody_is_not_for_a_tenant(guarded: FastAPI, tokens: TokenFile, path: str) -> None:
    assert (await ask(guarded, path, tokens.add("red", "tenant:red"))).status_code == 403


async def test_only_an_admin_may_erase(guarded: FastAPI, tokens: TokenFile) -> None:
    person = {"recipient": "ada@example.com"}
    reader, admin = tokens.add("reader", "read"), tokens.add("admin", "admin")
    assert (await ask(guarded, "/v1/erase", reader, "POST", json=person)).status_code == 403
    assert (await ask(guarded, "/v1/erase", admin, "POST", json=person)).status_code == 200


VALUES = st.one_of(
    st.sampled_from(
        ["red", "blue", "gmail", "", "%", "*", "1 OR 1=1", "'; DROP TABLE event; --", "blue' OR 'a'='a", "tenant"]
    ),
    st.text(max_size=20).filter(lambda text: "\x00" not in text),
)
NAMES = st.sampled_from(
    [*DIMENSIONS, "by", "since", "until", "clock", "step", "zone", "limit", "cursor", "format", "id"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parameters=st.lists(st.tuples(NAMES, VALUES), max_size=6))
async def test_a_tenant_sees_nothing_of_another_by_any_parameter_of_any_route(
    guarded: FastAPI, tokens: TokenFile, parameters: list[tuple[str, str]]
) -> None:
    tokens.remove("blue")
    secret = tokens.add("blue", "tenant:blue")  # all mail of the fixture is red's
    for method, path in data_routes(guarded):
        answer = await ask(guarded, path, secret, method, params=parameters)
        assert (path, answer.status_code) in {(path, code) for code in (200, 403, 404, 405, 422)}
        for trace in ("gmail.com", "yahoo.com", "node-a", "bad_mailbox", "no such user"):
            asked_for = any(trace in value for _, value in parameters)
            assert asked_for or trace not in answer.text
        if answer.status_code == 200 and answer.headers["content-type"] == "application/json":
            rows = answer.json() if isinstance(answer.json(), list) else answer.json().get("messages", [])
            assert all(row.get("injected", 0) == 0 for row in rows)


async def test_a_tenant_sees_its_own(guarded: FastAPI, tokens: TokenFile) -> None:
    secret = tokens.add("red", "tenant:red")
    [row] = (await ask(guarded, "/v1/rates?by=tenant", secret)).json()
    assert (row["tenant"], row["injected"]) == ("red", 100)
    assert (await ask(guarded, "/v1/rates?by=tenant&tenant=blue", secret)).json() == []
    assert len((await ask(guarded, "/v1/trace?id=u1@gmail.com", secret)).json()["messages"]) == 1


async def test_sql_is_answered_to_an_admin_only_and_refused_by_name(guarded: FastAPI, tokens: TokenFile) -> None:
    question = {"sql": "SELECT provider, sum(n) AS n FROM v_recipient GROUP BY ALL ORDER BY ALL"}
    reader, admin = tokens.add("reader", "read"), tokens.add("admin", "admin")
    assert (await ask(guarded, "/v1/query", reader, "POST", json=question)).status_code == 403
    answer = await ask(guarded, "/v1/query", admin, "POST", json=question)
    assert answer.json()["rows"] == [["gmail", 50], ["yahoo", 50]]
    refused = await ask(guarded, "/v1/query", admin, "POST", json={"sql": "SELECT * FROM event"})
    assert (refused.status_code, "no view 'event'" in refused.json()["error"]) == (422, True)
