"""Following folders for as long as the process runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from collector.batching import BatchLimits
from collector.committing import Timing
from collector.formats.stamps import zone_named
from collector.looping import ReadingLoop
from collector.metrics import CollectorHealth
from collector.pipeline import Pipeline, Reading
from collector.settings import CollectorSettings
from collector.sources.followed import FollowedFile
from collector.sources.segment import ReadLimits
from collector.sources.tail import Tail
from collector.store import EventStore
from mta.events.intake import Receipt

__all__ = ["Follower", "read_limits", "reading"]

_log = logging.getLogger(__name__)

_PORTIONS = 32  # reads of one file, 1 MiB each at most, before the next file has its turn


class Follower(ReadingLoop):
    """Hands everything that appears in the settings' paths to the store, from where the store says it stopped.

    A new Follower goes on where this one's last commit was. `health` may be read at any time.
    """

    def __init__(
        self,
        settings: CollectorSettings,
        store: EventStore,
        *,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._settings = settings
        self._timing = Timing(now, monotonic, self._stopping.wait)
        self.health = CollectorHealth()
        self._tail = Tail(
            settings.paths,
            checkpoint=store.checkpoint,
            monotonic=monotonic,
            limits=read_limits(settings),
            max_open=settings.max_open_files,
            idle_close=settings.idle_close_s,
        )
        self._pipeline = Pipeline(
            store, road="tail", reading=reading(settings), timing=self._timing, health=self.health
        )
        self._known_errors: set[str] = set()

    @property
    def receipt(self) -> Receipt:
        """Everything committed since the start, added up."""
        return self._pipeline.receipt

    def step(self) -> bool:
        """Look once at every path and read what is new; True if there was more than one look takes."""
        more = False
        for file in self._tail.poll():
            more |= self._read(file)
            if self._stopping.is_set():
                break
        self._observe()
        if self._pipeline.due() <= 0:
            self._pipeline.flush()
        return more

    def flush(self) -> None:
        """Hand over what was gathered, however young."""
        self._pipeline.flush()

    def close(self) -> None:
        """Close every file, as `run` does at its end; what was not committed is read again next time."""
        self._tail.close()

    def _pause_s(self) -> float:
        """Until the next look. Looking at tens of thousands of files takes its time: a tenth of ours at most."""
        return min(max(self._settings.poll_interval_s, 9 * self._tail.look_s), self._pipeline.due())

    def _read(self, file: FollowedFile) -> bool:
        """Read a file's share of this look; True if it has more."""
        for _ in range(_PORTIONS):
            pieces = file.read()
            if pieces is None:
                return False
            for piece in pieces:
                self._pipeline.take(file, piece)
            self._pipeline.reached(file)
            if self._pipeline.due() <= 0:
                self._pipeline.flush()
            if self._stopping.is_set():
                return False
        return True

    def _observe(self) -> None:
        self.health.files_open = self._tail.files_open
        self.health.files_finished = self._tail.files_finished
        self.health.backlog_bytes = self._tail.backlog_bytes
        for error in self._tail.errors:
            if str(error) not in self._known_errors:  # a folder that stays away is one error, not two a second
                self.health.failed(error, self._timing.now())
                _log.warning("%s", error)
        self._known_errors = {str(error) for error in self._tail.errors}


def read_limits(settings: CollectorSettings) -> ReadLimits:
    """The part of the settings that bounds a source."""
    return ReadLimits(settings.max_line_bytes, settings.quarantine_bytes, settings.max_window_bytes)


def reading(settings: CollectorSettings) -> Reading:
    """The part of the settings that says how records are read and gathered."""
    return Reading(
        format=settings.format,
        node=settings.node,
        zone=zone_named(settings.timezone),
        year=settings.year,
        limits=BatchLimits(settings.batch_records, settings.batch_bytes, settings.batch_age_s),
        kept_bytes=settings.quarantine_bytes,
        max_retry_s=settings.max_retry_s,
    )
