"""DNS look-ups by dnspython, for routing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import dns.asyncresolver
import dns.resolver
from dns.resolver import NXDOMAIN, NoAnswer, NoResolverConfiguration

from mta.delivery.routing import MxRecord

__all__ = ["DnsResolver"]


class DnsResolver:
    """Asks the given name servers, or the system's if there are none. `timeout` (seconds) bounds a look-up."""

    def __init__(self, nameservers: Sequence[str], port: int, timeout: float) -> None:
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not nameservers)
        except NoResolverConfiguration:  # no resolver on this machine: look-ups fail, routes still work
            self._resolver = dns.asyncresolver.Resolver(configure=False)
        if nameservers:
            self._resolver.nameservers = list(nameservers)
            self._resolver.port = port
        self._resolver.lifetime = timeout

    async def mx(self, domain: str) -> tuple[list[MxRecord], int]:
        """MX records and their TTL."""
        answer = await self._resolver.resolve(domain, "MX", search=False)
        records = [MxRecord(row.preference, row.exchange.to_text(omit_final_dot=True).strip(".")) for row in answer]
        return records, _ttl(answer)

    async def addresses(self, host: str) -> tuple[list[str], int]:
        """Addresses of both families and the shorter TTL; one family's failure matters only if both fail."""
        answers = await asyncio.gather(
            *(self._resolver.resolve(host, kind, search=False) for kind in ("A", "AAAA")), return_exceptions=True
        )
        found = [answer for answer in answers if isinstance(answer, dns.resolver.Answer)]
        if found:
            return [row.address for answer in found for row in answer], min(map(_ttl, found))
        raise _worst([answer for answer in answers if isinstance(answer, BaseException)])


def _worst(errors: Sequence[BaseException]) -> BaseException:
    """A failure that may pass tells more than the other family's definite no."""
    passing = (error for error in errors if not isinstance(error, (NXDOMAIN, NoAnswer)))
    return next(passing, errors[0])


def _ttl(answer: Any) -> int:
    return int(answer.rrset.ttl) if answer.rrset is not None else 0
