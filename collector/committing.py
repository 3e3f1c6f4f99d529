"""Committing one batch while the next is being made.

Reading needs the interpreter, committing needs the database and the disk: done in turn, each waits for the other. So a
batch is committed in a thread of its own, one at a time and in order, while the caller reads on. At most two batches
exist: the one being committed and the one being made. What goes wrong in the thread is raised at the next call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from collector.metrics import CollectorHealth
from collector.store import EventStore, StagingStore
from mta.events.errors import MtascopeError
from mta.events.intake import Batch, Receipt

__all__ = ["Committer", "Timing"]

_FIRST_RETRY_S = 0.1
_WORTH_STAGING = 2_000
"""Records; for fewer it is quicker to leave everything to the commit. Unread ones belong to this thread's parsers."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Timing:
    """The clocks of one run, passed in so that tests own them.

    `now` gives microseconds UTC, `monotonic` seconds; `wait` pauses for so many seconds and returns True, at once, when
    the run is to stop.
    """

    now: Callable[[], int]
    monotonic: Callable[[], float]
    wait: Callable[[float], bool]


class Committer:
    """Offers batches to a store until it has them. `receipt` adds up everything that was committed.

    A store that refuses for the moment is asked again, for at most `patience_s` seconds, with pauses of at most
    `max_retry_s`.
    """

    def __init__(
        self,
        store: EventStore,
        timing: Timing,
        health: CollectorHealth,
        *,
        patience_s: float,
        max_retry_s: float,
    ) -> None:
        self._store = store
        self._timing = timing
        self._health = health
        self._patience_s = patience_s
        self._max_retry_s = max_retry_s
        self._running: _Commit | None = None
        self.receipt = Receipt()

    def start(self, batch: Batch) -> None:
        """Commit this batch as soon as the one before it is committed; returns when that is so.

        Raises what the store raises when it refuses for good, or when the run is to stop while it refuses: about this
        batch or the one before it. Nothing that comes after a batch that was refused may be offered.
        """
        newest, received = _newest_event(batch), batch.received
        ready: Any = batch
        if isinstance(self._store, StagingStore) and (batch.unread or received >= _WORTH_STAGING):
            ready = self._patiently(self._store.stage, batch)
            del batch  # its records have been taken apart: nothing needs them any more
        self.finish()
        self._running = _Commit(
            partial(self._patiently, partial(self._commit, received=received, newest=newest), ready)
        )

    def finish(self) -> None:
        """Wait until nothing is being committed. Raises what `start` does."""
        if self._running is not None:
            running, self._running = self._running, None
            running.wait()

    def _commit(self, offered: Any, *, received: int, newest: int) -> None:
        before = self._timing.monotonic()
        receipt = self._store.load(offered)
        seconds = self._timing.monotonic() - before
        self.receipt += receipt
        self._health.committed(records=received, seconds=seconds, newest_event=newest)

    def _patiently(self, work: Callable[[Any], _T], subject: Any) -> _T:
        """Do it until it is done."""
        started = self._timing.monotonic()
        pause = _FIRST_RETRY_S
        while True:
            try:
                return work(subject)
            except MtascopeError as error:
                self._health.failed(error, self._timing.now())
                spent = self._timing.monotonic() - started
                if not error.temporary or spent >= self._patience_s or self._timing.wait(pause):
                    raise
                pause = min(2 * pause, self._max_retry_s)


class _Commit:
    """Work in a thread of its own."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="commit", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until it is done; raises what went wrong."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as failure:  # noqa: BLE001 - raised again by whoever waits
            self._failure = failure


def _newest_event(batch: Batch) -> int:
    """The time of the newest event; of lines that are unread the last one speaks for those before it."""
    last = (portion.read(len(portion.lines) - 1) for portion in batch.unread)
    told = [outcome for outcome in last if isinstance(outcome, tuple)]
    return max((event.time for events in (*batch.records, *told) for event in events), default=0)
