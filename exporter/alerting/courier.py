"""Carries what waits in the store to the channels, again and again until it is taken: at least once, in order.

A notification is written in the transaction that changed its incident, and removed after the receiver took it; a kill
between the two repeats it, under the same delivery id. A receiver that is away delays its own channel only.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from analytics.incidents import journal
from analytics.incidents.journal import Notification
from analytics.store import Store
from exporter.alerting.channels import Channel
from exporter.alerting.errors import DeliveryFailed
from mta.events.instants import DAY, MINUTE, SECOND

__all__ = ["Courier", "CourierHealth"]

_log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 5 * SECOND, 15 * MINUTE
_GIVE_UP = 3 * DAY
_HOLD_EVERY_S = 60.0


@dataclass(slots=True)
class CourierHealth:
    """What was sent and what failed, by channel, since the start; `waiting` as of the last round."""

    results: Counter[tuple[str, str]] = field(default_factory=Counter)
    waiting: dict[str, int] = field(default_factory=dict)


class Courier:
    """One thread calls `run_once` again and again."""

    def __init__(self, store: Store, channels: Mapping[str, Channel]) -> None:
        self.health = CourierHealth(waiting=dict.fromkeys(channels, 0))
        for channel in channels:
            self.health.results.update({(channel, result): 0 for result in ("sent", "failed", "dropped")})
        self._store = store
        self._channels = channels
        self._held_at = 0.0

    def run_once(self) -> int:
        """Try everything that is due; how many were taken."""
        con = self._store.cursor()
        try:
            due = journal.due_notifications(con, self._store.clock())
        finally:
            con.close()
        taken = sum(self._carry(one) for one in due)
        self._hold()
        con = self._store.cursor()
        try:
            self.health.waiting = {**dict.fromkeys(self._channels, 0), **journal.waiting(con)}
        finally:
            con.close()
        return taken

    def _carry(self, one: Notification) -> bool:
        now = self._store.clock()
        channel = self._channels.get(one.channel)
        if channel is None or now - one.written_at > _GIVE_UP:
            self._done(one, "dropped")
            _log.error(
                "nobody took notification %s for %s: %s", one.id, one.channel, one.last_error or "not set any more"
            )
            return False
        try:
            channel.send(one)
        except DeliveryFailed as error:
            self.health.results[one.channel, "failed"] += 1
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE << min(one.attempts, 12))
            with self._store.writing() as con:
                journal.put_off(con, one, now + pause, str(error))
            return False
        self._done(one, "sent")
        return True

    def _done(self, one: Notification, result: str) -> None:
        self.health.results[one.channel, result] += 1
        with self._store.writing() as con:
            journal.sent(con, one)

    def _hold(self) -> None:
        """Every minute, tell the channels that forget what is still open."""
        if time.monotonic() - self._held_at < _HOLD_EVERY_S:
            return
        self._held_at = time.monotonic()
        con = self._store.cursor()
        try:
            told = [journal.as_json(one) for one in journal.find(con, only_open=True) if one.told_at is not None]
        finally:
            con.close()
        for name, channel in self._channels.items():
            try:
                channel.hold(told)
            except DeliveryFailed as error:
                self.health.results[name, "failed"] += 1
                _log.warning("%s: %s", name, error)
