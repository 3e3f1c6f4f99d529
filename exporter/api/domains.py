"""Recipient domains: which ones the provider map does not know, and who served one when."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from analytics.domains import history, unknown_domains
from exporter.api.backend import Backend
from exporter.api.models import ServedAnswer, UnknownDomainAnswer, list_of
from exporter.api.pages import Paged, listed
from exporter.api.parameters import Instant
from exporter.rows import served_row
from mta.events.address import canonical_domain
from mta.events.instants import DAY, from_datetime

__all__ = ["routes"]


class UnknownQuery(Paged):
    """What `/v1/domains/unknown` takes."""

    since: Instant | None = None
    until: Instant | None = None
    limit: Annotated[int, Query(ge=1, le=10_000)] = 20


def routes(backend: Backend) -> APIRouter:
    """`/v1/domains/...`."""
    router = APIRouter()

    @router.get("/v1/domains/unknown", responses=list_of(UnknownDomainAnswer), response_class=Response)
    def unknown(request: Request, asked: Annotated[UnknownQuery, Query()]) -> Response:
        """The domains with the most mail whose provider the map does not name; the last week unless told otherwise."""
        since = backend.store.clock() - 7 * DAY if asked.since is None else from_datetime(asked.since)
        until = None if asked.until is None else from_datetime(asked.until)
        found = unknown_domains(backend.store, since, until, asked.limit)
        return listed(request, [asdict(one) for one in found], asked)

    @router.get("/v1/domains/history", responses={200: {"model": list[ServedAnswer]}})
    def served(domain: Annotated[str, Query(min_length=1, max_length=255)]) -> list[dict[str, Any]]:
        """The providers that a domain was seen with, the latest first."""
        return [served_row(one) for one in history(backend.store, canonical_domain(domain))]

    return router
