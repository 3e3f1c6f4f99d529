"""The HTTP API: the same answers as the command line, as JSON, and the console's pages.

One application serves TCP and the owner's socket; `guard` says who may ask what. Each subject has a module here with a
function `routes(backend)`, which returns its router. Subjects of `FOR_ALL` answer those who may read everything;
those of `FOR_TENANTS` narrow their answers to what a tenant may see.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files

from fastapi import APIRouter, Depends, FastAPI
from fastapi.staticfiles import StaticFiles

from exporter.api import care, dmarc, domains, incidents, messages, rates, sql, status, suppression, unsubscribe
from exporter.api.backend import Backend
from exporter.api.guard import guard, read_all
from exporter.api.models import ErrorAnswer
from exporter.prometheus import MetricsPage
from exporter.settings import HttpSettings

__all__ = ["FOR_ALL", "FOR_TENANTS", "Backend", "create_api", "create_metrics_app"]

Subject = Callable[[Backend], APIRouter]

FOR_ALL: tuple[Subject, ...] = (status.routes, incidents.routes, dmarc.routes, domains.routes, care.routes, sql.routes)
FOR_TENANTS: tuple[Subject, ...] = (rates.routes, messages.routes, suppression.routes)

_REFUSALS = {
    401: "no token, or none that is known",
    403: "the token's scope does not reach so far",
    422: "a wrong question",
    429: "too many requests: wait as long as `Retry-After` says",
    503: "not now; the same question may be asked again",
}


def create_api(backend: Backend, settings: HttpSettings, version: str, *, console_secret: str | None = None) -> FastAPI:
    """The application with API, console and metrics; `console_secret` is the console's token of this start."""
    app = FastAPI(
        title="mtascope",
        version=version,
        docs_url=None,
        redoc_url=None,
        responses={code: {"model": ErrorAnswer, "description": reason} for code, reason in _REFUSALS.items()},
    )
    guard(app, settings, console_secret)
    for routes in FOR_ALL:
        app.include_router(routes(backend), dependencies=[Depends(read_all)])
    for routes in FOR_TENANTS:
        app.include_router(routes(backend))
    app.include_router(status.health())
    app.include_router(unsubscribe.unsubscription(backend.store))
    console = files("exporter") / "console" / "static"
    app.mount("/", StaticFiles(directory=str(console), html=True), name="console")
    return app


def create_metrics_app(page: MetricsPage, host: MetricsPage) -> FastAPI:
    """What Prometheus scrapes, alone on its port: the suite's page, and the machine's apart.

    The machine's metrics carry node_exporter's names; a host that runs node_exporter leaves that page unscraped.
    """
    app = FastAPI(title="mtascope metrics", docs_url=None, redoc_url=None, openapi_url=None)
    app.get("/metrics", include_in_schema=False)(status.metrics_of(page))
    app.get("/metrics/host", include_in_schema=False)(status.metrics_of(host))
    return app
