"""Rates, latency and the reasons of failures."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request

from analytics.latency import latencies
from analytics.rates import ask
from analytics.reasons import top_reasons
from exporter.api.backend import Backend
from exporter.api.parameters import By, Moment, question
from exporter.rows import latency_rows, rate_rows, reason_rows
from mta.events.instants import HOUR, from_datetime

__all__ = ["routes"]


def routes(backend: Backend) -> APIRouter:
    """`/v1/rates`, `/v1/latency`, `/v1/reasons`."""
    router = APIRouter()

    @router.get("/v1/rates")
    def rates(
        request: Request,
        by: By = "provider",
        since: Moment = None,
        until: Moment = None,
        clock: Literal["event", "cohort"] = "cohort",
    ) -> list[dict[str, Any]]:
        """Every count and rate, by any dimensions; other query parameters named after a dimension select values."""
        return rate_rows(ask(backend.store, question(request, by, since, until, clock)))

    @router.get("/v1/latency")
    def latency(
        request: Request,
        by: By = "provider",
        since: Moment = None,
        until: Moment = None,
    ) -> list[dict[str, Any]]:
        """Percentiles of the time to delivery by time of injection; what is in flight counts as "at least"."""
        return latency_rows(latencies(backend.store, question(request, by, since, until, "cohort")))

    @router.get("/v1/reasons")
    def reasons(
        since: Moment = None,
        provider: Annotated[list[str] | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> list[dict[str, Any]]:
        """The replies behind failures, most frequent first; the last hour unless told otherwise."""
        start = backend.store.clock() - HOUR if since is None else from_datetime(since)
        return reason_rows(top_reasons(backend.store, since=start, providers=provider, limit=limit))

    return router
