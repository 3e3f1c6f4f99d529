"""From a message that is due to the durable result of an attempt.

Due messages are routed and put in the lane of their destination; each lane is served by a few tasks, each with a
connection of its own that it uses again and again. A task goes on to its next message only when the result of the
last one is in the journal, so after a crash at most one message per connection may reach its provider twice.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mta.control.record import INTERNAL, Hop, Outcome, Recorder, internal_reply
from mta.delivery.broken_tls import BrokenTls
from mta.delivery.connection import Connection, Mail, Unreachable
from mta.delivery.lane import Lane
from mta.delivery.return_address import ReturnAddress, own_sender
from mta.delivery.returns import Failure, Returns
from mta.delivery.routing import Destination, Host, Router
from mta.delivery.shaping import Limits, Shaping
from mta.errors import SpoolError
from mta.events.instants import SECOND
from mta.events.reply import SmtpReply
from mta.metrics import MtaMetrics
from mta.queue.entries import LogRecord
from mta.queue.message import Clock, Message
from mta.queue.orders import Order, OrderKind, Orders
from mta.queue.schedule import RetryPolicy, Schedule
from mta.queue.spool import Spool
from mta.settings import MtaSettings

__all__ = ["Dispatcher", "ProviderLabel"]

ProviderLabel = Callable[[str, str | None], str]
"""The metric label of the provider that serves a recipient domain by an MX host."""

_LOG = logging.getLogger(__name__)
_TAKE = 1000
_LONGEST_SLEEP = 1.0
_BUSY_PAUSE = 0.02
_TOGETHER = 200
_TOO_OLD = internal_reply(551, "the message waited too long", "5.4.7")
_LOOK_AGAIN = SECOND
"""How soon a suspended message looks whether it still is."""


@dataclass(frozen=True, slots=True)
class _Result:
    """What an attempt came to. `refused` says that it ended before there was a session: no verdict on the recipient."""

    reply: SmtpReply
    site: str | None = None
    hop: Hop | None = None
    refused: bool = False


class Dispatcher:
    """Tries messages from `start` to `stop`; `add` hands them over. `connections` counts those that are open."""

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
        clock: Clock,
        source: random.Random,
        provider_label: ProviderLabel = lambda _domain, _mx: "",
        return_address: ReturnAddress = own_sender,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._router = router
        self._recorder = recorder
        self._metrics = metrics
        self._returns = returns
        self._shaping = shaping
        self._clock = clock
        self._source = source
        self._provider_label = provider_label
        self._return_address = return_address
        self._policy = RetryPolicy(
            int(settings.retry_interval * SECOND),
            int(settings.max_retry_interval * SECOND),
            int(settings.max_age * SECOND),
        )
        self._broken_tls = BrokenTls(int(settings.remember_broken_tls * SECOND))
        self._schedule = Schedule()
        self._lanes: dict[tuple[str, Limits], Lane] = {}
        self._unrouted: dict[str, list[Message]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.connections = 0
        self.orders = Orders()

    def add(self, messages: Sequence[Message]) -> None:
        """Try these when they are due."""
        for message in messages:
            self._schedule.add(message)
        self._wake.set()

    def start(self) -> None:
        """Begin to deliver."""
        self.task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self, grace: float) -> None:
        """Begin no attempt any more; wait at most `grace` seconds for those under way."""
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
        while True:
            self._wake.clear()
            for message in self._schedule.take_due(self._clock(), _TAKE):
                self._route(message)
            await self._sleep()

    async def _sleep(self) -> None:
        due = self._schedule.next_due()
        wait = _LONGEST_SLEEP if due is None else min(_LONGEST_SLEEP, (due - self._clock()) / SECOND)
        if wait <= 0:
            await asyncio.sleep(0)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), wait)

    def _route(self, message: Message) -> None:
        if message.id not in self._spool.messages:  # given up by an operator while it waited
            return
        order = self.orders.about(message, self._clock())
        if order is not None:
            self._follow(order, message)
            return
        known = self._router.known(message.domain)
        if isinstance(known, Destination):
            self._put(known, message)
        elif message.domain in self._unrouted:
            self._unrouted[message.domain].append(message)
        else:
            self._unrouted[message.domain] = [message]
            self._in_background(self._look_up(message.domain))

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
        await self._begin(message)
        await self._conclude(message, _Result(reply))

    # What an operator orders

    def obey(self, order: Order) -> None:
        """Apply a new order to what waits: in lanes at once, on the schedule when it is about giving up."""
        for lane in self._lanes.values():
            for message in lane.remove(order.criteria.match):
                self._follow(order, message)
        if order.kind is OrderKind.BOUNCE:
            waiting = [m for m in self._spool.messages.values() if not m.busy and order.criteria.match(m)]
            self._in_background(self._give_up_all(waiting, order))

    def message(self, queue_id: str) -> Message | None:
        """The message of that id, if it waits."""
        return self._spool.messages.get(queue_id)

    def queue(self, name: str, limit: int) -> tuple[int, list[Message]]:
        """How many messages wait in a queue, and the first of them."""
        found = [message for message in self._spool.messages.values() if message.queue == name]
        return len(found), found[:limit]

    def _follow(self, order: Order, message: Message) -> None:
        if order.kind is OrderKind.SUSPEND:
            self._schedule.hold(message, min(order.expires, self._clock() + _LOOK_AGAIN))
        else:
            self._in_background(self._give_up_all([message], order))

    async def _give_up_all(self, messages: Sequence[Message], order: Order) -> None:
        for first in range(0, len(messages), _TOGETHER):
            await asyncio.gather(*(self._give_up(message, order) for message in messages[first : first + _TOGETHER]))

    async def _give_up(self, message: Message, order: Order) -> None:
        if message.busy or message.id not in self._spool.messages:  # an attempt is under way, or it has ended
            return
        message.busy = True
        record = self._recorder.admin_bounce(message, self._clock(), order.reason)
        await self._spool.finish(message, [record])

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _put(self, destination: Destination, message: Message) -> None:
        limits = self._shaping.limits(message.domain, tuple(host.name for host in destination.hosts))
        lane = self._lanes.get((destination.lane, limits))
        if lane is None:
            lane = Lane(destination, limits, self._settings.retry_interval)
            self._lanes[destination.lane, limits] = lane
        lane.destination = destination
        lane.put(message)
        self._staff(lane)

    def _staff(self, lane: Lane) -> None:
        while lane.wants_task:
            task = asyncio.get_running_loop().create_task(self._serve(lane))
            lane.tasks.add(task)
            task.add_done_callback(lambda done, lane=lane: self._ended(lane, done))  # type: ignore[misc]

    def _ended(self, lane: Lane, task: asyncio.Task[None]) -> None:
        lane.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("delivery to %s failed", lane.destination.site, exc_info=error)
        if not lane.tasks and not lane.waiting:
            self._lanes.pop((lane.destination.lane, lane.limits), None)
        else:
            self._staff(lane)

    # Serving a lane

    async def _serve(self, lane: Lane) -> None:
        connection: Connection | None = None
        try:
            while True:
                await lane.pace_message()
                patience = self._settings.idle_timeout if connection else 0.0
                message = await lane.take(patience)
                if message is None:
                    return
                connection = await self._attempt(lane, connection, message)
                self._staff(lane)
        finally:
            if connection is not None:
                await self._hang_up(lane, connection)

    async def _attempt(self, lane: Lane, connection: Connection | None, message: Message) -> Connection | None:
        """One attempt; answers with the connection if it can be used again."""
        await self._begin(message)
        if message.attempts and self._is_too_old(message):
            await self._expire(message)
            return connection
        mail = await self._mail(message)
        if mail is None:
            return connection
        if connection is not None and (not connection.is_open or self._is_worn(lane, connection)):
            await self._hang_up(lane, connection)
            connection = None
        for _ in range(2):
            try:
                connection = connection or await self._connect(lane, message.domain)
            except Unreachable as error:
                await self._turned_away(lane, message, mail.body, error)
                return None
            outcome = await connection.deliver(mail)
            hop = connection.hop
            if not outcome.usable:
                await self._hang_up(lane, connection)
                connection = None
            if not outcome.stale:
                break
        await self._conclude(message, _Result(outcome.reply, lane.destination.site, hop), mail.body)
        return connection

    async def _turned_away(self, lane: Lane, message: Message, body: bytes, error: Unreachable) -> None:
        """Defer the message, give up those that have waited too long behind it, and let the peer rest."""
        pause = lane.failed()
        await self._conclude(message, _Result(error.reply, lane.destination.site, error.hop, refused=True), body)
        for late in lane.remove(self._is_too_old):
            await self._begin(late)
            await self._expire(late, error.reply)
        await lane.pause(pause)

    def _is_too_old(self, message: Message) -> bool:
        return self._clock() >= self._policy.expires(message.envelope.received_at)

    async def _mail(self, message: Message) -> Mail | None:
        try:
            body = await self._spool.read(message)
        except (OSError, SpoolError) as error:
            _LOG.error("cannot read message %s: %s", message.id, error)
            await self._conclude(message, _Result(internal_reply(451, "the spool cannot be read", "4.3.0")), b"")
            return None
        envelope = message.envelope
        return Mail(self._return_address(message, self._clock()), message.recipient, body, envelope.utf8)

    @staticmethod
    def _is_worn(lane: Lane, connection: Connection) -> bool:
        return connection.deliveries >= lane.limits.max_deliveries_per_connection

    async def _connect(self, lane: Lane, domain: str) -> Connection:
        """The first host that takes us; else the refusal of the last one that said something, else the last failure."""
        refusals: list[Unreachable] = []
        await lane.pace_connection()
        for host in lane.destination.hosts:
            label = self._provider_label(domain, host.name)
            for address in host.addresses:
                try:
                    connection = await self._open(lane, host, address, label)
                except Unreachable as error:
                    refusals.append(error)
                else:
                    lane.succeeded()
                    lane.connected += 1
                    self.connections += 1
                    return connection
        raise next((error for error in reversed(refusals) if error.hop is not None), refusals[-1])

    async def _open(self, lane: Lane, host: Host, address: str, label: str) -> Connection:
        """Connect to one address, with TLS unless that broke there lately."""
        endpoint = (address, host.port)

        def report(result: str, version: str) -> None:
            self._metrics.tls("outbound", label, result, version)
            if result == "failed":
                self._broken_tls.note(endpoint, self._clock())

        encrypt = lane.limits.enable_tls and not self._broken_tls.holds(endpoint, self._clock())
        return await Connection.open(host.name, address, host.port, self._settings, report, starttls=encrypt)

    async def _hang_up(self, lane: Lane, connection: Connection) -> None:
        lane.connected -= 1
        self.connections -= 1
        if connection.is_open:
            await connection.close()

    # Results

    async def _begin(self, message: Message) -> None:
        while message.busy:  # noqa: ASYNC110 - compaction is copying it; an Event per message costs more than it saves
            await asyncio.sleep(_BUSY_PAUSE)
        message.busy = True

    async def _conclude(self, message: Message, result: _Result, body: bytes | None = None) -> None:
        reply, now = result.reply, self._clock()
        code = reply.code or 0
        local = reply.text.startswith(INTERNAL)
        if code // 100 == 2:
            self._metrics.attempted("delivered")
            await self._spool.finish(message, [self._record("Delivery", message, now, result)])
        elif code >= 500 and not result.refused:
            self._metrics.attempted("local" if local else "bounced")
            host = result.hop.name if result.hop else ""
            await self._returns.give_up(message, Failure("bounced", reply, host), body)
            await self._spool.finish(message, [self._record("Bounce", message, now, result)])
        else:
            self._metrics.attempted("local" if local else "deferred")
            await self._defer(message, now, result, body)

    async def _defer(self, message: Message, now: int, result: _Result, body: bytes | None) -> None:
        records = [self._record("TransientFailure", message, now, result)]
        attempts = message.attempts + 1
        due = now + self._policy.delay(attempts, self._source)
        if due < self._policy.expires(message.envelope.received_at):
            await self._spool.postpone(message, due, records)
            self.add([message])
            return
        host = result.hop.name if result.hop else ""
        await self._returns.give_up(message, Failure("expired", result.reply, host), body)
        records.append(self._recorder.expiration(message, now, attempts=attempts, last_answer=str(result.reply)))
        await self._spool.finish(message, records)

    async def _expire(self, message: Message, last: SmtpReply | None = None) -> None:
        now = self._clock()
        await self._returns.give_up(message, Failure("expired", last or _TOO_OLD))
        answer = str(last) if last else ""
        record = self._recorder.expiration(message, now, attempts=message.attempts, last_answer=answer)
        await self._spool.finish(message, [record])

    def _record(self, kind: Outcome, message: Message, now: int, result: _Result) -> LogRecord:
        return self._recorder.attempt(kind, message, now, result.reply, site=result.site, hop=result.hop)
