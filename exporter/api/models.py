"""What answers look like, for the description of the API: tests hold real answers against it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from analytics.rates import COUNTS, RATES
from exporter.formats import MEDIA_TYPES

__all__ = [
    "ErrorAnswer",
    "LatencyAnswer",
    "QueueAnswer",
    "RateAnswer",
    "ReasonAnswer",
    "ServedAnswer",
    "TableAnswer",
    "TraceAnswer",
    "UniquesAnswer",
    "UnknownDomainAnswer",
    "list_of",
]


class ErrorAnswer(BaseModel):
    """Why there is no answer."""

    error: str


class RatioAnswer(BaseModel):
    """`num / den` with its 95 % interval; nulls where there is nothing to divide or nobody tells."""

    num: int | None
    den: int
    value: float | None
    low: float | None
    high: float | None
    verdict: Literal["good", "warning", "bad", "insufficient", "no_data"]
    phi: float = Field(description="by how much the variance was widened, because failures come in clumps")


class _Keyed(BaseModel):
    """Rows have a key for each dimension of `by`, beside what is named here."""

    model_config = ConfigDict(extra="allow")

    time: datetime | None = Field(default=None, description="begin of the bucket, if steps were asked for")


RateAnswer: type[BaseModel] = create_model(
    "RateAnswer",
    __base__=_Keyed,
    ripe=(bool | None, Field(description="what is still to come changes little; null on the event clock")),
    **dict.fromkeys(COUNTS, (int, None)),
    **{rate.name: (RatioAnswer, Field(None, description=rate.meaning)) for rate in RATES},
)  # type: ignore[call-overload]  # fields by name, from the tables that define them
"""A row of `/v1/rates`."""


class Percentiles(BaseModel):
    """Seconds; null: not reached yet."""

    p50: float | None
    p90: float | None
    p99: float | None


class LatencyAnswer(_Keyed):
    """A row of `/v1/latency`."""

    delivered: int
    in_flight: int
    latency: Percentiles
    first_attempt: Percentiles
    at_least: float | None


class ReasonAnswer(BaseModel):
    """A row of `/v1/reasons`."""

    provider: str
    type: str
    origin: Literal["remote", "local"]
    bounce_class: str
    bounce_group: str
    severity: str
    code: int | None
    enhanced: str | None
    text: str
    events: int
    first_seen: datetime
    last_seen: datetime


class QueueAnswer(BaseModel):
    """A row of `/v1/queues`."""

    domain: str
    provider: str
    in_flight: int
    deferred: int
    oldest_s: float
    median_s: float
    reply: str | None
    bounce_class: str | None


class UnknownDomainAnswer(BaseModel):
    """A row of `/v1/domains/unknown`."""

    domain: str
    provider: str
    recipients: int
    share: float = Field(description="of all recipients in that time")


class ServedAnswer(BaseModel):
    """A row of `/v1/domains/history`."""

    provider: str
    gateway: str | None
    first_seen: datetime
    last_seen: datetime


class UniquesAnswer(_Keyed):
    """A row of `/v1/uniques`."""

    recipients: int
    error: float = Field(description="half width of the 95 % interval, as a share of `recipients`; 0: counted exactly")


class TableAnswer(BaseModel):
    """The answer to SQL. Whole numbers beyond 2^53 and instants are text."""

    columns: list[str]
    types: list[str]
    rows: list[list[Any]]
    cut: bool = Field(description="there are more rows than `limit`")


class Identifiers(BaseModel):
    """What a message is called."""

    message_id: str | None
    queue_ids: list[str]


class TracedAnswer(BaseModel):
    """One recipient of a traced message."""

    ids: Identifiers
    recipient: str
    provider: str
    tenant: str | None
    campaign: str | None
    outcome: str
    returned: bool
    complained: bool
    injected: datetime
    events: list[dict[str, Any]]


class TraceAnswer(BaseModel):
    """The answer of `/v1/trace`."""

    messages: list[TracedAnswer]


def list_of(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """The description of a list of such rows, which comes in several formats."""
    others: dict[str, Any] = {media: {} for name, media in MEDIA_TYPES.items() if name != "json"}
    link = {"Link": {"description": "the next page, if there is one", "schema": {"type": "string"}}}
    return {200: {"model": list[model], "content": others, "headers": link}}  # type: ignore[valid-type]
