"""Loading files once, from their beginning to their end.

Unlike following, this asks the store for nothing: every record is offered again, and the store counts those it has as
duplicates. So repeating it is safe, tells the truth about each file, and mends a store whose checkpoints ran ahead of a
file that was put back. What ends here ends: a last line without LF is a record if it reads as one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from io import FileIO

from collector.batching import BatchLimits
from collector.committing import Timing
from collector.errors import SourceError
from collector.follower import read_limits, reading
from collector.pipeline import Pipeline
from collector.settings import CollectorSettings
from collector.sources.discovery import Found, discover
from collector.sources.followed import FollowedFile
from collector.sources.segment import ReadLimits, identity
from collector.store import EventStore
from mta.events.intake import Receipt

__all__ = ["PATIENCE_S", "Progress", "ingest_paths", "ingest_stream"]

PATIENCE_S = 60.0
"""How long a store may refuse before loading is given up."""

_ROOMY = BatchLimits(records=50_000, bytes=64 << 20, age_s=10.0)
"""Nobody waits for history, and a large batch costs less a record. Settings that ask for something else have their way.
"""

Progress = Callable[[str, int, int], None]
"""Told the path being read, how many files were read before it, and how many records were committed."""


def ingest_paths(
    paths: Iterable[str],
    store: EventStore,
    settings: CollectorSettings | None = None,
    progress: Progress = lambda _path, _files, _records: None,
) -> tuple[Receipt, int]:
    """Load every file at or below the paths; what became of their records, and how many files there were.

    All paths are looked at before anything is loaded. Raises SourceError for one that cannot be read, and what the
    store raises; everything committed before that stays.
    """
    settings = settings or CollectorSettings()
    how = reading(settings)
    how = replace(how, limits=_ROOMY if how.limits == BatchLimits() else how.limits, patience_s=PATIENCE_S)
    pipeline = Pipeline(store, road="ingest", reading=how, timing=_TIMING)
    files = sorted(_files(paths), key=lambda found: found.order)
    for count, found in enumerate(files):
        progress(found.path, count, pipeline.receipt.received)
        _load(found.path, pipeline, read_limits(settings))
    pipeline.flush()
    return pipeline.receipt, len(files)


def ingest_stream(raw: FileIO, name: str, store: EventStore, settings: CollectorSettings | None = None) -> Receipt:
    """Load what comes out of a pipe, each portion as it comes, until it ends. Raises what the store raises."""
    how = reading(settings or CollectorSettings())
    how = replace(how, limits=replace(how.limits, age_s=0), patience_s=PATIENCE_S)
    pipeline = Pipeline(store, road="ingest", reading=how, timing=_TIMING)
    limits = read_limits(settings or CollectorSettings())
    _drain(FollowedFile(raw, name, f"stream:{name}", complete=True, limits=limits), pipeline)
    pipeline.flush()
    return pipeline.receipt


def _files(paths: Iterable[str]) -> Iterable[Found]:
    """Each file once, by whatever paths it can be reached."""
    files: dict[tuple[int, int], Found] = {}
    for found in discover(paths):
        if isinstance(found, SourceError):
            raise found
        files.setdefault(found.key, found)
    return files.values()


def _load(path: str, pipeline: Pipeline, limits: ReadLimits) -> None:
    try:
        with FileIO(path) as raw:
            source = identity(raw, complete=True)
            _drain(FollowedFile(raw, path, source, complete=True, limits=limits), pipeline)
    except OSError as error:
        raise SourceError.of(path, error) from error


def _drain(file: FollowedFile, pipeline: Pipeline) -> None:
    while (pieces := file.read()) is not None:
        for piece in pieces:
            pipeline.take(file, piece)
        pipeline.reached(file)
        if pipeline.due() <= 0:
            pipeline.flush()


def _wait(seconds: float) -> bool:
    time.sleep(seconds)
    return False


_TIMING = Timing(lambda: time.time_ns() // 1000, time.monotonic, _wait)
