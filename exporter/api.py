"""The HTTP API: the same answers as the command line, as JSON, and the console's pages.

One application serves TCP and the owner's socket. Over the socket, which only this user can open, everything is
allowed; over TCP a bearer token is asked for where one is set, and without one only loopback clients with a loopback
`Host` are served (promise 8; the `Host` check keeps web pages from reaching a local API by DNS rebinding).
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.resources import files
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from analytics.incidents import Incident, find_incidents
from analytics.latency import Latency, latencies
from analytics.queues import waiting
from analytics.rates import COUNTS, Clock, Question, RateRow, ask
from analytics.reasons import Reason, top_reasons
from analytics.rollup import DIMENSIONS
from analytics.store import Store
from analytics.trace import Traced, trace
from exporter.prometheus import MetricsPage
from exporter.settings import HttpSettings
from mta.events.errors import MtascopeError, SettingsError
from mta.events.instants import DAY, HOUR, format_instant, from_datetime

__all__ = [
    "Backend",
    "create_api",
    "create_metrics_app",
    "incident_rows",
    "latency_rows",
    "rate_rows",
    "reason_rows",
    "traced_row",
]

_SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
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
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_OPEN_PATHS = frozenset({"/healthz"})

Ingest = Callable[[list[str], str], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Backend:
    """What the API asks: the store, the metrics page, the state of the parts, and the way to load files."""

    store: Store
    page: MetricsPage
    status: Callable[[], dict[str, Any]]
    ingest: Ingest
    back_up: Callable[[str], dict[str, Any]]
    erase: Callable[[str], dict[str, Any]]
    report: Callable[[int, int], dict[str, Any]]
    dmarc_ingest: Callable[[list[str]], dict[str, Any]]
    dmarc_advice: Callable[[str, int, int | None], dict[str, Any]]


class ReportsRequest(BaseModel):
    """Files or folders on this machine with DMARC reports to load once."""

    model_config = ConfigDict(extra="forbid")

    paths: list[str] = Field(min_length=1, max_length=10_000)


class BackupRequest(BaseModel):
    """Where on this machine a backup is to be written."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(min_length=1, max_length=4096)


class EraseRequest(BaseModel):
    """Whom to forget."""

    model_config = ConfigDict(extra="forbid")

    recipient: str = Field(min_length=3, max_length=512, pattern="@")


class IngestRequest(BaseModel):
    """Files or folders on this machine to load once."""

    model_config = ConfigDict(extra="forbid")

    paths: list[str] = Field(min_length=1, max_length=10_000)
    format: str = "auto"


def create_api(backend: Backend, settings: HttpSettings, version: str) -> FastAPI:
    """The application with API, console and metrics."""
    app = FastAPI(title="mtascope", version=version, docs_url=None, redoc_url=None)
    _guard(app, settings)
    _answers(app, backend)
    _actions(app, backend)
    _dmarc(app, backend)
    app.get("/metrics", include_in_schema=False)(_metrics(backend.page))
    console = files("exporter") / "console" / "static"
    app.mount("/", StaticFiles(directory=str(console), html=True), name="console")
    return app


def create_metrics_app(page: MetricsPage, host: MetricsPage) -> FastAPI:
    """What Prometheus scrapes, alone on its port: the suite's page, and the machine's apart.

    The machine's metrics carry node_exporter's names; a host that runs node_exporter leaves that page unscraped.
    """
    app = FastAPI(title="mtascope metrics", docs_url=None, redoc_url=None, openapi_url=None)
    app.get("/metrics", include_in_schema=False)(_metrics(page))
    app.get("/metrics/host", include_in_schema=False)(_metrics(host))
    return app


