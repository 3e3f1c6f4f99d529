"""What an operator orders about waiting mail: hold some of it back, or give it up.

Criteria are KumoMTA's: those that are set must all hold, and an order without any is about everything. An order ends by
itself. Orders stand in a file that the workers of a data directory share: whoever is asked, all obey, and a restart
ends none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from mta.queue.naming import QueueName
from mta.queue.shared_file import SharedFile

__all__ = ["Criteria", "Order", "OrderKind", "Orders"]

_LOG = logging.getLogger(__name__)
_LOOK = 500_000
"""Microseconds after which the file is looked at again."""


class OrderKind(Enum):
    """What is to be done."""

    SUSPEND = "suspend"
    BOUNCE = "bounce"
    SUSPEND_READY = "suspend-ready-q"
    """Hold back what goes one way out, named as in log records: `source->site@smtp_client`."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """Which messages are meant; None and an empty sequence mean any."""

    domain: str | None = None
    tenant: str | None = None
    campaign: str | None = None
    queue_names: Sequence[str] = ()
    routing_domain: str | None = None

    def match(self, queue: QueueName) -> bool:
        """Whether the mail of a queue is meant."""
        return (
            (self.domain is None or queue.domain == self.domain)
            and (self.tenant is None or queue.tenant == self.tenant)
            and (self.campaign is None or queue.campaign == self.campaign)
            and (self.routing_domain is None or queue.routing_domain == self.routing_domain)
            and (not self.queue_names or str(queue) in self.queue_names)
        )


@dataclass(frozen=True, slots=True)
class Order:
    """One order, until `expires` (an instant). `way` names the ready queue of a SUSPEND_READY; it has no criteria."""

    id: str
    kind: OrderKind
    criteria: Criteria
    reason: str
    expires: int
    way: str = ""


class Orders:
    """The orders that stand. Without a `path` they are this worker's alone, until it ends."""

    def __init__(self, path: Path | None = None) -> None:
        self._file = SharedFile(path) if path else None
        self._stamp = 0
        self._looked = 0
        self._orders: dict[str, Order] = {}
        self._some_ended = False

    def give(self, kind: OrderKind, criteria: Criteria, reason: str, expires: int, way: str = "") -> Order:
        """A new order, with an id; durable when this returns. Raises OSError."""
        order = Order(str(uuid4()), kind, criteria, reason, expires, way)
        self._change(lambda orders: {**orders, order.id: order})
        return order

    def cancel(self, order_id: str, kind: OrderKind) -> bool:
        """End an order; False if there is none of that id and kind. Raises OSError."""
        self._read()
        found = self._orders.get(order_id)
        if found is None or found.kind is not kind:
            return False
        self._change(lambda orders: {id_: order for id_, order in orders.items() if id_ != order_id})
        return True

    def refresh(self, now: int) -> list[Order]:
        """Orders that others gave since this was last asked."""
        if now - self._looked < _LOOK:
            return []
        self._looked = now
        known = set(self._orders)
        self._read()
        return [order for order in self._orders.values() if order.id not in known and order.expires > now]

    def standing(self, kind: OrderKind, now: int) -> list[Order]:
        """The orders that hold at that instant."""
        self._expire(now)
        return [order for order in self._orders.values() if order.kind is kind]

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

    def holds_way(self, way: str, now: int) -> bool:
        """Whether what goes a way out is held back."""
        return bool(self._orders) and any(order.way == way for order in self.standing(OrderKind.SUSPEND_READY, now))

    # The file

    def _read(self) -> None:
        if self._file is None or (stamp := self._file.stamp) == self._stamp:
            return
        self._stamp = stamp
        try:
            self._take(_orders(self._file.read()))
        except (OSError, ValueError, TypeError, KeyError) as error:
            _LOG.error("%s cannot be read, the orders known so far stand: %s", self._file.path, error)

    def _change(self, change: Callable[[dict[str, Order]], dict[str, Order]]) -> None:
        if self._file is None:
            self._take(change(self._orders))
            return
        self._file.change(lambda held: _written(change(_orders(held))))
        self._read()

    def _take(self, orders: dict[str, Order]) -> None:
        self._some_ended |= not set(self._orders) <= set(orders)
        self._orders = orders

    def _expire(self, now: int) -> None:
        if any(order.expires <= now for order in self._orders.values()):
            self._take({id_: order for id_, order in self._orders.items() if order.expires > now})


def _written(orders: Mapping[str, Order]) -> bytes:
    rows = [{**asdict(order), "kind": order.kind.value} for order in orders.values()]
    return orjson.dumps(rows, option=orjson.OPT_INDENT_2)


def _orders(held: bytes) -> dict[str, Order]:
    rows = orjson.loads(held) if held else []
    return {row["id"]: _order(row) for row in rows}


def _order(row: Mapping[str, Any]) -> Order:
    return Order(**{**row, "kind": OrderKind(row["kind"]), "criteria": Criteria(**row["criteria"])})
