"""Who may ask, and how refusals and errors look: applied to every route, whatever module it stands in.

Over the owner's socket, which only its user can open, everything is allowed; over TCP a bearer token is asked for where
one is set, and without one only loopback clients with a loopback `Host` are served (promise 8; the `Host` check keeps
web pages from reaching a local API by DNS rebinding).
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from exporter.settings import HttpSettings
from mta.events.errors import MtascopeError, SettingsError

__all__ = ["guard", "owner_only"]

_SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_OPEN_PATHS = frozenset({"/healthz"})


def guard(app: FastAPI, settings: HttpSettings) -> None:
    """Check every request before its route sees it, and name every error."""
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


def owner_only(request: Request) -> None:
    """A dependency of what touches files or destroys data: that is asked over the owner's socket only."""
    if request.client is not None:
        raise HTTPException(403, "this is answered over the owner's socket only")


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
