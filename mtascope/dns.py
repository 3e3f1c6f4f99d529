"""The outside world for questions about domains: the resolver of the settings, and the fetching of one kind of page."""

from __future__ import annotations

from functools import cache

import httpx

from dmarc.dns import CachedResolver
from dmarc.errors import LookupFailed
from dmarc.settings import DmarcSettings

__all__ = ["fetch_policy", "resolver_of"]

_PAGE_LIMIT = 64 * 1024
"""Bytes (RFC 8461 section 3.3)."""
_TIMEOUT = 10.0


def resolver_of(settings: DmarcSettings) -> CachedResolver:
    """The resolver that the settings name; one for all who ask, because its cache is worth sharing."""
    return _resolver(tuple(str(server) for server in settings.nameservers), settings.nameserver_port)


@cache
def _resolver(servers: tuple[str, ...], port: int) -> CachedResolver:
    return CachedResolver(servers, port)


async def fetch_policy(url: str) -> str | None:
    """The text of an https page; None for any answer but 200. Redirects are not followed (RFC 8461 section 3.3)."""
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT) as client, client.stream("GET", url) as answer:
            if answer.status_code != httpx.codes.OK:
                return None
            content = b""
            async for chunk in answer.aiter_bytes():
                content += chunk
                if len(content) > _PAGE_LIMIT:
                    return None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise LookupFailed(f"no answer: {error}", where=url) from error
    return content.decode("utf-8", "replace")
