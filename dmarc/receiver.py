"""Taking TLS reports over HTTPS (RFC 8460 section 5.4): POST, gzip or JSON, kept on disk before the 201.

Anyone may post here, so sizes, the number of posts a client may make in a minute, and what may wait are bounded. What
is taken is not looked at: it goes to a folder like any other mailbox, and whoever reads that judges it.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request, Response

from dmarc.settings import ReceiverSettings

__all__ = ["create_receiver"]

_TYPES = ("application/tlsrpt+gzip", "application/tlsrpt+json", "application/gzip", "application/json")
_CLIENTS = 10_000
_MINUTE = 60.0


def create_receiver(settings: ReceiverSettings, folder: Path, clock: Callable[[], float] = time.monotonic) -> FastAPI:
    """The application. `folder` is where reports are dropped."""
    app = FastAPI(title="mtascope reports", docs_url=None, redoc_url=None, openapi_url=None)
    rate = _Rate(settings.posts_per_minute, clock)
    folder.mkdir(parents=True, exist_ok=True)

    @app.post("/{path:path}", status_code=201)
    async def take(request: Request, path: str) -> Response:  # noqa: ARG001 - whatever the operator has published
        if not rate.allows(request.client.host if request.client else ""):
            raise HTTPException(429, "too many reports", {"Retry-After": "60"})
        body = await _body(request, settings.max_bytes)
        if await asyncio.to_thread(_waiting, folder) >= settings.max_waiting:
            raise HTTPException(503, "too many reports wait", {"Retry-After": "600"})
        try:
            await asyncio.to_thread(_drop, folder, body)
        except OSError as error:
            raise HTTPException(503, "cannot be kept now", {"Retry-After": "600"}) from error
        return Response(status_code=201)

    return app


async def _body(request: Request, limit: int) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in _TYPES:
        raise HTTPException(415, "application/tlsrpt+gzip or application/tlsrpt+json is wanted")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise HTTPException(413, "too large")
    if not body:
        raise HTTPException(400, "empty")
    return body


def _waiting(folder: Path) -> int:
    return sum(1 for entry in os.scandir(folder) if entry.is_file())


def _drop(folder: Path, body: bytes) -> None:
    """Whole and on disk when it returns; a hidden name until then."""
    name = uuid.uuid4().hex
    half = folder / f".{name}"
    try:
        with half.open("xb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        half.rename(folder / name)
    except OSError:
        half.unlink(missing_ok=True)
        raise


class _Rate:
    """So many posts a minute of each client; the oldest clients are forgotten."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def allows(self, client: str) -> bool:
        began, count = self._seen.pop(client, (self._clock(), 0))
        if self._clock() - began > _MINUTE:
            began, count = self._clock(), 0
        self._seen[client] = (began, count + 1)
        while len(self._seen) > _CLIENTS:
            self._seen.popitem(last=False)
        return count < self._most
