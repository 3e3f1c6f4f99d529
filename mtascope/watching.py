"""The owner's threads that watch the store for incidents and tell of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from analytics.incidents.watch import Watch
from analytics.store import Store
from exporter.alerting.channels import channels_of
from exporter.alerting.courier import Courier
from exporter.prometheus import PageSource
from exporter.watching import watch_families
from mta.events.errors import MtascopeError
from mta.events.instants import format_instant
from mtascope.resources import bounce_groups
from mtascope.settings import Settings

__all__ = ["Watching"]

_log = logging.getLogger(__name__)

_STEPS_AT_ONCE = 288
"""A day of steps: so many are judged before somebody who wants to stop is heard."""
_EVERY_S = 0.5
"""How often it is asked whether a step is complete, and whether somebody is to be told."""
_AFTER_ERROR_S = 10.0


class Watching:
    """The watch and the courier of one store. `works` are for threads of their own, until `stop`; then `close`."""

    def __init__(self, settings: Settings, store: Store) -> None:
        channels = channels_of(settings.alerting)
        self.watch = Watch(store, settings.incidents, bounce_groups(), tuple(channels))
        self.courier = Courier(store, channels)
        self._stopping = threading.Event()
        self._enabled = settings.incidents.enabled

    @property
    def families(self) -> PageSource:
        """What `/metrics` shows of them."""
        return watch_families(lambda: self.watch.health, lambda: self.courier.health)

    def status(self) -> dict[str, Any]:
        """How far the watch has come, what is open, and who is still to be told."""
        health = self.watch.health
        return {
            "judged_to": format_instant(health.judged_to) if health.judged_to else None,
            "series": health.series,
            "open": len(self.watch.open),
            "waiting": dict(self.courier.health.waiting),
        }

    @property
    def works(self) -> tuple[Callable[[], None], ...]:
        """What threads run."""
        if not self._enabled:
            return ()
        return (lambda: self._again(self._watch_on), lambda: self._again(self.courier.run_once))

    def _watch_on(self) -> int:
        return self.watch.run_once(_STEPS_AT_ONCE)

    def stop(self) -> None:
        """Ask the works to end."""
        self._stopping.set()

    def close(self) -> None:
        """Save what was learnt; after the works have ended."""
        try:
            self.watch.close()
        except MtascopeError:
            _log.exception("what the watch has learnt could not be saved; it will be learnt again")

    def _again(self, work: Callable[[], int]) -> None:
        """A full disk or a refused query ends neither: both begin again from what is kept."""
        while not self._stopping.is_set():
            try:
                work()
                pause = _EVERY_S
            except MtascopeError:
                _log.exception("the watch for incidents will try again")
                pause = _AFTER_ERROR_S
            self._stopping.wait(pause)
