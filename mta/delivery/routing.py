"""Where mail for a domain goes: the configured routes, else its MX records (RFC 5321 section 5.1, RFC 7505).

`Router.destination` answers with a `Destination` or, where there is none, with the reply to log: a permanent one
bounces the message, a transient one defers it. Both are kept for as long as DNS allows.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Generic, Protocol, TypeVar

from dns.exception import DNSException
from dns.resolver import NXDOMAIN, NoAnswer

from mta.control.record import internal_reply
from mta.delivery.dane import TlsaRecord
from mta.delivery.mta_sts import StsMode, StsPolicy
from mta.events.instants import HOUR, MINUTE, SECOND
from mta.events.reply import SmtpReply
from mta.networks import Networks
from mta.queue.message import Clock
from mta.settings import MtaSettings, Route

__all__ = ["Destination", "Found", "Host", "MxRecord", "Resolver", "Router", "site_name"]

_CACHE_SIZE = 10_000
_MIN_TTL, _MAX_TTL, _FAILURE_TTL = 30 * SECOND, HOUR, MINUTE
_MAX_HOSTS = 10
_MAX_ADDRESSES = 4


@dataclass(frozen=True, slots=True)
class Host:
    """A mail host: the name to log, where to connect."""

    name: str
    addresses: tuple[str, ...]
    port: int
    tlsa: tuple[TlsaRecord, ...] | None = None
    """Its TLSA records; None if it has none, or none that DNSSEC vouches for."""


@dataclass(frozen=True, slots=True)
class Destination:
    """The hosts for a domain in the order in which to try them.

    Domains with the same mail hosts share one `site`, which is the name that the log shows, and one `lane`, which is
    what limits apply to. For MX they are the same; two routes may log one host name and still lead to two places.
    """

    site: str
    hosts: tuple[Host, ...]
    lane: str
    assurance: str = ""
    """What mail for it asks of TLS beyond the limits: connections are not shared across different values."""
    route: Route | None = None
    """The route that leads there, if it is not MX records."""
    sts: StsPolicy | None = None
    """The MTA-STS policy of the domain."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its hosts."""
        return tuple(host.name for host in self.hosts)


@dataclass(frozen=True, slots=True)
class MxRecord:
    """One MX record; `exchange` without its final dot, "" for the null MX."""

    preference: int
    exchange: str


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """What DNS says: values, how many seconds it holds, and whether the resolver vouches for it (DNSSEC)."""

    values: list[T]
    ttl: int
    secure: bool = False


class Resolver(Protocol):
    """The look-ups that routing needs. Failures are dnspython's: NXDOMAIN or NoAnswer if there is nothing."""

    async def mx(self, domain: str) -> Found[MxRecord]:
        """MX records of a domain."""

    async def addresses(self, host: str) -> Found[str]:
        """IPv4 and then IPv6 addresses of a host."""

    async def tlsa(self, host: str, port: int) -> Found[TlsaRecord]:
        """TLSA records of a host's TCP port."""

    async def texts(self, name: str) -> list[str]:
        """TXT records of a name."""


