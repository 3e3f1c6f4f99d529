"""The control API of one worker: liveness as KumoMTA answers it, metrics, and a snapshot of the moment.

It listens on a unix socket in the data directory and, if asked to, on loopback TCP. Nothing here changes anything.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse

from mta.metrics import LiveState, MtaMetrics
from mta.settings import Endpoint

__all__ = ["ControlServer", "control_app"]

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def control_app(metrics: MtaMetrics, live: Callable[[], LiveState], trouble: Callable[[], str | None]) -> FastAPI:
    """The API. `trouble` says in a few words why the worker cannot take mail now, or None."""
    app = FastAPI(title="mtascope MTA worker", docs_url=None, redoc_url=None)

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
    """Serves the API from `start` to `stop`."""

    def __init__(self, app: FastAPI, socket: Path, tcp: Endpoint | None) -> None:
        options: dict[str, Any] = {"log_level": "warning", "access_log": False, "lifespan": "off"}
        self._servers = [_Server(uvicorn.Config(app, uds=str(socket), **options))]
        self._socket = socket
        if tcp is not None:
            self._servers.append(_Server(uvicorn.Config(app, host=tcp[0], port=tcp[1], **options)))
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Listen; returns when requests are taken. An OSError or SystemExit of the server is raised here."""
        self._socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._tasks = [asyncio.get_running_loop().create_task(server.serve()) for server in self._servers]
        while not all(server.started for server in self._servers):
            for task in self._tasks:
                if task.done():
                    await task
            await asyncio.sleep(0.01)

    @property
    def tcp_port(self) -> int | None:
        """Port of the TCP listener, if there is one."""
        if len(self._servers) < 2:
            return None
        port: int = self._servers[1].servers[0].sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Finish open requests and remove the socket."""
        for server in self._servers:
            server.should_exit = True
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._socket.unlink(missing_ok=True)
