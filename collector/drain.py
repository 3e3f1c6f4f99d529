"""Handing what the roads have landed to the store, and deleting it once it is committed there.

Each road has its own pipeline, because a batch has one road, and its segments are read in the order in which they were
landed. While the store refuses nothing is read and the roads go on landing, until their disk budget makes them push
back: a store that is away for minutes costs disk, not records.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from collector.committing import Timing
from collector.errors import SourceError
from collector.follower import reading
from collector.landing import segments
from collector.looping import ReadingLoop
from collector.metrics import CollectorHealth
from collector.pipeline import Pipeline
from collector.settings import CollectorSettings
from collector.sources.landed import LandedSegment
from collector.store import EventStore
from mta.events.intake import Receipt

__all__ = ["Drain"]

_log = logging.getLogger(__name__)

_PORTIONS = 8
_POLL_S = 0.1


class Drain(ReadingLoop):
    """Reads the landing folders of `roads` (name and folder)."""

    def __init__(
        self,
        roads: Mapping[str, Path],
        store: EventStore,
        settings: CollectorSettings,
        *,
        health: CollectorHealth | None = None,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        timing = Timing(now, monotonic, self._stopping.wait)
        self._roads = [
            _Road(
                folder,
                Pipeline(store, road=name, reading=reading(settings), timing=timing, health=health),
                store,
            )
            for name, folder in roads.items()
        ]

    @property
    def receipt(self) -> Receipt:
        """Everything committed since the start, added up."""
        return sum((road.pipeline.receipt for road in self._roads), Receipt())

    def step(self) -> bool:
        """Read a share of each road; True if one has more."""
        more = False
        for road in self._roads:
            more |= road.step()
            if self._stopping.is_set():
                return False
        return more

    def flush(self) -> None:
        """Hand over what was gathered, however young."""
        for road in self._roads:
            road.pipeline.flush()

    def close(self) -> None:
        """Close the segments; what was not committed is read again next time."""
        for road in self._roads:
            road.close()

    def _pause_s(self) -> float:
        return min((_POLL_S, *(road.pipeline.due() for road in self._roads)))


class _Road:
    """One landing folder on its way into the store."""

    def __init__(self, folder: Path, pipeline: Pipeline, store: EventStore) -> None:
        self.pipeline = pipeline
        self._folder = folder
        self._store = store
        self._segment: LandedSegment | None = None

    def step(self) -> bool:
        """Read a share; True if there is more."""
        for _ in range(_PORTIONS):
            if self._segment is None and not self._open_next():
                break
            if not self._read():
                break
        else:
            return True
        if self.pipeline.due() <= 0:
            self.pipeline.flush()
        return False

    def close(self) -> None:
        """Give the segment back."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _read(self) -> bool:
        """One portion; False when there is nothing now."""
        segment = self._segment
        if segment is None:
            return False
        pieces = segment.read()
        for piece in pieces or ():
            self.pipeline.take(segment, piece)
        if pieces is not None or segment.finished:
            self.pipeline.reached(segment)
        if segment.finished:
            self.pipeline.flush()  # only what is committed may be deleted
            self.close()
            Path(segment.path).unlink(missing_ok=True)
            return True
        if self.pipeline.due() <= 0:
            self.pipeline.flush()
        return pieces is not None

    def _open_next(self) -> bool:
        for path in segments(self._folder):
            source = f"landing:{self._folder.name}:{path.stem}"
            reached = self._store.checkpoint(source)
            if reached is not None and reached.finished:  # killed between commit and deletion
                path.unlink(missing_ok=True)
                continue
            try:
                self._segment = LandedSegment(path, source, reached.offset if reached else 0)
            except OSError as error:
                _log.warning("%s", SourceError.of(str(path), error))
                continue
            return True
        return False
