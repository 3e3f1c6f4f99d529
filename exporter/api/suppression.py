"""The suppression list: who is not to be sent to. An admin's token changes it, or a tenant's for its own mail."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from analytics import suppression
from analytics.suppression import Entry
from exporter.access import Access
from exporter.api.backend import Backend
from exporter.api.guard import Reader
from exporter.api.pages import page_of
from exporter.formats import Format
from mta.events.instants import from_datetime

__all__ = ["EntryRequest", "routes"]

_MOST = 100_000
_Label = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9._-]*$")]


class EntryRequest(BaseModel):
    """One recipient: an address, or the pseudonym and epoch that an export of this installation tells."""

    model_config = ConfigDict(extra="forbid")

    address: str | None = Field(default=None, min_length=3, max_length=512, pattern="@")
    recipient: str | None = Field(default=None, pattern=r"^[0-9a-f]{16}$")
    epoch: int = Field(default=0, ge=0, le=255)
    domain: str = Field(default="", max_length=255)
    tenant: _Label = ""
    reason: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z0-9_-]+$")] = "manual"
    note: str | None = Field(default=None, max_length=500)
    expires_at: datetime | None = None

    def to_entry(self) -> Entry:
        """As the list takes it."""
        return Entry(
            address=self.address,
            recipient=int(self.recipient, 16) if self.recipient else 0,
            epoch=self.epoch if self.recipient else 0,
            domain=self.domain,
            tenant=self.tenant,
            reason=self.reason,
            note=self.note,
            expires=from_datetime(self.expires_at) if self.expires_at is not None else None,
        )


class AddRequest(BaseModel):
    """Recipients to put on the list."""

    model_config = ConfigDict(extra="forbid")

    entries: list[EntryRequest] = Field(min_length=1, max_length=_MOST)


class RemoveRequest(BaseModel):
    """Whom to send to again; without a tenant, every entry of the address goes."""

    model_config = ConfigDict(extra="forbid")

    address: str = Field(min_length=3, max_length=512, pattern="@")
    tenant: _Label | None = None


def routes(backend: Backend) -> APIRouter:
    """`/v1/suppression` and what changes it. A tenant sees and changes the entries of its own mail only."""
    router = APIRouter()
    store = backend.store

    @router.get("/v1/suppression")
    def listed(
        request: Request,
        access: Reader,
        tenant: _Label | None = None,
        reason: str | None = None,
        cursor: Annotated[str, Query(max_length=128)] = "",
        limit: Annotated[int, Query(ge=1, le=_MOST)] = 1_000,
        format: Format | None = None,  # noqa: A002 - the parameter's name in every list
    ) -> Response:
        """Entries that hold now, in a stable order; `Link` names the next page."""
        found = suppression.entries(store, tenant=_own(access, tenant), reason=reason, after=cursor, limit=limit)
        following = found[-1].position if len(found) == limit else None
        return page_of(request, [entry.to_row() for entry in found], format, following)

    @router.get("/v1/suppression/check")
    def check(
        access: Reader, address: Annotated[str, Query(min_length=3, max_length=512)], tenant: _Label | None = None
    ) -> dict[str, Any]:
        """Whether mail to an address would be stopped, and why."""
        found = suppression.find(store, address, _own(access, tenant))
        return {"suppressed": bool(found), "entries": [entry.to_row() for entry in found]}

    @router.post("/v1/suppression", dependencies=[Depends(_may_change)])
    def add(body: AddRequest, access: Reader) -> dict[str, Any]:
        """Put recipients on the list."""
        wanted = [entry.to_entry() for entry in body.entries]
        if access.tenant is not None and any(entry.tenant != access.tenant for entry in wanted):
            raise HTTPException(403, "this token is for one tenant's entries only")
        return {"received": len(wanted), "changed": suppression.add(store, wanted)}

    @router.post("/v1/suppression/remove", dependencies=[Depends(_may_change)])
    def remove(body: RemoveRequest, access: Reader) -> dict[str, Any]:
        """Take a recipient off the list."""
        return {"removed": suppression.remove(store, body.address, _own(access, body.tenant))}

    return router


def _may_change(access: Reader) -> None:
    if not access.is_admin and access.tenant is None:
        raise HTTPException(403, "a token with the scope admin, or a tenant's own, is needed")


def _own(access: Access, tenant: str | None) -> str | None:
    """The tenant asked about; the tenant of the token if it has one."""
    return access.tenant if access.tenant is not None else tenant
