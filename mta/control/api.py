"""The control API of one worker: liveness as KumoMTA answers it, metrics, and a snapshot of the moment.

It listens on a unix socket in the data directory and, if asked to, on TCP. What changes anything is in `admin_api`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.responses import PlainTextResponse

from mta.errors import ListenError
from mta.metrics import LiveState, MtaMetrics
from mta.settings import Endpoint

__all__ = ["ControlServer", "control_app"]

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def control_app(
    metrics: MtaMetrics,
    live: Callable[[], LiveState],
    trouble: Callable[[], str | None],
    admin: APIRouter | None = None,
) -> FastAPI:
    """The API. `trouble` says in a few words why the worker cannot take mail now, or None. `admin` changes things."""
    app = FastAPI(title="mtascope MTA worker", docs_url=None, redoc_url=None, openapi_url=None)
    if admin is not None:
        app.include_router(admin)

    @app.exception_handler(HTTPException)
    async def tell(_: Request, error: HTTPException) -> PlainTextResponse:
        return PlainTextResponse(str(error.detail), status_code=error.status_code, headers=error.headers)

    @app.get("/metrics")
    async def read_metrics() -> Response:
        return Response(metrics.exposition(), media_type=_METRICS_TYPE)

    @app.get("/api/check-liveness/v1")
    async def check_liveness() -> PlainTextResponse:
        problem = trouble()
        return PlainTextResponse(problem or "OK", status_code=503 if problem else 200)

    @app.get("/api/live")
    async def read_live() -> dict[str, Any]:
        return asdict(live())

    return app


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the worker has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ControlServer:
    """Serves the API from `start` to `stop`. `tcp_port` is the port of the TCP listener, if there is one."""

    def __init__(self, app: FastAPI, path: Path, tcp: Endpoint | None, tcp_app: FastAPI | None = None) -> None:
        options: dict[str, Any] = {"log_level": "warning", "access_log": False, "lifespan": "off"}
        self._unix = _Server(uvicorn.Config(app, uds=str(path), **options))
        self._tcp = _Server(uvicorn.Config(tcp_app or app, **options)) if tcp else None
        self._path = path
        self._endpoint = tcp
        self._tasks: list[asyncio.Task[None]] = []
        self.tcp_port: int | None = None

    async def start(self) -> None:
        """Listen; returns when requests are taken. Raises `ListenError`."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._serve(self._unix, None, str(self._path))
        if self._tcp is not None and self._endpoint is not None:
            listening = _bind(self._endpoint)
            self.tcp_port = listening.getsockname()[1]
            await self._serve(self._tcp, [listening], str(self.tcp_port))

    async def _serve(self, server: _Server, sockets: list[socket.socket] | None, where: str) -> None:
        task = asyncio.get_running_loop().create_task(server.serve(sockets))
        self._tasks.append(task)
        while not server.started:
            if task.done() and (error := task.exception()) is not None:
                raise ListenError(f"cannot listen: {error}", where=where) from error
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Finish open requests and remove the socket."""
        self._unix.should_exit = True
        if self._tcp is not None:
            self._tcp.should_exit = True
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._path.unlink(missing_ok=True)


def _bind(endpoint: Endpoint) -> socket.socket:
    try:
        return socket.create_server(endpoint, family=socket.AF_INET6 if ":" in endpoint[0] else socket.AF_INET)
    except OSError as error:
        where = f"{endpoint[0]}:{endpoint[1]}"
        raise ListenError(f"cannot listen: {error.strerror}", where=where, remedy="set mta.control_listen") from error
