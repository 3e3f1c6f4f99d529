"""DMARC: may the policy be made stricter, and loading of reports."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from analytics.dmarc_questions import daily_volumes, stored_reports
from exporter.api.backend import Backend
from exporter.api.guard import owner_only
from exporter.api.parameters import Moment
from mta.events.address import canonical_domain
from mta.events.instants import DAY, format_instant, from_datetime

__all__ = ["routes"]

_DOMAIN = r"^[^\s/:?#@]+$"


class ReportsRequest(BaseModel):
    """Files or folders on this machine with DMARC reports, or an IMAP mailbox as in the settings, to load once."""

    model_config = ConfigDict(extra="forbid")

    paths: list[str] = Field(default_factory=list, max_length=10_000)
    imap: dict[str, Any] | None = None


def routes(backend: Backend) -> APIRouter:
    """`/v1/dmarc/...`."""
    router = APIRouter()

    @router.get("/v1/dmarc/advice")
    def advice(
        domain: Annotated[str, Query(min_length=1, max_length=255)],
        days: Annotated[int, Query(ge=1, le=400)] = 30,
        until: Moment = None,
        dns: Annotated[bool, Query(description="look up who senders are that nothing else names")] = True,  # noqa: FBT002
    ) -> dict[str, Any]:
        """Whether a domain's DMARC policy may be made stricter, what stands in the way, and who sends in its name."""
        return backend.dmarc_advice(domain, days, None if until is None else from_datetime(until), dns)

    @router.get("/v1/dmarc/daily")
    def daily(
        domain: Annotated[str, Query(min_length=1, max_length=255)],
        days: Annotated[int, Query(ge=1, le=400)] = 30,
        until: Moment = None,
    ) -> list[dict[str, Any]]:
        """A domain's messages by day, by old reports and new ones alike; forged reports are left out."""
        end = -(-(backend.store.clock() if until is None else from_datetime(until)) // DAY) * DAY
        rows = daily_volumes(backend.store, canonical_domain(domain), end - days * DAY, end)
        return [row | {"day": format_instant(row["day"])} for row in rows]

    @router.get("/v1/dmarc/reports")
    def reports(
        domain: Annotated[str | None, Query(max_length=255)] = None,
        mail_auth: Literal["pass", "fail", "none", "unknown"] | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[dict[str, Any]]:
        """The newest reports as stored, forged ones too, with who vouches for the mail that carried them."""
        name = canonical_domain(domain) if domain else None
        rows = stored_reports(backend.store, name, mail_auth, limit)
        times = ("begin", "end", "received")
        return [row | {key: format_instant(row[key]) if row[key] else None for key in times} for row in rows]

    @router.get("/v1/dmarc/posture")
    def posture(
        domain: Annotated[str, Query(min_length=1, max_length=255, pattern=_DOMAIN)],
        selector: Annotated[list[str] | None, Query(max_length=10)] = None,
    ) -> dict[str, Any]:
        """What a domain publishes (SPF, DKIM, DMARC, MTA-STS, TLS-RPT, BIMI), what is wrong with it, and what to do."""
        return backend.dmarc_posture(domain, selector or [])

    @router.post("/v1/dmarc/ingest", include_in_schema=False, dependencies=[Depends(owner_only)])
    def ingest_reports(body: ReportsRequest) -> dict[str, Any]:
        return backend.dmarc_ingest(body.paths, body.imap)

    return router
