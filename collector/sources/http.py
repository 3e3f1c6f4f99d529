"""Records by HTTP: `POST /v1/records` for whoever can wait and retry, `POST /v1/webhooks/kumomta` for KumoMTA's hooks.

An answer of 200 means that every record of the body is on disk. What cannot be read later is quarantined then: a
sender can do nothing about it. Only what cannot be landed is refused: 413 too large, 429 no room now (with
Retry-After), 401 no token, 400 a body that cannot be inflated, 415 an encoding that we do not know.

KumoMTA never repeats what was answered with anything but 2xx, and repeats what was not answered at all. So a hook
waits for room as long as it likes, and when it must be refused its connection is cut instead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from collector.errors import LandingFailed
from collector.framing.parcels import Parcel, Shape
from collector.landing import Landing
from collector.quarantine import KEPT_BYTES
from collector.settings import HttpIntakeSettings
from collector.sources.bodies import BodyLimits, BodyRefused, is_authorised, line_parcels, read_body, record_parcels
from collector.sources.budget import Budget

__all__ = ["Answer", "create_intake", "guarded", "land_all", "refusal"]

_log = logging.getLogger(__name__)

RETRY_AFTER_S = 5
_REPEATED_IF_CUT = frozenset({401, 408, 429})
"""What a hook should come again for, once somebody has mended it or there is room."""
_LINE_TYPES = frozenset({"text/plain", "application/x-ndjson", "application/jsonl"})
_PATIENCE_S = 0.2

Answer = Callable[[Request, bytes], Awaitable[Response]]


def create_intake(landing: Landing, hooks: Landing, settings: HttpIntakeSettings, max_line: int) -> FastAPI:
    """The application. `hooks` is where webhooks land, with a disk budget that nobody else can use up."""
    app = FastAPI(title="mtascope intake", docs_url=None, redoc_url=None, openapi_url=None)
    budget = Budget(settings.memory_bytes)

    @app.get("/healthz")
    def healthz() -> dict[str, bool]:
        return {"ok": True}

    @app.post("/v1/records")
    async def records(request: Request) -> Response:
        """Records as NDJSON, lines of text, a JSON array or one JSON object."""

        async def accept(request: Request, body: bytes) -> Response:
            parcels = _sent(request, body, max_line)
            return JSONResponse({"accepted": await land_all(landing, parcels)})

        return await guarded(request, landing, settings, budget, accept)

    @app.post("/v1/webhooks/kumomta")
    async def webhook(request: Request) -> Response:
        """What a KumoMTA log hook posts: one record, or an array of them."""

        async def accept(request: Request, body: bytes) -> Response:
            parcels = list(record_parcels(body, max_line, sender=_sender(request)))
            return JSONResponse({"accepted": await _land_patiently(hooks, parcels, request)})

        answer = await guarded(request, hooks, settings, budget, accept, check_room=False)
        if answer.status_code in _REPEATED_IF_CUT:
            request.state.abort()
        return answer

    return app


async def guarded(
    request: Request,
    landing: Landing,
    settings: HttpIntakeSettings,
    budget: Budget,
    accept: Answer,
    *,
    check_room: bool = True,
) -> Response:
    """Who may send, and whether there is room, is known before the body is read; every refusal is counted."""
    if not is_authorised(request, settings.tokens):
        landing.health.refused("unauthorised")
        return refusal(401, "a valid token is needed", {"WWW-Authenticate": "Bearer"})
    limits = BodyLimits(settings.max_body_bytes, settings.stall_s)
    try:
        with budget.reservation() as reservation:
            if check_room:
                landing.check_room()
            return await accept(request, await read_body(request, limits, reservation))
    except BodyRefused as error:
        landing.health.refused(error.reason, str(error))
        return refusal(error.status, error.what, {"Connection": "close"})
    except LandingFailed as error:
        landing.health.refused(error.reason, str(error))
        _log.warning("refused for now: %s", error)
        return refusal(429, error.what, {"Retry-After": str(RETRY_AFTER_S), "Connection": "close"})


def refusal(status: int, what: str, headers: dict[str, str] | None = None) -> Response:
    """An error that says what was wrong."""
    return JSONResponse({"error": what}, status, headers)


async def land_all(landing: Landing, parcels: Iterable[Parcel]) -> int:
    """Land the parcels side by side; how many records they held. Raises LandingFailed if one could not be landed."""
    futures = [(asyncio.wrap_future(landing.post(parcel)), len(parcel.records)) for parcel in parcels if parcel.records]
    outcomes = await asyncio.gather(*(future for future, _ in futures), return_exceptions=True)
    for outcome in outcomes:
        if outcome is not None:
            raise outcome
    return sum(count for _, count in futures)


async def _land_patiently(landing: Landing, parcels: list[Parcel], request: Request) -> int:
    """Wait for room, for as long as the sender waits with us."""
    while True:
        try:
            return await land_all(landing, parcels)
        except LandingFailed as error:
            if await request.is_disconnected():
                raise
            landing.health.last_refusal = str(error)
            await asyncio.sleep(_PATIENCE_S)


def _sent(request: Request, body: bytes, limit: int) -> Iterable[Parcel]:
    """What a body holds. One that is called text, or NDJSON, is lines and nothing else."""
    sender, path, offset = _sender(request), _name(request, "x-log-path"), _number(request, "x-log-offset")
    if (size := _number(request, "x-log-cut")) is not None:
        return [Parcel([body[:KEPT_BYTES]], Shape.CUT, sender, path, offset, size)]
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    cut_up = line_parcels if kind in _LINE_TYPES else record_parcels
    return cut_up(body, limit, sender=sender, path=path, offset=offset)


def _sender(request: Request) -> str:
    """The host that the sender says its logs are from, else its address."""
    return _name(request, "x-log-host") or (request.client.host if request.client else "")


def _name(request: Request, header: str) -> str:
    return request.headers.get(header, "")[:1024]


def _number(request: Request, header: str) -> int | None:
    value = request.headers.get(header, "")
    return int(value) if value.isdigit() and len(value) < 19 else None
