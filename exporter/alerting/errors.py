"""What can go wrong while people are told of incidents."""

from __future__ import annotations

from mta.events.errors import MtascopeError

__all__ = ["DeliveryFailed"]


class DeliveryFailed(MtascopeError):
    """The receiver did not take a notification; it is tried again."""

    temporary = True
