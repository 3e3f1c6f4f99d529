"""Where a notebook's figures come from: a running owner, the files of one that has stopped, or an API elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from analytics.buckets import Step
from analytics.dimensions import DIMENSIONS
from analytics.explore import explore
from analytics.frames import Frames
from analytics.latency import latencies
from analytics.queues import waiting
from analytics.rates import Question, ask
from analytics.reasons import top_reasons
from analytics.store import Store
from exporter.rows import latency_rows, rate_rows, reason_rows, table_answer
from mta.events.errors import MtascopeError, SettingsError
from mta.events.instants import HOUR, parse_instant
from mtascope.opened_store import open_store
from mtascope.settings import load_settings

__all__ = ["Closed", "Remote", "frames", "frames_of_api"]


def frames(data: str | Path, config: str | Path | None = None) -> Frames:
    """The figures of a data directory on this machine: of its running owner, else of its files."""
    settings = load_settings(config, data)
    socket = settings.folder.owner_socket
    if socket.exists():
        remote = Remote(httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://localhost"))
        if remote.answers():
            return Frames(remote)
    return Frames(Closed(open_store(settings)))


def frames_of_api(url: str, token: str) -> Frames:
    """The figures of an API: `https://mail.example:8080`, with a token of scope `read` (`admin` for SQL)."""
    headers = {"Authorization": f"Bearer {token}"}
    return Frames(Remote(httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=60)))


class Remote:
    """An API as a source of rows."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def answers(self) -> bool:
        """Somebody is there."""
        try:
            return self._client.get("/healthz").is_success
        except httpx.HTTPError:
            return False

    def rows(self, route: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        """Every page of a list."""
        response = self._checked(self._client.get(route, params=parameters))
        found: list[dict[str, Any]] = response.json()
        while "next" in response.links:
            response = self._checked(self._client.get(response.links["next"]["url"]))
            found += response.json()
        return found

    def table(self, sql: str, limit: int) -> dict[str, Any]:
        """The answer to SQL."""
        answer: dict[str, Any] = self._checked(self._client.post("/v1/query", json={"sql": sql, "limit": limit})).json()
        return answer

    def _checked(self, response: httpx.Response) -> httpx.Response:
        if response.is_success:
            return response
        try:
            message = response.json()["error"]
        except (ValueError, KeyError, TypeError):
            message = response.reason_phrase
        kind = SettingsError if response.status_code < 500 else MtascopeError
        raise kind(str(message), where=str(response.url.copy_with(query=None)))


class Closed:
    """A store that nobody owns as a source of rows; it is owned while this is open. Close it, or use it in `with`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._routes: dict[str, Callable[[dict[str, Any]], list[dict[str, Any]]]] = {
            "/v1/rates": lambda asked: rate_rows(ask(store, _question(asked))),
            "/v1/latency": lambda asked: latency_rows(latencies(store, _question(asked))),
            "/v1/reasons": self._reasons,
            "/v1/queues": lambda asked: [asdict(found) for found in waiting(store, asked["limit"])],
        }

    def rows(self, route: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        """The rows that the API would give."""
        return self._routes[route](parameters)

    def table(self, sql: str, limit: int) -> dict[str, Any]:
        """The answer to SQL."""
        return table_answer(explore(self._store, sql, limit=limit))

    def _reasons(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        question = _question({**asked, "by": ""})
        since = question.since if question.since is not None else self._store.clock() - HOUR
        found = top_reasons(self._store, since=since, until=question.until, where=question.where, limit=asked["limit"])
        return reason_rows(found)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.close()


def _question(asked: dict[str, Any]) -> Question:
    step = asked.get("step")
    return Question(
        by=tuple(name for name in asked["by"].split(",") if name),
        since=parse_instant(asked["since"]) if "since" in asked else None,
        until=parse_instant(asked["until"]) if "until" in asked else None,
        clock=asked.get("clock", "cohort"),
        where={name: asked[name] for name in DIMENSIONS if name in asked},
        step=Step(step, asked.get("zone", "UTC")) if step else None,
    )
