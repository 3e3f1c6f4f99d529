"""Who may connect, and who may send where: counts, rates and names against what the settings allow. No sockets here."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mta.networks import Networks
from mta.smtp.rate import ClientRate

__all__ = ["Admission", "RelayDomains"]


@dataclass(slots=True)
class Admission:
    """Counts open connections against their limits, in total and per address."""

    total: int
    per_ip: int
    per_relay_ip: int
    relays: Networks
    rate: ClientRate | None = None
    """How often an address that is no relay may connect."""
    now: Callable[[], float] = time.monotonic
    _open: Counter[str] = field(default_factory=Counter)
    count: int = 0

    def enter(self, address: str) -> bool:
        """Whether one more connection from `address` is within the limits; if so it is counted."""
        limit = self.per_relay_ip if address in self.relays else self.per_ip
        if self.count >= self.total or self._open[address] >= limit:
            return False
        if self.rate is not None and address not in self.relays and not self.rate.take(address, self.now()):
            return False
        self._open[address] += 1
        self.count += 1
        return True

    def leave(self, address: str) -> None:
        """The connection that was counted is gone."""
        self.count -= 1
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]


class RelayDomains:
    """Domains to which everybody may send. `*.example.com` means every name below example.com, and not that itself."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)

    def __contains__(self, domain: str) -> bool:
        if not self._names:
            return False
        if domain in self._names:
            return True
        labels = domain.split(".")
        return any(f"*.{'.'.join(labels[first:])}" in self._names for first in range(1, len(labels)))
