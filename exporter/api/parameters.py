"""Query parameters that several routes share."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from fastapi import Query, Request
from pydantic import AwareDatetime, BeforeValidator

from analytics.dimensions import DIMENSIONS
from analytics.rates import Clock, Question
from mta.events.instants import from_datetime

__all__ = ["By", "Moment", "RequiredMoment", "question"]

_DIMENSION = "|".join(DIMENSIONS)
By = Annotated[
    str,
    Query(
        pattern=f"^(?:(?:{_DIMENSION})(?:,(?:{_DIMENSION}))*)?$",
        description="dimensions, joined by commas; empty for one total row",
    ),
]


def _rfc3339(text: object) -> object:
    """Only what the schema says: the library would take bare numbers for seconds."""
    if isinstance(text, str) and not _DATE_TIME.match(text):
        raise ValueError("write RFC 3339: 2026-01-31T12:00:00Z")
    return text


_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d")
RequiredMoment = Annotated[AwareDatetime, BeforeValidator(_rfc3339), Query(description="RFC 3339, with a time zone")]
Moment = Annotated[
    Annotated[AwareDatetime, BeforeValidator(_rfc3339)] | None, Query(description="RFC 3339, with a time zone")
]


def question(request: Request, by: str, since: datetime | None, until: datetime | None, clock: Clock) -> Question:
    """The question of a request; query parameters named after a dimension select values."""
    return Question(
        by=tuple(name for name in by.split(",") if name),
        since=None if since is None else from_datetime(since),
        until=None if until is None else from_datetime(until),
        clock=clock,
        where={name: request.query_params.getlist(name) for name in request.query_params if name in DIMENSIONS},
    )
