"""Rates, latency and the reasons of failures: for tenants too."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from analytics.latency import latencies
from analytics.rates import COUNTS, RATES, ask
from analytics.reasons import top_reasons
from analytics.uniques import uniques
from exporter.api.backend import Backend
from exporter.api.guard import Reader
from exporter.api.models import LatencyAnswer, RateAnswer, ReasonAnswer, UniquesAnswer, list_of
from exporter.api.pages import Paged, listed
from exporter.api.parameters import Asked, Instant, Selected
from exporter.rows import latency_rows, rate_rows, reason_rows, uniques_rows
from mta.events.instants import HOUR, from_datetime

__all__ = ["routes"]


_COLUMN = "|".join((*COUNTS, *(rate.name for rate in RATES)))


class LatencyQuery(Asked, Paged):
    """What `/v1/latency` takes."""


class RatesQuery(Asked, Paged):
    """What `/v1/rates` takes."""

    only: Annotated[
        str,
        Field(
            pattern=f"^(?:(?:{_COLUMN})(?:,(?:{_COLUMN})){{0,60}})?$",
            description="counts and rates wanted, joined by commas; all if empty",
        ),
    ] = ""


class ReasonsQuery(Selected, Paged):
    """What `/v1/reasons` takes."""

    since: Instant | None = None
    until: Instant | None = None
    limit: Annotated[int, Query(ge=1, le=1000)] = 50


def routes(backend: Backend) -> APIRouter:
    """`/v1/rates`, `/v1/latency`, `/v1/uniques`, `/v1/reasons`."""
    router = APIRouter()

    @router.get("/v1/rates", responses=list_of(RateAnswer), response_class=Response)
    def rates(request: Request, access: Reader, asked: Annotated[RatesQuery, Query()]) -> Response:
        """Every count and rate, by any dimensions, in steps of time; parameters named as a dimension select values."""
        only = frozenset(filter(None, asked.only.split(",")))
        return listed(request, ask(backend.store, asked.question(access)), asked, partial(rate_rows, only=only))

    @router.get("/v1/latency", responses=list_of(LatencyAnswer), response_class=Response)
    def latency(request: Request, access: Reader, asked: Annotated[LatencyQuery, Query()]) -> Response:
        """Percentiles of the time to delivery by time of injection; what is in flight counts as "at least"."""
        return listed(request, latency_rows(latencies(backend.store, asked.question(access, "cohort"))), asked)

    @router.get("/v1/uniques", responses=list_of(UniquesAnswer), response_class=Response)
    def people(request: Request, access: Reader, asked: Annotated[LatencyQuery, Query()]) -> Response:
        """How many different recipients mail was injected to: exact within a day, else with its error."""
        return listed(request, uniques_rows(uniques(backend.store, asked.question(access, "cohort"))), asked)

    @router.get("/v1/reasons", responses=list_of(ReasonAnswer), response_class=Response)
    def reasons(request: Request, access: Reader, asked: Annotated[ReasonsQuery, Query()]) -> Response:
        """The replies behind failures, most frequent first; the last hour unless told otherwise."""
        since = backend.store.clock() - HOUR if asked.since is None else from_datetime(asked.since)
        until = None if asked.until is None else from_datetime(asked.until)
        found = top_reasons(backend.store, since=since, until=until, where=asked.where(access), limit=asked.limit)
        return listed(request, reason_rows(found), asked)

    return router
