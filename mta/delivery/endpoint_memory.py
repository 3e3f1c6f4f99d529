"""Where something went wrong lately: hosts whose TLS breaks get mail in clear at once, dead ones are tried last.

Without this, each connection to a host with broken TLS costs two, and each that goes past a dead host a time-out. Pure:
the present instant is passed in.
"""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["EndpointMemory"]

_MOST = 10_000


class EndpointMemory:
    """Remembers endpoints for a while; of more than 10,000 the oldest is forgotten.

    An endpoint is an address and a port: a route may send several destinations to one address.
    """

    def __init__(self) -> None:
        self._until: OrderedDict[tuple[str, int], int] = OrderedDict()

    def note(self, endpoint: tuple[str, int], now: int, duration: int) -> None:
        """It happened there; remember that for `duration` microseconds."""
        self._until[endpoint] = now + duration
        self._until.move_to_end(endpoint)
        if len(self._until) > _MOST:
            self._until.popitem(last=False)

    def holds(self, endpoint: tuple[str, int], now: int) -> bool:
        """Whether it happened there lately."""
        return self._until.get(endpoint, 0) > now
