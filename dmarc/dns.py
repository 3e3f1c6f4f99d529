"""DNS as this part needs it: a small protocol that tests can satisfy, and a resolver with a cache that lives up to it.

"There is nothing" and "could not find out" are different answers: the first is an empty tuple, the second raises
LookupFailed. What failed is asked again after a minute, never remembered for long: a name server's bad hour must not
leave senders nameless for ever.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver
import dns.reversename

from dmarc.errors import LookupFailed

__all__ = ["CachedResolver", "Resolver"]

_LONGEST = 86_400.0
_SHORTEST = 60.0
_NEGATIVE = 600.0
_FAILED = 60.0
_ANSWERS_KEPT = 20_000
_AT_ONCE = 50

Answer = tuple[str, ...]


class Resolver(Protocol):
    """Each method gives what there is, in the order of the answer, () for nothing; raises LookupFailed."""

    async def txt(self, name: str) -> Answer:
        """TXT records, the strings of each joined."""

    async def addresses(self, name: str) -> Answer:
        """IPv4 and IPv6 addresses."""

    async def mx(self, name: str) -> Answer:
        """Mail hosts, the most preferred first; "" for a null MX."""

    async def names(self, address: str) -> Answer:
        """Names of an address (PTR), as claimed: nobody has checked that they lead back."""


class CachedResolver:
    """Asks the given name servers, or the system's. One event loop at a time; the cache outlives it.

    `timeout` (seconds) bounds a look-up with its retries; `clock` gives seconds that only grow.
    """

    def __init__(
        self,
        nameservers: Sequence[str] = (),
        port: int = 53,
        timeout: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not nameservers)
        except dns.resolver.NoResolverConfiguration:  # no resolver on this machine: every look-up fails
            self._resolver = dns.asyncresolver.Resolver(configure=False)
        if nameservers:
            self._resolver.nameservers = list(nameservers)
            self._resolver.port = port
        self._resolver.lifetime = timeout
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], tuple[float, Answer | None]] = OrderedDict()
        self._free: tuple[asyncio.AbstractEventLoop, asyncio.Semaphore] | None = None

    async def txt(self, name: str) -> Answer:
        """See Resolver."""
        return await self._ask(name, "TXT", lambda row: b"".join(row.strings).decode("utf-8", "replace"))

    async def addresses(self, name: str) -> Answer:
        """See Resolver."""
        four, six = await asyncio.gather(*(self._ask(name, kind, lambda row: row.address) for kind in ("A", "AAAA")))
        return four + six

    async def mx(self, name: str) -> Answer:
        """See Resolver."""
        rows = await self._ask(name, "MX", lambda row: f"{row.preference:05} {_text(row.exchange)}")
        return tuple(row[6:] for row in sorted(rows))

    async def names(self, address: str) -> Answer:
        """See Resolver."""
        try:
            name = dns.reversename.from_address(address).to_text()
        except (dns.exception.SyntaxError, ValueError):
            return ()
        return await self._ask(name, "PTR", lambda row: _text(row.target))

    async def _ask(self, name: str, kind: str, value: Callable[[Any], str]) -> Answer:
        key = (name.lower().rstrip("."), kind)
        known = self._known.get(key)
        if known is None or known[0] < self._clock():
            known = await self._find(key, value)
            self._known[key] = known
            self._known.move_to_end(key)
            while len(self._known) > _ANSWERS_KEPT:
                self._known.popitem(last=False)
        if known[1] is None:
            raise LookupFailed("no answer", where=f"{kind} of {name}", remedy="see whether the name servers work")
        return known[1]

    async def _find(self, key: tuple[str, str], value: Callable[[Any], str]) -> tuple[float, Answer | None]:
        name, kind = key
        try:
            async with self._semaphore():
                answer = await self._resolver.resolve(name, kind, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return self._clock() + _NEGATIVE, ()
        except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel):
            return self._clock() + _NEGATIVE, ()
        except (dns.exception.DNSException, OSError):
            return self._clock() + _FAILED, None
        ttl = float(answer.rrset.ttl) if answer.rrset is not None else 0.0
        return self._clock() + min(max(ttl, _SHORTEST), _LONGEST), tuple(value(row) for row in answer)

    def _semaphore(self) -> asyncio.Semaphore:
        loop = asyncio.get_running_loop()
        if self._free is None or self._free[0] is not loop:
            self._free = (loop, asyncio.Semaphore(_AT_ONCE))
        return self._free[1]


def _text(name: Any) -> str:
    return str(name.to_text(omit_final_dot=True)).strip(".").lower()
