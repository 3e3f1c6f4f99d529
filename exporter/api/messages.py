"""Single messages and what waits: trace and queues."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from analytics.queues import waiting
from analytics.trace import trace
from exporter.api.backend import Backend
from exporter.rows import traced_row

__all__ = ["routes"]


def routes(backend: Backend) -> APIRouter:
    """`/v1/trace`, `/v1/queues`."""
    router = APIRouter()

    @router.get("/v1/trace")
    def trace_message(
        identifier: Annotated[str, Query(alias="id", min_length=1, max_length=1000)],
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> dict[str, Any]:
        """What happened to a message: by Message-ID, queue id or recipient."""
        return {"messages": [traced_row(found) for found in trace(backend.store, identifier, limit)]}

    @router.get("/v1/queues")
    def queues(limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> list[dict[str, Any]]:
        """The domains with the most recipients in flight, their age and their last reply."""
        return [asdict(found) for found in waiting(backend.store, limit)]

    return router
