"""Single messages and what waits: trace and queues, for tenants too."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from analytics.queues import waiting
from analytics.trace import trace
from exporter.api.backend import Backend
from exporter.api.guard import Reader
from exporter.api.models import QueueAnswer, TraceAnswer, list_of
from exporter.api.pages import Paged, listed
from exporter.rows import traced_row

__all__ = ["routes"]


class QueuesQuery(Paged):
    """What `/v1/queues` takes."""

    limit: Annotated[int, Query(ge=1, le=1000)] = 50


def routes(backend: Backend) -> APIRouter:
    """`/v1/trace`, `/v1/queues`."""
    router = APIRouter()

    @router.get("/v1/trace", responses={200: {"model": TraceAnswer}})
    def trace_message(
        access: Reader,
        identifier: Annotated[str, Query(alias="id", min_length=1, max_length=1000)],
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> dict[str, Any]:
        """What happened to a message: by Message-ID, queue id or recipient."""
        return {"messages": [traced_row(found) for found in trace(backend.store, identifier, limit, access.tenant)]}

    @router.get("/v1/queues", responses=list_of(QueueAnswer), response_class=Response)
    def queues(request: Request, access: Reader, asked: Annotated[QueuesQuery, Query()]) -> Response:
        """The domains with the most recipients in flight, their age and their last reply."""
        return listed(request, [asdict(found) for found in waiting(backend.store, asked.limit, access.tenant)], asked)

    return router
