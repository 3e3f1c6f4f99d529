"""Fetching an MTA-STS policy over HTTPS (RFC 8461 section 3.3): checked, no redirects, bounded in size and time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address

import httpx
from dns.exception import DNSException

from mta.delivery.errors import PolicyError
from mta.delivery.routing import Found
from mta.networks import Networks

__all__ = ["PolicyFetcher"]

_PATH = "/.well-known/mta-sts.txt"
_MAX_BYTES = 64 * 1024
_MOST_AT_ONCE = 8

Addresses = Callable[[str], Awaitable[Found[str]]]
"""Addresses of a host; dnspython's exceptions."""


@dataclass(slots=True)
class PolicyFetcher:
    """Asks `mta-sts.<domain>` at an address that the MTA's own resolver found and that is not prohibited."""

    addresses: Addresses
    prohibited: Networks
    trust: ssl.SSLContext
    port: int = 443
    patience: float = 60.0
    _turn: asyncio.Semaphore | None = None

    async def __call__(self, domain: str) -> bytes:
        """The policy file. Raises `PolicyError`."""
        self._turn = self._turn or asyncio.Semaphore(_MOST_AT_ONCE)
        try:
            async with self._turn, asyncio.timeout(self.patience):
                return await self._get(f"mta-sts.{domain}")
        except (httpx.HTTPError, httpx.InvalidURL, DNSException, OSError, TimeoutError) as error:
            text = f"cannot be fetched: {type(error).__name__} {error}".strip()
            raise PolicyError(text, where=f"mta-sts.{domain}") from error

    async def _get(self, host: str) -> bytes:
        found = await self.addresses(host)
        address = next((each for each in found.values if each not in self.prohibited), None)
        if address is None:
            raise PolicyError("has no address that may be asked", where=host)
        shown = f"[{address}]" if ip_address(address).version == 6 else address
        url = f"https://{shown}:{self.port}{_PATH}"
        content = bytearray()
        async with (
            httpx.AsyncClient(
                verify=self.trust, follow_redirects=False, trust_env=False, timeout=self.patience
            ) as client,
            client.stream("GET", url, headers={"Host": host}, extensions={"sni_hostname": host}) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                raise PolicyError(f"answered {answer.status_code}", where=host)
            async for piece in answer.aiter_bytes():
                content += piece
                if len(content) > _MAX_BYTES:
                    raise PolicyError(f"is larger than {_MAX_BYTES} bytes", where=host)
        return bytes(content)
