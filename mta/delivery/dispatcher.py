"""From a message that is due to the lane of its way out.

Due messages are routed, given a source, and put in the lane of their way; each lane is served by a few tasks: see
`Courier`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from array import array
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from mta.control.record import Recorder, internal_reply
from mta.delivery.automation import Automation
from mta.delivery.connector import Connector, ProviderLabel
from mta.delivery.courier import Courier
from mta.delivery.egress import Egress, Source
from mta.delivery.ground_rules import read_credentials
from mta.delivery.lane import Lane, Way
from mta.delivery.limit_table import LimitTable
from mta.delivery.opening import Credentials
from mta.delivery.results import Result, Results
from mta.delivery.return_address import ReturnAddress, own_sender
from mta.delivery.returns import Returns
from mta.delivery.routing import Destination, Router
from mta.delivery.shaping import Shaping
from mta.delivery.suppression import Suppression
from mta.delivery.tls import TrustRoots
from mta.delivery.warm_up import WarmUps
from mta.errors import SpoolError
from mta.events.instants import SECOND
from mta.events.reply import SmtpReply
from mta.metrics import MtaMetrics
from mta.queue.message import Clock, Message
from mta.queue.naming import QueueName
from mta.queue.orders import Criteria, Order, OrderKind, Orders
from mta.queue.schedule import RetryPolicy, Schedule
from mta.queue.spool import Spool
from mta.settings import MtaSettings

__all__ = ["Dispatcher", "ProviderLabel"]

_LOG = logging.getLogger(__name__)
_TAKE = 1000
_LONGEST_SLEEP = 1.0
_TOGETHER = 200
_MOST_WAYS = 10_000
_ROLL_UP_AGAIN = 3600.0
_LOOK_AGAIN = SECOND
"""How soon a message that is held back looks whether it still must be."""


class Dispatcher:
    """Tries messages from `start` to `stop`; `add` hands them over."""

    def __init__(  # noqa: PLR0913 - it joins the queue, the network, the log and the metrics
        self,
        settings: MtaSettings,
        *,
        spool: Spool,
        router: Router,
        recorder: Recorder,
        metrics: MtaMetrics,
        returns: Returns,
        shaping: Shaping,
        egress: Egress,
        warm_ups: WarmUps,
        limit_table: LimitTable,
        automation: Automation,
        orders: Orders,
        clock: Clock,
        source: random.Random,
        provider_label: ProviderLabel = lambda _domain, _mx: "",
        return_address: ReturnAddress = own_sender,
        suppression: Suppression | None = None,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._router = router
        self._shaping = shaping
        self._egress = egress
        self._warm_ups = warm_ups
        self._limit_table = limit_table
        self._automation = automation
        automation.on_change = self._reshape
        self._clock = clock
        self._suppression = suppression
        policy = RetryPolicy(
            int(settings.retry_interval * SECOND),
            int(settings.max_retry_interval * SECOND),
            int(settings.max_age * SECOND),
            int(settings.delay_notice * SECOND),
        )
        self._results = Results(
            spool, recorder, metrics, returns, policy, clock, source, egress.pool_name, self.add, automation.judge
        )
        roots = TrustRoots(settings.tls_authorities)
        connector = Connector(metrics, clock, roots, read_credentials(settings), provider_label)
        self._courier = Courier(spool, self._results, connector, return_address)
        self._schedule = Schedule(spool.index.due)
        self._fresh: deque[Message] = deque()
        self._held = array("I")
        self._ways: dict[tuple[str, str, str, str], Way] = {}
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._unrouted: dict[str, list[Message]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._stopping = False
        self.task: asyncio.Task[None] | None = None
        self.orders = orders

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._courier.connections

    def add(self, messages: Sequence[Message]) -> None:
        """Try these when they are due."""
        now = self._clock()
        for message in messages:
            if message.due <= now:  # new mail: to forget it and read it again would cost more than all else
                self._fresh.append(message)
            else:
                self._schedule.add(message.row)
        self._wake.set()

    def add_rows(self, rows: Iterable[int]) -> None:
        """Try the messages of these rows when they are due."""
        for row in rows:
            self._schedule.add(row)
        self._wake.set()

    def start(self) -> None:
        """Begin to deliver."""
        self.task = asyncio.get_running_loop().create_task(self._run())
        if self._shaping.to_roll_up:
            self._in_background(self._roll_up(self._shaping))

    async def stop(self, grace: float) -> None:
        """Begin no attempt any more; wait at most `grace` seconds for those under way."""
        self._stopping = True  # before Python 3.12 wait_for may swallow a cancellation
        if self.task is not None:
            self.task.cancel()
            with suppress(asyncio.CancelledError):
                await self.task
        tasks = [task for lane in self._lanes.values() for task in lane.tasks]
        for lane in self._lanes.values():
            lane.close()
        for lookup in self._background:
            lookup.cancel()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # From due to a lane

    async def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            for _ in range(min(len(self._fresh), _TAKE)):
                self._route(self._fresh.popleft())
            self._automation.refresh()
            for order in self.orders.refresh(self._clock()):
                self.obey(order)
            if self._held and self.orders.have_ended(self._clock()):
                self.reconsider()
            async for message in self._loaded(self._schedule.take_due(self._clock(), _TAKE)):
                self._route(message)
            await self._sleep()

    async def _loaded(self, rows: array[int]) -> AsyncIterator[Message]:
        """The messages of rows that were taken off a list, but for those that are finished."""
        for number, row in enumerate(rows):
            try:
                message = await self._spool.load(row)
            except (OSError, SpoolError) as error:
                _LOG.error("cannot read a waiting message: %s", error)
                self.add_rows(rows[number:])  # the disk may do better next time
                await asyncio.sleep(_LONGEST_SLEEP)
                return
            if message is not None:
                yield message

    async def _sleep(self) -> None:
        due = self._schedule.next_due()
        wait = _LONGEST_SLEEP if due is None else min(_LONGEST_SLEEP, (due - self._clock()) / SECOND)
        if wait <= 0 or self._fresh:
            await asyncio.sleep(0)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), wait)

    def _route(self, message: Message, *, waited: bool = False) -> None:
        """Bring a message on its way. `waited`: it already stood before a lane."""
        if not message.attempts and (reason := self._suppressed(message)) is not None:
            self._in_background(self._results.suppress(message, reason))
            return
        order = self.orders.about(message.queue, self._clock())
        if order is not None:
            self._follow(order, message)
            return
        known = self._router.known(message.domain)
        if isinstance(known, Destination):
            self._put(known, message, waited=waited)
        elif message.domain in self._unrouted:
            self._unrouted[message.domain].append(message)
        else:
            self._unrouted[message.domain] = [message]
            self._in_background(self._look_up(message.domain))

    def _suppressed(self, message: Message) -> str | None:
        """Why the recipient is not to be sent to. Answers and notices of our own, which have no sender, always go."""
        if self._suppression is None or not message.envelope.sender:
            return None
        tenant = message.envelope.meta.get("tenant", "")
        found = self._suppression.find(message.recipient, tenant, self._clock())
        return found.reason if found is not None else None

    async def _look_up(self, domain: str) -> None:
        found = await self._router.destination(domain)
        messages = self._unrouted.pop(domain)
        if isinstance(found, Destination):
            for message in messages:
                self._put(found, message)
        else:
            for first in range(0, len(messages), _TOGETHER):
                await asyncio.gather(*(self._give_back(m, found) for m in messages[first : first + _TOGETHER]))

    async def _give_back(self, message: Message, reply: SmtpReply) -> None:
        if await self._spool.claim(message):
            await self._results.conclude(message, Result(reply))

    # What an operator orders

    def obey(self, order: Order) -> None:
        """Apply a new order to what waits: in lanes at once, on the schedule when it is about giving up."""
        if order.kind is OrderKind.SUSPEND_READY:
            for lane in self._lanes.values():
                if _ready_queue(lane.way) == order.way:
                    self._held.extend(message.row for message in lane.remove(lambda _: True))
            return
        for lane in self._lanes.values():
            for message in lane.remove(lambda message: order.criteria.match(QueueName.parse(message.queue))):
                self._follow(order, message)
        if order.kind is OrderKind.BOUNCE:
            self._in_background(self._give_up_listed(order))

    async def rebind(self, criteria: Criteria, change: Callable[[QueueName], QueueName], reason: str) -> int:
        """Put waiting messages that are meant into other queues; how many. Those under way stay where they are."""
        count = 0
        for lane in self._lanes.values():
            for message in lane.remove(lambda message: criteria.match(QueueName.parse(message.queue))):
                if await self._spool.claim(message):
                    count += await self._results.rebind(message, change, reason)
                    self._fresh.append(message)
        queues = {name for name in self._spool.index.queues if criteria.match(QueueName.parse(name))}
        for row in list(self._spool.index.rows_in(queues)):
            if self._spool.claim_listed(row):
                count += await self._results.rebind(await self._spool.peek(row), change, reason)
        self._wake.set()
        return count

    def reconsider(self) -> None:
        """An order has ended: what was held may go."""
        held, self._held = self._held, array("I")
        self.add_rows(held)

    async def _give_up_listed(self, order: Order) -> None:
        """Give up what waits, wherever it is listed."""
        queues = {name for name in self._spool.index.queues if order.criteria.match(QueueName.parse(name))}
        rows = self._spool.index.rows_in(queues)
        while group := list(islice(rows, _TOGETHER)):
            await asyncio.gather(*(self._results.give_up_listed(row, order.reason) for row in group))

    def _follow(self, order: Order, message: Message) -> None:
        if order.kind is OrderKind.SUSPEND:
            self._held.append(message.row)
        else:
            self._in_background(self._give_up_all([message], order.reason))

    async def _give_up_all(self, messages: Sequence[Message], reason: str) -> None:
        for first in range(0, len(messages), _TOGETHER):
            group = messages[first : first + _TOGETHER]
            await asyncio.gather(*(self._results.give_up(message, reason) for message in group))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _put(self, destination: Destination, message: Message, *, waited: bool = False) -> None:
        way = self._way(destination, message)
        if way is None or self._is_stopped(way, message):
            return
        key = way.key
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = lane = Lane(way, self._limit_table, self._settings.retry_interval)
        elif lane.way is not way:
            lane.adopt(way)
        if not lane.has_room(waited=waited):
            lane.overflow.append(message.row)
            return
        self._warm_ups.count(way.source.name, way.shape.provider)
        lane.put(message)
        self._staff(lane)

    def _way(self, destination: Destination, message: Message) -> Way | None:
        """The way of a message; None if it cannot be told now, and the message was put off."""
        name = self._egress.pool_name(message.envelope.meta)
        pool = self._egress.pool(name)
        if pool is None:
            text = f"there is no egress pool {name}"
            self._in_background(self._give_back(message, internal_reply(451, text, "4.3.5")))
            return None
        source = pool.choose(self._may_send(destination, message.domain))
        if source is None:
            self._schedule.hold(message.row, self._clock() + _LOOK_AGAIN)
            return None
        key = (source.name, destination.lane, destination.assurance, message.domain)
        way = self._ways.get(key)
        if way is None or way.destination is not destination:
            if len(self._ways) >= _MOST_WAYS:
                self._ways.clear()
            shape = self._shaping.shape(message.domain, destination.site, destination.names, source.name)
            self._ways[key] = way = self._automation.shaped(Way(source, destination, shape), message.domain)
        return way

    # What changes the ways

    def _is_stopped(self, way: Way, message: Message) -> bool:
        """Whether an order or a rule's effect holds the message back or gives it up, which is then done."""
        if self.orders.holds_way(_ready_queue(way), self._clock()):
            self._held.append(message.row)
            return True
        effect = self._automation.about(way, message)
        if effect is None:
            return False
        if effect.bounces:
            self._in_background(self._give_up_all([message], f"{effect.rule}: {effect.reason}"))
        else:
            self._held.append(message.row)
        return True

    def reload(
        self,
        settings: MtaSettings,
        *,
        router: Router,
        shaping: Shaping,
        egress: Egress,
        warm_ups: WarmUps,
        credentials: Mapping[str, Credentials],
        returns: Returns,
    ) -> None:
        """From now on these hold. What waits before a lane looks again which way it may go."""
        self._router, self._shaping, self._egress, self._warm_ups = router, shaping, egress, warm_ups
        self._results.returns, self._results.pool_name = returns, egress.pool_name
        self._courier.connector.credentials = credentials
        self._courier.connector.roots = TrustRoots(settings.tls_authorities)
        self._reshape()
        if shaping.to_roll_up:
            self._in_background(self._roll_up(shaping))

    def _reshape(self) -> None:
        """Other limits hold, or other effects: lanes adopt them, and what waits looks again which way it may go."""
        self._ways.clear()
        for lane in list(self._lanes.values()):
            for message in lane.remove(lambda _: True):
                self._route(message, waited=True)
        self.reconsider()

    async def _roll_up(self, shaping: Shaping) -> None:
        """Look up the mail hosts of the domains whose limits are for all on the same hosts, while these rules hold."""
        while shaping is self._shaping:
            before = shaping.rolled_up
            for domain in shaping.to_roll_up:
                found = await self._router.destination(domain)
                if isinstance(found, Destination) and found.route is None:
                    shaping.roll_up(domain, found.site)
            if shaping.rolled_up != before:
                self._reshape()
                for site, domains in shaping.shares_site():
                    _LOG.warning("shaping: %s all speak for %s: the last wins", ", ".join(domains), site)
            await asyncio.sleep(_ROLL_UP_AGAIN)

    def _may_send(self, destination: Destination, domain: str) -> Callable[[Source], bool] | None:
        """Which sources may send there today; None means all."""
        if self._warm_ups.is_empty:
            return None
        provider, now = self._shaping.provider(domain, destination.names), self._clock()
        return lambda source: self._warm_ups.has_room(source.name, provider, now)

    def _staff(self, lane: Lane) -> None:
        if lane.overflow and (rows := lane.next_overflow()):
            self._in_background(self._let_in(rows))
        if lane.wants_task:
            task = asyncio.get_running_loop().create_task(self._courier.serve(lane, self._staff))
            lane.tasks.add(task)
            task.add_done_callback(lambda done: self._ended(lane, done))

    async def _let_in(self, rows: array[int]) -> None:
        """Bring those on their way that stood before a full lane."""
        async for message in self._loaded(rows):
            if message.attempts and self._results.is_too_old(message):
                self._in_background(self._expire(message))
            else:
                self._route(message, waited=True)

    async def _expire(self, message: Message) -> None:
        if await self._spool.claim(message):
            await self._results.expire(message)

    def _ended(self, lane: Lane, task: asyncio.Task[None]) -> None:
        lane.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("delivery to %s failed", lane.way.destination.site, exc_info=error)
        if not lane.tasks and not lane.waiting and not lane.overflow:
            self._lanes.pop(lane.way.key, None)
        else:
            self._staff(lane)


def _ready_queue(way: Way) -> str:
    """The name of a way out in log records, and in KumoMTA's API."""
    return f"{way.source.name}->{way.destination.site}@smtp_client"
