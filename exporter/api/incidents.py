"""Incidents: what is open and was, what would have been told, who takes care, and who wants not to hear of it."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field

from analytics.incidents import journal
from analytics.incidents.incident import Incident
from analytics.incidents.journal import Silence
from analytics.incidents.kinds import Kind
from analytics.incidents.replay import replay
from exporter.api.backend import Backend
from exporter.api.guard import admin_only
from exporter.api.parameters import Moment
from exporter.rows import incident_rows
from mta.events.instants import DAY, MINUTE, format_instant, from_datetime

__all__ = ["routes", "silence_row"]

_Word = Annotated[str, Field(min_length=1, max_length=255)]
_MOST_DAYS = 35


class Acknowledgement(BaseModel):
    """Who takes care."""

    model_config = ConfigDict(extra="forbid")

    author: _Word


class SilenceRequest(BaseModel):
    """What nobody is to be told of, for how long, and why. What is left out matches everything."""

    model_config = ConfigDict(extra="forbid")

    author: _Word
    reason: _Word
    minutes: int = Field(ge=1, le=90 * 24 * 60)
    kind: Kind | None = None
    provider: _Word | None = None
    tenant: _Word | None = None
    pool: _Word | None = None


def routes(backend: Backend) -> APIRouter:
    """`/v1/incidents` and `/v1/silences`."""
    router = APIRouter()
    _questions(router, backend)
    _orders(router, backend)
    return router


def _questions(router: APIRouter, backend: Backend) -> None:
    store = backend.store

    @router.get("/v1/incidents")
    def incidents(
        since: Moment = None, until: Moment = None, *, only_open: Annotated[bool, Query(alias="open")] = False
    ) -> list[dict[str, Any]]:
        """Incidents that were open in that time, the latest first, with what changed; the last week unless told."""
        start = store.clock() - 7 * DAY if since is None else from_datetime(since)
        end = store.clock() + MINUTE if until is None else from_datetime(until)
        return incident_rows(_found(backend, since=max(0, start), until=max(0, end), only_open=only_open))

    @router.get("/v1/incidents/dry-run")
    def dry_run(
        since: Moment = None,
        until: Moment = None,
        threshold: Annotated[float | None, Query(gt=0, le=100)] = None,
        least_rise: Annotated[float | None, Query(ge=0, lt=1)] = None,
        least_extra_an_hour: Annotated[float | None, Query(ge=0, le=1e9)] = None,
    ) -> list[dict[str, Any]]:
        """What would have been told in that time (the last 30 days, 35 at most) with other settings; keeps nothing."""
        end = store.clock() if until is None else from_datetime(until)
        start = end - 30 * DAY if since is None else from_datetime(since)
        if not 0 <= end - start <= _MOST_DAYS * DAY:
            raise HTTPException(422, f"since must lie before until, by {_MOST_DAYS} days at most")
        given = {"threshold": threshold, "least_rise": least_rise, "least_extra_an_hour": least_extra_an_hour}
        changes = {name: value for name, value in given.items() if value is not None}
        settings = backend.incidents.spikes.model_copy(update=changes)
        found = replay(store, since=start, until=end, settings=settings, groups=backend.bounce_groups)
        return incident_rows(found)

    @router.get("/v1/incidents/{key}")
    def incident(key: _Word) -> dict[str, Any]:
        """One incident with its signals."""
        found = _found(backend, key=key)
        if not found:
            raise HTTPException(404, "there is no such incident")
        return incident_rows(found)[0]

    @router.get("/v1/silences")
    def silences() -> list[dict[str, Any]]:
        """Silences that last or are to come."""
        con = store.cursor()
        try:
            return [silence_row(one) for one in journal.silences(con, store.clock())]
        finally:
            con.close()


def _orders(router: APIRouter, backend: Backend) -> None:
    store = backend.store

    @router.post("/v1/incidents/{key}/acknowledge", dependencies=[Depends(admin_only)])
    def acknowledge(key: _Word, body: Acknowledgement) -> dict[str, Any]:
        """Somebody takes care: it is not told again, only when it ends."""
        with store.writing() as con:
            if not journal.acknowledge(con, key, body.author, store.clock()):
                raise HTTPException(404, "there is no such incident")
        return incident_rows(_found(backend, key=key))[0]

    @router.post("/v1/silences", dependencies=[Depends(admin_only)])
    def silence(body: SilenceRequest) -> dict[str, Any]:
        """Nobody is told of incidents that match, until the silence ends; they are kept all the same."""
        now = store.clock()
        wanted = body.model_dump(exclude={"minutes"})
        made = Silence(id=secrets.token_hex(4), since=now, until=now + body.minutes * MINUTE, **wanted)
        with store.writing() as con:
            journal.add_silence(con, made)
        return silence_row(made)

    @router.delete("/v1/silences/{key}", dependencies=[Depends(admin_only)])
    def end_silence(key: _Word) -> dict[str, Any]:
        """The silence ends now."""
        with store.writing() as con:
            if not journal.end_silence(con, key, store.clock()):
                raise HTTPException(404, "there is no such silence")
        return {"id": key, "ended": True}


def silence_row(silence: Silence) -> dict[str, Any]:
    """A silence as the API and the command line show it."""
    return asdict(silence) | {"since": format_instant(silence.since), "until": format_instant(silence.until)}


def _found(backend: Backend, **chosen: Any) -> list[Incident]:
    con = backend.store.cursor()
    try:
        return journal.find(con, **chosen)
    finally:
        con.close()
