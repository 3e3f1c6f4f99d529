"""How often a client may ask: a bucket of requests that refills at a steady rate."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

__all__ = ["RateLimiter"]

_CLIENTS = 10_000
"""Clients remembered; the one that has been silent longest is forgotten first, with a full bucket."""


class RateLimiter:
    """`per_second` requests in the long run, `burst` at once, for each client by itself. Not thread-safe."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float]) -> None:
        self._rate = per_second
        self._burst = float(burst)
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Take one request of the client's: 0 if it may be made, else the seconds until one may."""
        now = self._clock()
        left, at = self._left.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        allowed = left >= 1
        self._left[client] = (left - 1 if allowed else left, now)
        if len(self._left) > _CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._rate
