"""Where opportunistic TLS broke lately: those hosts get their mail in clear at once, not after a failed handshake.

Without this, each connection to a host with broken TLS costs two. Pure: the present instant is passed in.
"""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["BrokenTls"]

_MOST = 10_000


class BrokenTls:
    """Remembers an address for `duration` microseconds; of more than 10,000 addresses the oldest is forgotten."""

    def __init__(self, duration: int) -> None:
        self._duration = duration
        self._until: OrderedDict[str, int] = OrderedDict()

    def note(self, address: str, now: int) -> None:
        """A handshake failed there."""
        self._until[address] = now + self._duration
        self._until.move_to_end(address)
        if len(self._until) > _MOST:
            self._until.popitem(last=False)

    def holds(self, address: str, now: int) -> bool:
        """Whether a handshake failed there lately."""
        return self._until.get(address, 0) > now
