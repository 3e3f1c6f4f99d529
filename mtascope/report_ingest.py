"""Loading reports from files and a mailbox. What only mailboxes need is imported when there is one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import chain, islice
from typing import Any

from analytics.dmarc_store import DmarcStore
from analytics.store import Store
from dmarc.ingest import ReportIngest, ingest_files
from dmarc.mailbox.folder import find_files
from dmarc.reader_process import ingest_paths
from dmarc.settings import ImapSettings
from mtascope.keys import load_keyring
from mtascope.settings import Settings

__all__ = ["ingest_reports"]

_FEW = 100
"""Files that are read here; more are worth processes of their own."""
_MOST_READERS = 4


def ingest_reports(
    store: Store,
    settings: Settings,
    paths: Sequence[str],
    progress: Callable[[str, int], None] | None = None,
    imap: ImapSettings | None = None,
) -> dict[str, Any]:
    """Store the reports under `paths` and those that wait in a mailbox; what `mtascope dmarc ingest --json` prints."""
    began = time.monotonic()
    tell = progress or (lambda *_: None)
    with closing(DmarcStore(store)) as reports:
        ingest = ReportIngest(reports, load_keyring(settings.folder.keys), store.clock, settings.dmarc)
        files = chain.from_iterable(map(find_files, paths))
        first = list(islice(files, _FEW))
        if len(first) < _FEW:
            ingest_files(first, ingest, tell)
        else:
            names = (file.name for file in chain(first, files))
            for done in ingest_paths(names, ingest, min(os.cpu_count() or 1, _MOST_READERS)):
                tell("", done)
        if imap is not None:
            from mtascope.report_mailboxes import empty_once

            empty_once(imap, ingest, settings.dmarc, store.clock)
    return asdict(ingest.receipt) | {"seconds": round(time.monotonic() - began, 3)}