class Router:
    """Finds destinations and remembers them."""

    def __init__(
        self,
        settings: MtaSettings,
        resolver: Resolver,
        clock: Clock,
        source: random.Random,
        sts: Callable[[str], Awaitable[StsPolicy | None]] | None = None,
    ) -> None:
        """`sts` looks up the MTA-STS policy of a domain; None if policies are not asked for."""
        self._routes = {route.domain: route for route in settings.routes}
        self._routed = {route.domain: _routed(route) for route in settings.routes if route.address}
        self._own_name = settings.hostname.lower()
        self._port = settings.smtp_port
        self._prohibited = Networks(settings.prohibited_networks)
        self._dane = settings.dnssec
        self._resolver = resolver
        self._sts = sts
        self._clock = clock
        self._source = source
        self._cache: OrderedDict[str, tuple[int, Destination | SmtpReply]] = OrderedDict()

    def known(self, domain: str) -> Destination | SmtpReply | None:
        """The answer if it needs no look-up."""
        route = self._route(domain)
        if route is not None and route.domain in self._routed:
            return self._routed[route.domain]
        expires, answer = self._cache.get(domain, (0, None))
        return answer if expires > self._clock() else None

    async def destination(self, domain: str) -> Destination | SmtpReply:
        """Where mail for `domain` goes, or why it cannot go anywhere."""
        answer = self.known(domain)
        if answer is None:
            answer, ttl = await self._look_up(domain)
            self._cache[domain] = (self._clock() + ttl, answer)
            self._cache.move_to_end(domain)
            if len(self._cache) > _CACHE_SIZE:
                self._cache.popitem(last=False)
        return answer

    def _route(self, domain: str) -> Route | None:
        return self._routes.get(domain) or self._routes.get("*")

    async def _look_up(self, domain: str) -> tuple[Destination | SmtpReply, int]:
        route = self._route(domain)
        if route is not None:
            return await self._to_host(route)
        try:
            found = await self._resolver.mx(domain)
        except NXDOMAIN:
            return internal_reply(550, f"the domain {domain} does not exist", "5.1.2"), _FAILURE_TTL
        except NoAnswer:
            found = Found([MxRecord(0, domain)], _FAILURE_TTL // SECOND)
        except DNSException as error:
            return _dns_trouble(f"MX of {domain}", error), _MIN_TTL
        if all(not record.exchange for record in found.values):
            return internal_reply(556, f"{domain} accepts no mail (null MX)", "5.1.10"), _clamp(found.ttl)
        names = self._in_order(self._before_us(found.values))
        if not names:
            text = f"mail for {domain} leads back to us: we are its first mail host"
            return internal_reply(554, text, "5.4.6"), _clamp(found.ttl)
        return await self._with_policy(domain, Found(names, found.ttl, found.secure))

    async def _with_policy(self, domain: str, names: Found[str]) -> tuple[Destination | SmtpReply, int]:
        """Leave out hosts that the domain's policy, if it is enforced, does not name (RFC 8461 section 4.1)."""
        policy = await self._sts(domain) if self._sts else None
        if policy is None or policy.mode is not StsMode.ENFORCE:
            return await self._with_addresses(domain, names, policy)
        allowed = [name for name in names.values if policy.allows(name)]
        if not allowed:
            text = f"none of the mail hosts of {domain} is in its MTA-STS policy"
            return internal_reply(451, text, "4.7.10"), _FAILURE_TTL
        return await self._with_addresses(domain, replace(names, values=allowed), policy)

    async def _to_host(self, route: Route) -> tuple[Destination | SmtpReply, int]:
        """The host that a route names, wherever it is: a route may lead to where an MX record may not."""
        try:
            found = await self._resolver.addresses(route.host)
        except DNSException as error:  # also where there is none: whoever set the route can mend that
            return _dns_trouble(f"address of {route.host}", error), _MIN_TTL
        return _routed(route, found.values), _clamp(found.ttl)

    def _before_us(self, records: Sequence[MxRecord]) -> list[MxRecord]:
        """Without ourselves and all that is not preferred to us, where mail would only come back (section 5.1)."""
        ours = [record.preference for record in records if record.exchange.lower() == self._own_name]
        return [record for record in records if record.exchange and (not ours or record.preference < min(ours))]

    def _in_order(self, records: Sequence[MxRecord]) -> list[str]:
        """Lower preference first; equals in random order, which spreads the load (RFC 5321 section 5.1)."""
        shuffled = sorted(records, key=lambda record: (record.preference, self._source.random()))
        return [record.exchange.lower() for record in shuffled][:_MAX_HOSTS]

    async def _with_addresses(
        self, domain: str, names: Found[str], sts: StsPolicy | None
    ) -> tuple[Destination | SmtpReply, int]:
        hosts: list[Host] = []
        trouble: SmtpReply | None = None
        prohibited, ttl = False, names.ttl
        for name in names.values:
            try:
                found = await self._resolver.addresses(name)
                tlsa = await self._tlsa(name) if names.secure and found.secure else None
            except (NXDOMAIN, NoAnswer):
                continue
            except DNSException as error:  # for TLSA too: who hides them may be after the mail (RFC 7672 section 2.1)
                trouble = _dns_trouble(f"address of {name}", error)
                continue
            allowed = [address for address in found.values if address not in self._prohibited]
            prohibited = prohibited or len(allowed) < len(found.values)
            ttl = min(ttl, found.ttl)
            if allowed:
                hosts.append(Host(name, _by_turns(allowed), self._port, tlsa))
        if hosts:
            site = site_name([host.name for host in hosts])
            assurance = "sts" if sts is not None and sts.mode is StsMode.ENFORCE else ""
            return Destination(site, tuple(hosts), site, assurance, None, sts), _clamp(ttl)
        if trouble is not None:
            return trouble, _MIN_TTL
        why = "point only to prohibited addresses" if prohibited else "have no address"
        return internal_reply(550, f"the mail hosts of {domain} {why}", "5.4.4"), _FAILURE_TTL

    async def _tlsa(self, host: str) -> tuple[TlsaRecord, ...] | None:
        if not self._dane:
            return None
        try:
            found = await self._resolver.tlsa(host, self._port)
        except (NXDOMAIN, NoAnswer):
            return None
        return tuple(found.values) if found.secure else None


def site_name(names: Sequence[str]) -> str:
    """One name for a set of hosts, as KumoMTA folds them: what they end in alike is written once."""
    unique = sorted(set(names))
    if len(unique) == 1:
        return unique[0]
    reversed_labels = [name.split(".")[::-1] for name in unique]
    shared = 0
    while all(len(labels) > shared and labels[shared] == reversed_labels[0][shared] for labels in reversed_labels):
        shared += 1
    tail = ".".join(reversed_labels[0][:shared][::-1])
    heads = [".".join(labels[shared:][::-1]) for labels in reversed_labels]
    optional = "?" if "" in heads else ""
    folded = f"({'|'.join(head for head in heads if head)}){optional}"
    return f"{folded}.{tail}" if tail else folded


def _routed(route: Route, found: Sequence[str] = ()) -> Destination:
    """What a route says; the addresses are its own, or those that were found for its host."""
    addresses = (str(route.address),) if route.address else _by_turns(found)
    host = Host(route.host, addresses, route.port)
    where = f"[{route.address}]" if route.address else ""
    assurance = "" if route.tls == "shaping" else f"route {route.tls} {route.user or ''}"
    return Destination(route.host, (host,), f"{route.host} {where}:{route.port}", assurance, route)


def _by_turns(addresses: Sequence[str]) -> tuple[str, ...]:
    """The families in turns, so that a broken one costs one attempt; IPv4 first, where senders are known longer."""
    families = [[each for each in addresses if (":" in each) is is_v6] for is_v6 in (False, True)]
    mixed = (address for pair in zip_longest(*families) for address in pair if address)
    return tuple(mixed)[:_MAX_ADDRESSES]


def _dns_trouble(what: str, error: DNSException) -> SmtpReply:
    return internal_reply(451, f"DNS: cannot look up the {what}: {type(error).__name__}", "4.4.3")


def _clamp(ttl_seconds: int) -> int:
    return max(_MIN_TTL, min(ttl_seconds * SECOND, _MAX_TTL))
