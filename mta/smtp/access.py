"""How many clients may be connected: counts of open connections against their limits. No sockets here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from mta.networks import Networks

__all__ = ["Admission"]


@dataclass(slots=True)
class Admission:
    """Counts open connections against their limits, in total and per address."""

    total: int
    per_ip: int
    per_relay_ip: int
    relays: Networks
    _open: Counter[str] = field(default_factory=Counter)
    count: int = 0

    def enter(self, address: str) -> bool:
        """Whether one more connection from `address` is within the limits; if so it is counted."""
        limit = self.per_relay_ip if address in self.relays else self.per_ip
        if self.count >= self.total or self._open[address] >= limit:
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
