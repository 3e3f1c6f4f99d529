"""Loading reports from files and a mailbox. What only mailboxes need is imported when there is one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmarc.ingest import ReportIngest, ingest_files
from dmarc.mailbox.folder import SourceFile, find_files
from dmarc.reader_process import ReaderProcesses, ingest_paths

if TYPE_CHECKING:  # a store takes long to load: readers are started before
    from analytics.store import Store
    from dmarc.settings import ImapSettings
    from mtascope.settings import Settings

__all__ = ["ReportFiles", "ingest_alone", "ingest_reports", "report_files"]

_FEW = 100
_SMALL = 512 * 1024
"""Files, and bytes in them, that are read here; more are worth processes of their own."""
_MOST_READERS = 4

Progress = Callable[[str, int], None]
"""Told the file that is being read and how many were."""


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """Files to be read, and the processes that do so where there are many."""

    files: Iterable[SourceFile]
    readers: ReaderProcesses | None = None


@contextmanager
def report_files(paths: Sequence[str]) -> Iterator[ReportFiles]:
    """The files under `paths`. Their readers are started at once, and ended with the `with` block."""
    files = chain.from_iterable(map(find_files, paths))
    first = list(islice(files, _FEW))
    if len(first) < _FEW and sum(map(_size, first)) < _SMALL:
        yield ReportFiles(first)
        return
    with ReaderProcesses(min(os.cpu_count() or 1, _MOST_READERS, len(first))) as readers:
        yield ReportFiles(chain(first, files), readers)


def ingest_reports(
    store: Store,
    settings: Settings,
    paths: Sequence[str] | ReportFiles,
    progress: Progress | None = None,
    imap: ImapSettings | None = None,
) -> dict[str, Any]:
    """Store the reports under `paths` and those that wait in a mailbox; what `mtascope dmarc ingest --json` prints."""
    from analytics.dmarc_store import DmarcStore
    from mtascope.keys import load_keyring

    if not isinstance(paths, ReportFiles):
        with report_files(paths) as files:
            return ingest_reports(store, settings, files, progress, imap)
    began = time.monotonic()
    with closing(DmarcStore(store)) as reports:
        ingest = ReportIngest(reports, load_keyring(settings.folder.keys), store.clock, settings.dmarc)
        _ingest_files(paths, ingest, progress or (lambda *_: None))
        if imap is not None:
            from mtascope.report_mailboxes import empty_once

            empty_once(imap, ingest, settings.dmarc, store.clock)
    return asdict(ingest.receipt) | {"seconds": round(time.monotonic() - began, 3)}


def ingest_alone(
    settings: Settings, paths: Sequence[str], progress: Progress | None = None, imap: ImapSettings | None = None
) -> dict[str, Any]:
    """The same with the store opened here, while the readers start."""
    with report_files(paths) as files:
        from mtascope.opened_store import open_store

        with open_store(settings) as store:
            return ingest_reports(store, settings, files, progress, imap)


def _size(file: SourceFile) -> int:
    try:
        return Path(file.path).stat().st_size
    except OSError:
        return 0


def _ingest_files(files: ReportFiles, ingest: ReportIngest, tell: Progress) -> None:
    if files.readers is None:
        ingest_files(files.files, ingest, tell)
        return
    for done in ingest_paths((file.path for file in files.files), ingest, files.readers):
        tell("", done)
