"""Query parameters that several routes share.

Parameters that a route does not know are refused, so that no filter is left out silently because it was misspelt.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from fastapi import Query
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from analytics.buckets import STEPS, Step
from analytics.dimensions import DIMENSIONS
from analytics.rates import Question
from analytics.relations import Clock
from exporter.access import Access
from mta.events.instants import from_datetime

__all__ = ["Asked", "Instant", "Moment", "RequiredMoment", "Selected", "Values", "narrowed"]

_DIMENSION = "|".join(DIMENSIONS)


def _rfc3339(text: object) -> object:
    """Only what the schema says: the library would take bare numbers for seconds."""
    if isinstance(text, str) and not _DATE_TIME.match(text):
        raise ValueError("write RFC 3339: 2026-01-31T12:00:00Z")
    return text


_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d")
Instant = Annotated[AwareDatetime, BeforeValidator(_rfc3339)]
"""A moment as it is written in questions."""
RequiredMoment = Annotated[Instant, Query(description="RFC 3339, with a time zone")]
Moment = Annotated[Instant | None, Query(description="RFC 3339, with a time zone")]
Values = Annotated[list[Annotated[str, Field(max_length=1024)]] | None, Field(max_length=1000)]
"""Values of a dimension to select; repeat the parameter for several."""


class Selected(BaseModel):
    """Which part of the mail: values of any dimension."""

    model_config = ConfigDict(extra="forbid")

    provider: Values = None
    provider_group: Values = None
    gateway: Values = None
    direction: Values = None
    domain: Values = None
    sender_domain: Values = None
    tenant: Values = None
    campaign: Values = None
    source: Values = None
    source_ip: Values = None
    pool: Values = None
    dkim_domain: Values = None
    node: Values = None
    mta: Values = None
    bounce_class: Values = None
    severity: Values = None
    reply: Values = None

    def where(self, access: Access) -> dict[str, list[str]]:
        """The values asked for, of what the client may see."""
        chosen = {name: values for name in DIMENSIONS if (values := getattr(self, name)) is not None}
        return narrowed(chosen, access)


def narrowed(where: dict[str, list[str]], access: Access) -> dict[str, list[str]]:
    """The selection for a client that may see one tenant only: of other tenants it gets nothing."""
    if access.tenant is None:
        return where
    wanted = where.get("tenant", [access.tenant])
    return {**where, "tenant": [access.tenant] if access.tenant in wanted else []}


class Asked(Selected):
    """A question about figures, as analytics.rates.Question has it."""

    by: Annotated[
        str,
        Field(
            pattern=f"^(?:(?:{_DIMENSION})(?:,(?:{_DIMENSION})){{0,7}})?$",
            description="dimensions, joined by commas; empty for one total row",
        ),
    ] = "provider"
    since: Instant | None = None
    until: Instant | None = None
    clock: Literal["event", "cohort"] = "cohort"
    step: Literal[STEPS] | None = None  # type: ignore[valid-type]  # the tuple is the list of the literals
    zone: Annotated[str, Field(max_length=64, description="IANA zone of steps of a day and longer")] = "UTC"
    top: Annotated[int | None, Field(ge=1, le=10_000, description="only the groups with the most mail")] = None

    def question(self, access: Access, clock: Clock | None = None) -> Question:
        """What is asked of the store, about what the client may see."""
        return Question(
            by=tuple(dict.fromkeys(name for name in self.by.split(",") if name)),
            since=None if self.since is None else from_datetime(self.since),
            until=None if self.until is None else from_datetime(self.until),
            clock=clock or self.clock,
            where=self.where(access),
            step=None if self.step is None else Step(self.step, self.zone),
            top=self.top,
        )
