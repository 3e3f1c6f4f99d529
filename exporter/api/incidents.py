"""Incidents: bounce spikes and what changed."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from analytics.incidents import replay
from exporter.api.backend import Backend
from exporter.api.parameters import Moment
from exporter.rows import incident_rows
from mta.events.instants import DAY, from_datetime

__all__ = ["routes"]


def routes(backend: Backend) -> APIRouter:
    """`/v1/incidents`."""
    router = APIRouter()

    @router.get("/v1/incidents")
    def incidents(since: Moment = None, until: Moment = None) -> list[dict[str, Any]]:
        """Bounce spikes that were open since then, the latest first, with what changed; the last week unless told."""
        start = backend.store.clock() - 7 * DAY if since is None else from_datetime(since)
        end = None if until is None else from_datetime(until)
        return incident_rows(replay(backend.store, since=start, until=end))

    return router
