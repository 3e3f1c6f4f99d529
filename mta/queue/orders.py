"""What an operator orders about waiting mail: hold some of it back, or give it up. Pure.

Criteria are KumoMTA's: those that are set must all hold, and an order without any is about everything. An order ends by
itself. Orders live in memory: after a restart there are none, and what was given up stays given up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from uuid import uuid4

from mta.queue.naming import QueueName

__all__ = ["Criteria", "Order", "OrderKind", "Orders"]


class OrderKind(Enum):
    """What is to be done."""

    SUSPEND = "suspend"
    BOUNCE = "bounce"


@dataclass(frozen=True, slots=True)
class Criteria:
    """Which messages are meant; None and an empty sequence mean any."""

    domain: str | None = None
    tenant: str | None = None
    campaign: str | None = None
    queue_names: Sequence[str] = ()

    def match(self, queue: QueueName) -> bool:
        """Whether the mail of a queue is meant."""
        return (
            (self.domain is None or queue.domain == self.domain)
            and (self.tenant is None or queue.tenant == self.tenant)
            and (self.campaign is None or queue.campaign == self.campaign)
            and (not self.queue_names or str(queue) in self.queue_names)
        )


@dataclass(frozen=True, slots=True)
class Order:
    """One order, until `expires` (an instant)."""

    id: str
    kind: OrderKind
    criteria: Criteria
    reason: str
    expires: int


class Orders:
    """The orders of a worker."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}
        self._some_ended = False

    def give(self, kind: OrderKind, criteria: Criteria, reason: str, expires: int) -> Order:
        """A new order, with an id."""
        order = Order(str(uuid4()), kind, criteria, reason, expires)
        self._orders[order.id] = order
        return order

    def cancel(self, order_id: str, kind: OrderKind) -> bool:
        """End an order; False if there is none of that id and kind."""
        found = self._orders.get(order_id)
        if found is None or found.kind is not kind:
            return False
        self._end(order_id)
        return True

    def _end(self, order_id: str) -> None:
        del self._orders[order_id]
        self._some_ended = True

    def standing(self, kind: OrderKind, now: int) -> list[Order]:
        """The orders that hold at that instant."""
        self._expire(now)
        return [order for order in self._orders.values() if order.kind is kind]

    def _expire(self, now: int) -> None:
        for order in [order for order in self._orders.values() if order.expires <= now]:
            self._end(order.id)

    def have_ended(self, now: int) -> bool:
        """Whether an order has ended since this was last asked."""
        self._expire(now)
        ended, self._some_ended = self._some_ended, False
        return ended

    def about(self, queue: str, now: int) -> Order | None:
        """What is ordered about the mail of a queue: giving it up goes before holding it."""
        if not self._orders:
            return None
        name = QueueName.parse(queue)
        for kind in (OrderKind.BOUNCE, OrderKind.SUSPEND):
            for order in self.standing(kind, now):
                if order.criteria.match(name):
                    return order
        return None
