"""Joining the reader of DMARC reports with the store that keeps them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import chain, islice
from typing import Any

from analytics.dmarc_questions import coverage, own_addresses, published_policy, source_traffic
from analytics.dmarc_store import DmarcStore
from analytics.store import Store
from dmarc.advisor import Coverage, advise
from dmarc.ingest import ReportIngest, ingest_files
from dmarc.mailbox.folder import find_files
from dmarc.reader_process import ingest_paths
from dmarc.senders import OwnAddress, ServiceMap, SourceTraffic, identify
from mta.events.address import canonical_domain
from mta.events.instants import DAY, format_instant
from mtascope.keys import load_keyring
from mtascope.settings import Settings

_FEW = 100
"""Files that are read here; more are worth processes of their own."""
_MOST_READERS = 4

__all__ = ["advice_answer", "ingest_reports"]


def ingest_reports(
    store: Store, settings: Settings, paths: Sequence[str], progress: Callable[[str, int], None] | None = None
) -> dict[str, Any]:
    """Store the reports under `paths`; what `mtascope dmarc ingest --json` prints."""
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
    return asdict(ingest.receipt) | {"seconds": round(time.monotonic() - began, 3)}


def advice_answer(store: Store, domain: str, days: int, until: int | None = None) -> dict[str, Any]:
    """Whether the policy of a domain may be made stricter, by `days` of reports: what `dmarc advise --json` prints."""
    name = canonical_domain(domain)
    end = _next_midnight(store.clock() if until is None else until)
    begin = end - days * DAY
    own = {
        address: OwnAddress(used["source"], used["pool"], used["node"])
        for address, used in own_addresses(store, begin).items()
    }
    services = ServiceMap.shipped()
    traffic = [_traffic(row) for row in source_traffic(store, name, begin, end)]
    advice = advise(
        name,
        published_policy(store, name).get("p"),
        [(item, identify(item, name, services, own)) for item in traffic],
        Coverage(**coverage(store, name, begin, end)),
        end,
    )
    return asdict(advice) | {"since": format_instant(begin), "until": format_instant(end)}


def _traffic(row: dict[str, Any]) -> SourceTraffic:
    lists = {name: tuple(sorted(row[name])) for name in ("signers", "senders", "broken_signers")}
    return SourceTraffic(**(row | lists))


def _next_midnight(moment: int) -> int:
    return -(-moment // DAY) * DAY
