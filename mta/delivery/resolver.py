"""DNS look-ups by dnspython, for routing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import dns.asyncresolver
import dns.flags
import dns.resolver
from dns.resolver import NXDOMAIN, NoAnswer, NoResolverConfiguration

from mta.delivery.dane import TlsaRecord
from mta.delivery.routing import Found, MxRecord

__all__ = ["DnsResolver"]

_EDNS_PAYLOAD = 1232


class DnsResolver:
    """Asks the given name servers, or the system's if there are none. `timeout` (seconds) bounds a look-up."""

    def __init__(self, nameservers: Sequence[str], port: int, timeout: float, *, dnssec: bool = False) -> None:
        """With `dnssec` the servers are believed when they say that they checked an answer."""
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not nameservers)
        except NoResolverConfiguration:  # no resolver on this machine: look-ups fail, routes still work
            self._resolver = dns.asyncresolver.Resolver(configure=False)
        if nameservers:
            self._resolver.nameservers = list(nameservers)
            self._resolver.port = port
        self._resolver.lifetime = timeout
        self._dnssec = dnssec
        if dnssec:
            self._resolver.use_edns(0, dns.flags.DO, _EDNS_PAYLOAD)
            self._resolver.set_flags(dns.flags.RD | dns.flags.AD)

    async def mx(self, domain: str) -> Found[MxRecord]:
        """MX records."""
        answer = await self._resolver.resolve(domain, "MX", search=False)
        records = [MxRecord(row.preference, row.exchange.to_text(omit_final_dot=True).strip(".")) for row in answer]
        return Found(records, _ttl(answer), self._is_secure(answer))

    async def addresses(self, host: str) -> Found[str]:
        """Addresses of both families and the shorter TTL; one family's failure matters only if both fail."""
        answers = await asyncio.gather(
            *(self._resolver.resolve(host, kind, search=False) for kind in ("A", "AAAA")), return_exceptions=True
        )
        found = [answer for answer in answers if isinstance(answer, dns.resolver.Answer)]
        if found:
            addresses = [row.address for answer in found for row in answer]
            return Found(addresses, min(map(_ttl, found)), all(map(self._is_secure, found)))
        raise _worst([answer for answer in answers if isinstance(answer, BaseException)])

    async def tlsa(self, host: str, port: int) -> Found[TlsaRecord]:
        """TLSA records of a TCP port (RFC 6698 section 3)."""
        answer = await self._resolver.resolve(f"_{port}._tcp.{host}", "TLSA", search=False)
        records = [TlsaRecord(row.usage, row.selector, row.mtype, row.cert) for row in answer]
        return Found(records, _ttl(answer), self._is_secure(answer))

    async def texts(self, name: str) -> list[str]:
        """TXT records, the strings of each put together."""
        answer = await self._resolver.resolve(name, "TXT", search=False)
        return [b"".join(row.strings).decode("utf8", "replace") for row in answer]

    def _is_secure(self, answer: Any) -> bool:
        return self._dnssec and bool(answer.response.flags & dns.flags.AD)


def _worst(errors: Sequence[BaseException]) -> BaseException:
    """A failure that may pass tells more than the other family's definite no."""
    passing = (error for error in errors if not isinstance(error, (NXDOMAIN, NoAnswer)))
    return next(passing, errors[0])


def _ttl(answer: Any) -> int:
    return int(answer.rrset.ttl) if answer.rrset is not None else 0
