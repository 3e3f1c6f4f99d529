"""SQL over the documented views: for an admin, because single recipients can be told apart there."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from analytics.explore import explore
from exporter.api.backend import Backend
from exporter.api.guard import admin_only
from exporter.api.models import TableAnswer
from exporter.rows import table_answer

__all__ = ["routes"]


class QueryRequest(BaseModel):
    """One SELECT, and what it may cost."""

    model_config = ConfigDict(extra="forbid")

    sql: str = Field(min_length=1, max_length=100_000)
    limit: int = Field(default=10_000, ge=1, le=1_000_000)
    seconds: float = Field(default=30, ge=0.1, le=3600)


def routes(backend: Backend) -> APIRouter:
    """`POST /v1/query`."""
    router = APIRouter(dependencies=[Depends(admin_only)])

    @router.post("/v1/query", responses={200: {"model": TableAnswer}})
    def query(body: QueryRequest) -> dict[str, Any]:
        """The answer to one SELECT over the views of docs/sql.md."""
        return table_answer(explore(backend.store, body.sql, limit=body.limit, seconds=body.seconds))

    return router