def _metrics(page: MetricsPage) -> Callable[[Request], Response]:
    def metrics(request: Request) -> Response:
        body, content_type = page.render(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    return metrics


def _guard(app: FastAPI, settings: HttpSettings) -> None:
    token = settings.token.get_secret_value() if settings.token else None

    @app.middleware("http")
    async def check(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        refused = None if request.url.path in _OPEN_PATHS else _refusal(request, token)
        response = await call_next(request) if refused is None else refused
        for name, value in _SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.exception_handler(SettingsError)
    async def wrong_question(_: Request, error: SettingsError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=422)

    @app.exception_handler(MtascopeError)
    async def named_error(_: Request, error: MtascopeError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=503 if error.temporary else 500)


def _refusal(request: Request, token: str | None) -> Response | None:
    """None when the client may go on. A unix socket has no client address: its permissions have judged already."""
    if request.client is None:
        return None
    if token is not None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if hmac.compare_digest(given.encode(), token.encode()):
            return None
        return JSONResponse({"error": "a valid bearer token is needed"}, 401, {"WWW-Authenticate": "Bearer"})
    if request.client.host in _LOOPBACK and (request.url.hostname or "") in _LOOPBACK:
        return None
    return JSONResponse({"error": "only loopback clients are served; set [http] token to open the API"}, 403)


def _answers(app: FastAPI, backend: Backend) -> None:

    @app.get("/healthz", include_in_schema=False)
    def healthz() -> dict[str, bool]:
        return {"ok": True}

    @app.get("/v1/status")
    def status() -> dict[str, Any]:
        """Health of each part and the counting identity."""
        return backend.status()

    @app.get("/v1/rates")
    def rates(
        request: Request,
        by: By = "provider",
        since: Moment = None,
        until: Moment = None,
        clock: Literal["event", "cohort"] = "cohort",
    ) -> list[dict[str, Any]]:
        """Every count and rate, by any dimensions; other query parameters named after a dimension select values."""
        return rate_rows(ask(backend.store, _question(request, by, since, until, clock)))

    @app.get("/v1/reasons")
    def reasons(
        since: Moment = None,
        provider: Annotated[list[str] | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> list[dict[str, Any]]:
        """The replies behind failures, most frequent first; the last hour unless told otherwise."""
        start = time.time_ns() // 1000 - HOUR if since is None else from_datetime(since)
        return reason_rows(top_reasons(backend.store, since=start, providers=provider, limit=limit))

    @app.get("/v1/incidents")
    def incidents(since: Moment = None, until: Moment = None) -> list[dict[str, Any]]:
        """Bounce spikes that were open since then, the latest first, with what changed; the last week unless told."""
        start = time.time_ns() // 1000 - 7 * DAY if since is None else from_datetime(since)
        end = None if until is None else from_datetime(until)
        return incident_rows(find_incidents(backend.store, since=start, until=end))

    @app.get("/v1/latency")
    def latency(
        request: Request,
        by: By = "provider",
        since: Moment = None,
        until: Moment = None,
    ) -> list[dict[str, Any]]:
        """Percentiles of the time to delivery by time of injection; what is in flight counts as "at least"."""
        return latency_rows(latencies(backend.store, _question(request, by, since, until, "cohort")))

    @app.get("/v1/trace")
    def trace_message(
        identifier: Annotated[str, Query(alias="id", min_length=1, max_length=1000)],
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> dict[str, Any]:
        """What happened to a message: by Message-ID, queue id or recipient."""
        return {"messages": [traced_row(found) for found in trace(backend.store, identifier, limit)]}

    @app.get("/v1/report")
    def report(since: RequiredMoment, until: RequiredMoment) -> dict[str, Any]:
        """The report on mail injected in that time: figures, text and HTML."""
        return backend.report(from_datetime(since), from_datetime(until))

    @app.get("/v1/queues")
    def queues(limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> list[dict[str, Any]]:
        """The domains with the most recipients in flight, their age and their last reply."""
        return [asdict(found) for found in waiting(backend.store, limit)]


def _dmarc(app: FastAPI, backend: Backend) -> None:

    @app.get("/v1/dmarc/advice")
    def advice(
        domain: Annotated[str, Query(min_length=1, max_length=255)],
        days: Annotated[int, Query(ge=1, le=400)] = 30,
        until: Moment = None,
    ) -> dict[str, Any]:
        """Whether a domain's DMARC policy may be made stricter, what stands in the way, and who sends in its name."""
        return backend.dmarc_advice(domain, days, None if until is None else from_datetime(until))


def _actions(app: FastAPI, backend: Backend) -> None:
    """What only the owner of the data may ask for."""

    @app.post("/v1/ingest", include_in_schema=False)
    def ingest(request: Request, body: IngestRequest) -> dict[str, Any]:
        _owner_only(request)
        return backend.ingest(body.paths, body.format)

    @app.post("/v1/dmarc/ingest", include_in_schema=False)
    def ingest_reports(request: Request, body: ReportsRequest) -> dict[str, Any]:
        _owner_only(request)
        return backend.dmarc_ingest(body.paths)

    @app.post("/v1/backup", include_in_schema=False)
    def take_backup(request: Request, body: BackupRequest) -> dict[str, Any]:
        _owner_only(request)
        return backend.back_up(body.path)

    @app.post("/v1/erase", include_in_schema=False)
    def forget(request: Request, body: EraseRequest) -> dict[str, Any]:
        _owner_only(request)
        return backend.erase(body.recipient)


def _owner_only(request: Request) -> None:
    """What touches files or destroys data is asked over the owner's socket, which only its user can open."""
    if request.client is not None:
        raise HTTPException(403, "this is answered over the owner's socket only")


def _question(request: Request, by: str, since: datetime | None, until: datetime | None, clock: Clock) -> Question:
    return Question(
        by=tuple(name for name in by.split(",") if name),
        since=None if since is None else from_datetime(since),
        until=None if until is None else from_datetime(until),
        clock=clock,
        where={name: request.query_params.getlist(name) for name in request.query_params if name in DIMENSIONS},
    )


def reason_rows(reasons: list[Reason]) -> list[dict[str, Any]]:
    """Reasons as the command line and the API print them."""
    return [
        {**asdict(reason), "first_seen": format_instant(reason.first_seen),
         "last_seen": format_instant(reason.last_seen)}
        for reason in reasons
    ]  # fmt: skip


def incident_rows(incidents: list[Incident]) -> list[dict[str, Any]]:
    """Incidents as the command line and the API print them."""
    return [
        {
            **asdict(incident),
            "began": format_instant(incident.began),
            "opened": format_instant(incident.opened),
            "closed": None if incident.closed is None else format_instant(incident.closed),
        }
        for incident in incidents
    ]


def latency_rows(found: list[Latency]) -> list[dict[str, Any]]:
    """Latencies as the command line and the API print them: seconds."""
    return [
        {
            **latency.key,
            "delivered": latency.delivered,
            "in_flight": latency.in_flight,
            "latency": dict(latency.all),
            "first_attempt": dict(latency.first),
            "at_least": latency.at_least,
        }
        for latency in found
    ]


def traced_row(found: Traced) -> dict[str, Any]:
    """A traced recipient as the command line and the API print it."""
    content = asdict(found)
    return {
        "ids": {"message_id": found.message_id, "queue_ids": list(found.queue_ids)},
        **{name: content[name] for name in ("recipient", "provider", "tenant", "campaign", "outcome")},
        "returned": found.returned,
        "complained": found.complained,
        "injected": format_instant(found.injected),
        "events": [{**event, "time": format_instant(event["time"])} for event in content["events"]],
    }


def rate_rows(rows: list[RateRow]) -> list[dict[str, Any]]:
    """Rows as the command line and the API print them: keys, counts, then each ratio as an object."""
    return [
        {
            **row.key,
            **{name: row.counts[name] for name in COUNTS},
            **{name: asdict(value) for name, value in row.rates.items()},
        }
        for row in rows
    ]
