"""Who may ask, how often, and how refusals and errors look: applied to every route, whatever module it stands in.

Over the owner's socket, which only its user can open, everything is allowed. Over TCP a bearer token is needed
(promise 8), but for the console's own files, which hold no data. Where the settings open the API to loopback (the demo
does), loopback clients with a loopback `Host` may read without one; the `Host` check keeps web pages from reaching a
local API by DNS rebinding.

A route that says nothing else is for those who may read everything: a tenant's token is let in only by routes that ask
for `Reader` and narrow their answer to it, so a new route cannot leak by forgetting.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from analytics.errors import QueryRefused, QueryTooLong
from exporter.access import READ, Access, Token, TokenFile, digest, matching
from exporter.api.limiter import RateLimiter
from exporter.errors import TokenFileDamaged
from exporter.settings import HttpSettings
from mta.events.errors import MtascopeError, SettingsError

__all__ = ["Reader", "admin_only", "guard", "owner_only", "read_all"]

_log = logging.getLogger(__name__)

_SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_PROTECTED = ("/v1/", "/metrics")
_OWNER = Access("owner", is_admin=True)


def guard(app: FastAPI, settings: HttpSettings, console_secret: str | None = None) -> None:
    """Check every request before its route sees it, and name every error.

    `console_secret` lets the console of this start in, to read.
    """
    doorkeeper = _Doorkeeper(settings, console_secret)

    @app.middleware("http")
    async def check(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        refused = doorkeeper.refusal(request) if request.url.path.startswith(_PROTECTED) else None
        response = await call_next(request) if refused is None else refused
        for name, value in _SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.exception_handler(SettingsError)
    @app.exception_handler(QueryRefused)
    @app.exception_handler(QueryTooLong)
    async def wrong_question(_: Request, error: MtascopeError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=422)

    @app.exception_handler(MtascopeError)
    async def named_error(_: Request, error: MtascopeError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=503 if error.temporary else 500)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": "; ".join(map(_wrong, error.errors()[:8]))}, status_code=422)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)


class _Doorkeeper:
    """Finds out who asks and leaves it in `request.state.access`, or says why not."""

    def __init__(self, settings: HttpSettings, console_secret: str | None) -> None:
        self._open = settings.open_to_loopback
        self._file = TokenFile(settings.tokens_file) if settings.tokens_file is not None else None
        secrets = {"settings": settings.token.get_secret_value() if settings.token else None, "console": console_secret}
        self._fixed = tuple(Token(name, READ, digest(one)) for name, one in secrets.items() if one)
        self._limiter = RateLimiter(settings.requests_per_second, settings.burst, time.monotonic)

    def refusal(self, request: Request) -> Response | None:
        """None when the client may go on. A unix socket has no client address: its permissions have judged already."""
        if request.client is None:
            request.state.access = _OWNER
            return None
        access = self._access(request)
        # Strangers share a bucket by address, so that guessing is slow.
        wait = self._limiter.wait(access.name if access is not None else f"@{request.client.host}")
        if wait:
            return JSONResponse({"error": "too many requests"}, 429, {"Retry-After": str(math.ceil(wait))})
        if access is None:
            return JSONResponse({"error": "a valid bearer token is needed"}, 401, {"WWW-Authenticate": "Bearer"})
        request.state.access = access
        return None

    def _stored(self) -> tuple[Token, ...]:
        try:
            return self._file.tokens() if self._file is not None else ()
        except TokenFileDamaged:
            _log.exception("tokens are refused until their file is mended")
            return ()

    def _access(self, request: Request) -> Access | None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if given and scheme.lower() == "bearer":
            found = matching(given.strip(), (*self._fixed, *self._stored()))
            return found.access if found is not None else None
        local = request.client is not None and request.client.host in _LOOPBACK
        return Access("loopback") if self._open and local and (request.url.hostname or "") in _LOOPBACK else None


def _reader(request: Request) -> Access:
    access: Access = request.state.access
    return access


Reader = Annotated[Access, Depends(_reader)]
"""A parameter of routes that a tenant may ask: they narrow their answer to `tenant` if it is set."""


def read_all(access: Reader) -> None:
    """A dependency of what is about everybody's mail."""
    if access.tenant is not None:
        raise HTTPException(403, "this token is for one tenant's mail only")


def admin_only(access: Reader) -> None:
    """A dependency of what changes data or reveals single records."""
    if not access.is_admin:
        raise HTTPException(403, "a token with the scope admin is needed")


def _wrong(detail: dict[str, Any]) -> str:
    """Which parameter, what was given, and what is wrong with it; patterns are for programs and left out."""
    what = "not of the form described" if detail["type"] == "string_pattern_mismatch" else detail["msg"]
    return f"{'.'.join(map(str, detail['loc'][1:]))}: {str(detail.get('input'))[:64]!r}: {what}"


def owner_only(request: Request) -> None:
    """A dependency of what touches files: that is asked over the owner's socket only."""
    if request.client is not None:
        raise HTTPException(403, "this is answered over the owner's socket only")
