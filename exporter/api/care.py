"""What touches files is done over the owner's socket only; a person is forgotten for an admin's token too."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from exporter.api.backend import Backend
from exporter.api.guard import admin_only, owner_only

__all__ = ["routes"]


class BackupRequest(BaseModel):
    """Where on this machine a backup is to be written."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(min_length=1, max_length=4096)


class EraseRequest(BaseModel):
    """Whom to forget."""

    model_config = ConfigDict(extra="forbid")

    recipient: str = Field(min_length=3, max_length=512, pattern="@")


class IngestRequest(BaseModel):
    """Files or folders on this machine to load once."""

    model_config = ConfigDict(extra="forbid")

    paths: list[str] = Field(min_length=1, max_length=10_000)
    format: str = "auto"


def routes(backend: Backend) -> APIRouter:
    """`POST /v1/ingest`, `/v1/backup`, `/v1/erase`."""
    router = APIRouter(include_in_schema=False)

    @router.post("/v1/ingest", dependencies=[Depends(owner_only)])
    def ingest(body: IngestRequest) -> dict[str, Any]:
        return backend.ingest(body.paths, body.format)

    @router.post("/v1/backup", dependencies=[Depends(owner_only)])
    def take_backup(body: BackupRequest) -> dict[str, Any]:
        return backend.back_up(body.path)

    @router.post("/v1/erase", dependencies=[Depends(admin_only)])
    def forget(body: EraseRequest) -> dict[str, Any]:
        return backend.erase(body.recipient)

    return router
