"""How often clients may do something: a rate for each of many, with bounded memory. Pure.

The generic cell rate algorithm: for each key one instant is kept, at which it would have used up what it may.
"""

from __future__ import annotations

from collections import OrderedDict

from mta.delivery.limits import Rate

__all__ = ["ClientRate", "client_rate"]

_MOST_KEYS = 50_000


class ClientRate:
    """One `rate` for each key, all of which may be used at once after a pause.

    Keys that have been quiet are forgotten, and if there are too many, the least recent.
    """

    def __init__(self, rate: Rate) -> None:
        self._interval = rate.period / rate.quantity
        self._tolerance = self._interval * (rate.quantity - 1)
        self._used_up: OrderedDict[str, float] = OrderedDict()

    def take(self, key: str, now: float) -> bool:
        """Whether `key` may do it once more at `now` (seconds); if so it is counted."""
        used_up = max(self._used_up.get(key, now), now)
        if used_up - now > self._tolerance:
            return False
        self._used_up[key] = used_up + self._interval
        self._used_up.move_to_end(key)
        while self._used_up and (len(self._used_up) > _MOST_KEYS or self._is_over(now)):
            self._used_up.popitem(last=False)
        return True

    def _is_over(self, now: float) -> bool:
        return next(iter(self._used_up.values())) <= now


def client_rate(text: str | None) -> ClientRate | None:
    """The rate that a setting names, if it names one."""
    return None if text is None else ClientRate(Rate.parse(text))
