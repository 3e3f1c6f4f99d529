"""How the suite is, and the report on a period."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response

from exporter.api.backend import Backend
from exporter.api.parameters import RequiredMoment
from exporter.prometheus import MetricsPage
from mta.events.instants import from_datetime

__all__ = ["health", "metrics_of", "routes"]


def routes(backend: Backend) -> APIRouter:
    """`/metrics`, `/v1/status`, `/v1/report`."""
    router = APIRouter()
    router.get("/metrics", include_in_schema=False)(metrics_of(backend.page))

    @router.get("/v1/status")
    def status() -> dict[str, Any]:
        """Health of each part and the counting identity."""
        return backend.status()

    @router.get("/v1/report")
    def report(since: RequiredMoment, until: RequiredMoment) -> dict[str, Any]:
        """The report on mail injected in that time: figures, text and HTML."""
        return backend.report(from_datetime(since), from_datetime(until))

    return router


def health() -> APIRouter:
    """`/healthz`, for whoever watches the process: no token, no data."""
    router = APIRouter()

    @router.get("/healthz", include_in_schema=False)
    def healthz() -> dict[str, bool]:
        return {"ok": True}

    return router


def metrics_of(page: MetricsPage) -> Callable[[Request], Response]:
    """The endpoint that serves a metrics page."""

    def metrics(request: Request) -> Response:
        body, content_type = page.render(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    return metrics
