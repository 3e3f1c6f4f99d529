"""Joining the reader of DMARC reports with the store that keeps them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import chain
from typing import Any

from analytics.dmarc_store import DmarcStore
from analytics.store import Store
from dmarc.ingest import ReportIngest, ingest_files
from dmarc.mailbox.folder import find_files
from mtascope.keys import load_keyring
from mtascope.settings import Settings

__all__ = ["ingest_reports"]


def ingest_reports(
    store: Store, settings: Settings, paths: Sequence[str], progress: Callable[[str, int], None] | None = None
) -> dict[str, Any]:
    """Store the reports under `paths`; what `mtascope dmarc ingest --json` prints."""
    began = time.monotonic()
    with closing(DmarcStore(store)) as reports:
        taken = ReportIngest(reports, load_keyring(settings.folder.keys), store.clock, settings.dmarc)
        ingest_files(chain.from_iterable(map(find_files, paths)), taken, progress or (lambda *_: None))
    return asdict(taken.receipt) | {"seconds": round(time.monotonic() - began, 3)}
