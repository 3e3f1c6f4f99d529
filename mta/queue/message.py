"""What the queue knows of a message while it waits: everything but its body, which stays in the journal."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["Clock", "Envelope", "Message", "Place", "SpoolIds"]

Clock = Callable[[], int]
"""Gives the present instant (microseconds, UTC)."""

_GREGORIAN_TO_UNIX = 0x01B21DD213814000
"""Intervals of 100 ns from the start of UUID v1 time (1582-10-15) to 1970 (RFC 9562 section 5.1)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where bytes stand in the journal."""

    segment: int
    offset: int
    size: int


@dataclass(slots=True, eq=False)
class Envelope:
    """What the recipients of one accepted message share.

    `sender` is "" for the null reverse-path. `meta` holds tenant, campaign and pool; `size` is that of the body.
    """

    sender: str
    received_at: int
    size: int
    protocol: str = "ESMTP"
    message_id: str | None = None
    meta: Mapping[str, str] = field(default_factory=dict)
    utf8: bool = False
    """The sender asked for SMTPUTF8 (RFC 6531)."""
    session_id: str | None = None
    ret: str = ""
    """How much of the message a delivery report returns: FULL, HDRS or "" (RFC 3461 section 4.3)."""
    envid: str = ""
    """The sender's own name for the transaction, as xtext (RFC 3461 section 4.4)."""
    priority: int = 0
    """From -9 to 9, more is sooner (RFC 6710)."""
    request: str = ""
    """Which part of which request it came by, if that named an idempotency key: `request/number`."""


@dataclass(slots=True, eq=False)
class Message:
    """One recipient of one accepted message: the unit that is scheduled, tried, counted and logged.

    `attempts` counts failed attempts. `due` is when to try (again). `domain` is the one by which it is routed. `row` is
    its number in the spool's index. Like a copy of a page: the spool knows whether the message still waits.
    """

    id: str
    recipient: str
    domain: str
    queue: str
    envelope: Envelope
    attempts: int = 0
    due: int = 0
    notify: str = ""
    """When the sender wants a delivery report: NEVER, or some of SUCCESS, FAILURE, DELAY (RFC 3461 section 4.1)."""
    orcpt: str = ""
    """The recipient as the sender knows it, `type;xtext` (RFC 3461 section 4.2)."""
    row: int = -1


class SpoolIds:
    """Makes spool ids: UUIDs of version 1 as 32 hex digits, which therefore hold their time of creation.

    The node field is random with the multicast bit set (RFC 9562 section 6.10), so that no hardware address leaks and
    two processes never meet. Ids of one maker grow by at least 100 ns each.
    """

    def __init__(self, clock: Clock, source: random.Random) -> None:
        self._clock = clock
        self._node = source.getrandbits(48) | 1 << 40
        self._sequence = source.getrandbits(14) | 0x8000
        self._last = 0

    def make(self) -> str:
        """A new id."""
        self._last = ticks = max(self._clock() * 10 + _GREGORIAN_TO_UNIX, self._last + 1)
        low, middle, high = ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0x0FFF | 0x1000
        return f"{low:08x}{middle:04x}{high:04x}{self._sequence:04x}{self._node:012x}"
