"""What the owner of a store does now and then, in a thread of its own and never in anybody's way.

- Learn anew how failures clump, which is what widens intervals.
- If the settings ask for it, look up in DNS the MX of domains that the log tells nothing of: at a bounded rate, each at
  most once a day (or as its TTL says, if that is longer), and never while mail is loaded.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import dns.exception
import dns.resolver

from analytics import dispersion
from analytics.domains import unknown_domains
from analytics.store import Store
from mta.events.errors import MtascopeError
from mta.events.instants import DAY, HOUR, MINUTE, SECOND
from mta.events.provider import OTHER, ProviderMap
from mtascope.settings import ProviderSettings

__all__ = ["DomainLookup", "Upkeep", "mail_hosts"]

_log = logging.getLogger(__name__)
_FIT_EVERY = 6 * HOUR
_LOOK_EVERY = 5 * MINUTE
_REMEMBERED = 100_000

MailHosts = Callable[[str], tuple[Sequence[str], int]]
"""The MX hosts of a domain, the best first, and for how many seconds that holds. None for a domain without any."""


def mail_hosts(domain: str) -> tuple[Sequence[str], int]:
    """What DNS says; ((), 0) where there is no answer."""
    try:
        answer = dns.resolver.resolve(domain, "MX", lifetime=5)
    except dns.exception.DNSException:
        return (), 0
    hosts = sorted((record.preference, str(record.exchange).rstrip(".")) for record in answer)
    return [host for _, host in hosts if host], answer.rrset.ttl if answer.rrset is not None else 0


class DomainLookup:
    """Asks for the MX of the unknown domains with the most mail and tells the store who serves them."""

    def __init__(self, store: Store, providers: ProviderMap, hosts: MailHosts, per_minute: float) -> None:
        self._store = store
        self._providers = providers
        self._hosts = hosts
        self._pause = 60 / per_minute
        self._ask_again: dict[str, int] = {}

    def look(self, wait: Callable[[float], bool]) -> int:
        """Ask for every domain that is due; how many were. `wait` lets seconds pass and says whether to stop."""
        now, asked = self._store.clock(), 0
        if len(self._ask_again) > _REMEMBERED:
            self._ask_again.clear()
        for found in unknown_domains(self._store, since=now - DAY, limit=500):
            if found.provider != OTHER or not found.domain or self._ask_again.get(found.domain, 0) > now:
                continue
            hosts, ttl = self._hosts(found.domain)
            self._ask_again[found.domain] = now + max(DAY, ttl * SECOND)
            asked += 1
            if hosts:
                self._store.learn_provider(found.domain, self._providers.lookup(found.domain, hosts[0]))
            if wait(self._pause):
                break
        return asked


class Upkeep:
    """Runs until told to stop."""

    def __init__(self, store: Store, providers: ProviderMap, settings: ProviderSettings) -> None:
        self._store = store
        self._stopping = threading.Event()
        self._lookup = (
            DomainLookup(store, providers, mail_hosts, settings.resolve_per_minute) if settings.resolve else None
        )

    def run(self) -> None:
        """A round every few minutes."""
        fitted_at = 0
        while not self._stopping.wait(_LOOK_EVERY / SECOND if fitted_at else 30):
            try:
                if self._store.clock() - fitted_at > _FIT_EVERY:
                    dispersion.fit(self._store)
                    fitted_at = self._store.clock()
                if self._lookup is not None:
                    self._lookup.look(self._stopping.wait)
            except MtascopeError:
                _log.exception("upkeep of the store was put off")

    def stop(self) -> None:
        """Ask `run` to end; from any thread."""
        self._stopping.set()
