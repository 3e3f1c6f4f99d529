"""Serving a lane: a task takes messages from it one after the other and delivers them on a connection that it keeps.

A task goes on to its next message only when the result of the last one is in the journal, so after a crash at most one
message per connection may reach its provider twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from mta.control.record import internal_reply
from mta.delivery.connection import Connection, Mail
from mta.delivery.connector import Connector
from mta.delivery.errors import Unreachable
from mta.delivery.lane import Lane
from mta.delivery.limit_table import Hold
from mta.delivery.report_request import ReportRequest
from mta.delivery.results import Result, Results, told_pause
from mta.delivery.return_address import ReturnAddress
from mta.errors import SpoolError
from mta.queue.message import Message
from mta.queue.spool import Spool

__all__ = ["Courier"]

_LOG = logging.getLogger(__name__)
_YIELD_PAUSE = 0.5
"""Seconds for which a task that made room for another worker does not ask again: that one notices sooner."""


@dataclass(slots=True)
class Courier:
    """Serves lanes; `connections` counts those that are open."""

    spool: Spool
    results: Results
    connector: Connector
    return_address: ReturnAddress
    connections: int = 0

    async def serve(self, lane: Lane, staff: Callable[[Lane], None]) -> None:
        """Work on a lane until there is nothing to do. `staff` is asked for more tasks when that may be worth it."""
        hold = await lane.admit()
        if hold is None:
            return
        try:
            staff(lane)
            await self._work(lane, hold, staff)
        finally:
            lane.release(hold)

    async def _work(self, lane: Lane, hold: Hold, staff: Callable[[Lane], None]) -> None:
        connection: Connection | None = None
        try:
            while True:
                patience = lane.limits.idle_timeout if connection else 0.0
                message = await lane.take(patience)
                if message is None:
                    return
                connection = await self._attempt(lane, connection, message)
                staff(lane)
                if hold.should_yield:
                    break
        finally:
            if connection is not None:
                await self._hang_up(lane, connection)
        lane.release(hold)
        await lane.pause(_YIELD_PAUSE)

    async def _attempt(self, lane: Lane, connection: Connection | None, message: Message) -> Connection | None:
        """One attempt; answers with the connection if it can be used again."""
        if not await self.spool.claim(message):  # an operator gave it up
            return connection
        if message.attempts and self.results.is_too_old(message):
            await self.results.expire(message)
            return connection
        mail = await self._mail(lane, message)
        if mail is None:
            return connection
        if connection is not None and (not connection.is_open or _is_worn(lane, connection)):
            await self._hang_up(lane, connection)
            connection = None
        return await self._deliver(lane, connection, message, mail)

    async def _deliver(
        self, lane: Lane, connection: Connection | None, message: Message, mail: Mail
    ) -> Connection | None:
        for _ in range(2):
            try:
                connection = connection or await self._connect(lane, message.domain)
            except Unreachable as error:
                await self._turned_away(lane, message, mail.body, error)
                return None
            outcome = await connection.deliver(mail)
            hop, was_first = connection.hop, connection.deliveries == 1
            if not outcome.usable:
                await self._hang_up(lane, connection)
                connection = None
            if not outcome.stale:
                break
        await self.results.conclude(message, Result(outcome.reply, lane.way, hop, reports=outcome.reports), mail.body)
        if (
            outcome.reply.code == 421 and was_first
        ):  # later on a connection it only means that the connection is used up
            await lane.pause(lane.failed(told_pause(outcome.reply)))
        return connection

    async def _connect(self, lane: Lane, domain: str) -> Connection:
        await lane.pace_connection()
        connection = await self.connector.connect(lane.way, domain)
        lane.succeeded()
        lane.connected += 1
        self.connections += 1
        return connection

    async def _hang_up(self, lane: Lane, connection: Connection) -> None:
        lane.connected -= 1
        self.connections -= 1
        if connection.is_open:
            await connection.close()

    async def _turned_away(self, lane: Lane, message: Message, body: bytes, error: Unreachable) -> None:
        """Defer the message, give up those that have waited too long behind it, and let the peer rest."""
        pause = lane.failed(told_pause(error.reply))
        await self.results.conclude(message, Result(error.reply, lane.way, error.hop, refused=True), body)
        for late in lane.remove(self.results.is_too_old):
            if await self.spool.claim(late):
                await self.results.expire(late, error.reply)
        await lane.pause(pause)

    async def _mail(self, lane: Lane, message: Message) -> Mail | None:
        try:
            body = await self.spool.read(message)
        except (OSError, SpoolError) as error:
            _LOG.error("cannot read message %s: %s", message.id, error)
            result = Result(internal_reply(451, "the spool cannot be read", "4.3.0"), lane.way)
            await self.results.conclude(message, result, b"")
            return None
        envelope = message.envelope
        sender = self.return_address(message, self.results.clock())
        return Mail(sender, message.recipient, body, envelope.utf8, ReportRequest.of(message))


def _is_worn(lane: Lane, connection: Connection) -> bool:
    return connection.deliveries >= lane.limits.max_deliveries_per_connection
