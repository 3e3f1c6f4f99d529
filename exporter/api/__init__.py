"""The HTTP API: the same answers as the command line, as JSON, and the console's pages.

One application serves TCP and the owner's socket; `guard` says who may ask what. Each subject has a module here with a
function `routes(backend)`, which returns its router; `SUBJECTS` lists them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files

from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles

from exporter.api import care, dmarc, incidents, messages, rates, status
from exporter.api.backend import Backend
from exporter.api.guard import guard
from exporter.prometheus import MetricsPage
from exporter.settings import HttpSettings

__all__ = ["SUBJECTS", "Backend", "create_api", "create_metrics_app"]

SUBJECTS: tuple[Callable[[Backend], APIRouter], ...] = (
    status.routes,
    rates.routes,
    messages.routes,
    incidents.routes,
    dmarc.routes,
    care.routes,
)


def create_api(backend: Backend, settings: HttpSettings, version: str) -> FastAPI:
    """The application with API, console and metrics."""
    app = FastAPI(title="mtascope", version=version, docs_url=None, redoc_url=None)
    guard(app, settings)
    for routes in SUBJECTS:
        app.include_router(routes(backend))
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
