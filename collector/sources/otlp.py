"""OTLP/HTTP logs: `POST /v1/logs`, protobuf or JSON, as the OpenTelemetry Collector and SDKs send them.

200 means durable. 429 (no room) is the one refusal that a sender repeats; 400 and 413 it never does, so they are for
requests that are no OTLP or larger than what may be sent, not for lines that we cannot read.
"""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import FastAPI, Request, Response

from collector.framing.otlp import events_of_json, events_of_protobuf
from collector.framing.parcels import Parcel, Shape
from collector.landing import Landing
from collector.quarantine import KEPT_BYTES
from collector.settings import OtlpSettings
from collector.sources.bodies import BodyRefused
from collector.sources.budget import Budget
from collector.sources.http import guarded, land_all
from mta.events.errors import ParseError

__all__ = ["create_otlp"]

_EVENT_OVERHEAD = 64 << 10


def create_otlp(landing: Landing, settings: OtlpSettings, max_line: int) -> FastAPI:
    """The application."""
    app = FastAPI(title="mtascope otlp", docs_url=None, redoc_url=None, openapi_url=None)
    budget = Budget(settings.memory_bytes)

    async def accept(request: Request, body: bytes) -> Response:
        is_json = request.headers.get("content-type", "").startswith("application/json")
        try:
            events = events_of_json(body) if is_json else events_of_protobuf(body)
        except ParseError as error:
            raise BodyRefused(400, str(error), "protocol") from None
        sender = request.client.host if request.client else ""
        await land_all(landing, _parcels(events, max_line + _EVENT_OVERHEAD, sender))
        if is_json:
            return Response(b"{}", media_type="application/json")
        return Response(b"", media_type="application/x-protobuf")  # an empty message: nothing was rejected

    @app.post("/v1/logs")
    async def logs(request: Request) -> Response:
        return await guarded(request, landing, settings, budget, accept)

    return app


def _parcels(events: list[bytes], limit: int, sender: str) -> Iterator[Parcel]:
    yield Parcel([event for event in events if len(event) <= limit], Shape.EVENT, sender)
    for event in events:
        if len(event) > limit:
            yield Parcel([event[:KEPT_BYTES]], Shape.CUT, sender, size=len(event))
