"""From inputs to the store: read, judge, stage, commit. Acknowledge nothing before `commit` has returned (promise 2).

Every input ends in the books: each report in it is stored, known already, or quarantined with its reason (promise 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from uuid import UUID

from dmarc import rows
from dmarc.carrier import judge_carrier
from dmarc.limits import Limits
from dmarc.mailbox.folder import SourceFile
from dmarc.reading import Reading, read_reports
from dmarc.reports import Outcome, Record
from dmarc.settings import DmarcSettings
from dmarc.store import ReportReceipt, ReportStore
from mta.events.pseudonym import Keyring

__all__ = ["ReportIngest", "ingest_files"]

_RAW_KEPT = 64 * 1024
"""Bytes of a quarantined input that are kept for a look."""
_STEP = 64 * 1024


class ReportIngest:
    """Takes inputs one after another; `receipt` is what has been committed. One user at a time."""

    def __init__(
        self,
        store: ReportStore,
        keyring: Keyring,
        clock: Callable[[], int],
        settings: DmarcSettings | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.receipt = ReportReceipt()
        self._store = store
        self._keyring = keyring
        self._clock = clock
        self._settings = settings or DmarcSettings()
        self._limits = limits or Limits()
        self._trusted = frozenset(name.lower() for name in self._settings.trusted_authserv_ids)
        self._inputs = self._records = 0

    def take(self, source: str, chunks: Iterable[bytes]) -> bool:
        """Read one mail or file and stage what is in it; commits when enough is staged. False if any was refused."""
        taken = _Input(chunks)
        now = self._clock()
        reports = 0
        refused: list[Reading] = []
        report_id = self._store.next_report_id()
        for item in read_reports(taken, now=now, limits=self._limits):
            if not isinstance(item, Reading):
                self._stage_records(report_id, item)
                continue
            if self._accepted(item):
                self._stage_report(report_id, item, source, now)
                reports += 1
            else:
                self._refuse(report_id, item)
                refused.append(item)
            report_id = self._store.next_report_id()
        self._book(taken, source, reports, refused, now)
        if self._inputs >= self._settings.commit_every or self._records >= self._settings.commit_records:
            self.commit()
        return not refused

    def commit(self) -> None:
        """Store what is staged; what was taken may be acknowledged when this has returned."""
        if self._inputs:
            self._inputs = self._records = 0
            self.receipt += ReportReceipt(**self._store.commit_reports())

    def _accepted(self, reading: Reading) -> bool:
        return reading.outcome is not Outcome.QUARANTINED and self._is_ours(reading)

    def _is_ours(self, reading: Reading) -> bool:
        if not self._settings.domains:
            return True
        domain = reading.report.domain if reading.report else None
        return any(domain == own or (domain or "").endswith(f".{own}") for own in self._settings.domains)

    def _stage_records(self, report_id: int, records: tuple[Record, ...]) -> None:
        self._store.stage("record", rows.record_rows(report_id, records))
        self._store.stage("auth", rows.auth_rows(report_id, records))
        self._store.stage("override", rows.override_rows(report_id, records))
        self._records += len(records)

    def _stage_report(self, report_id: int, reading: Reading, source: str, now: int) -> None:
        auth = judge_carrier(reading.carrier, self._trusted)
        self._store.stage("report", [rows.report_row(report_id, reading, source, auth, now)])
        for table, details in rows.detail_rows(report_id, reading, self._keyring):
            self._store.stage(table, details)

    def _refuse(self, report_id: int, reading: Reading) -> None:
        if reading.report is not None and reading.report.records:
            self._store.drop(report_id)

    def _book(self, taken: _Input, source: str, reports: int, refused: list[Reading], now: int) -> None:
        taken.finish()
        self._inputs += 1
        self._store.stage("input", [rows.input_row(taken.hash, source, taken.size, reports, len(refused), now)])
        if refused:
            self._store.stage(
                "quarantine", [rows.quarantine_row(taken.hash, source, item, taken.head, now) for item in refused]
            )


class _Input:
    """Passes an input's bytes on, and remembers their hash, their number and how they begin."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._hash = sha256()
        self.head = b""
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._hash.update(chunk)
            self.size += len(chunk)
            if len(self.head) < _RAW_KEPT:
                self.head = (self.head + chunk)[:_RAW_KEPT]
            yield chunk

    @property
    def hash(self) -> UUID:
        return rows.uuid_of(self._hash.digest())

    def finish(self) -> None:
        """Read what nobody wanted: the hash is of the whole."""
        for _ in self:
            pass


def ingest_files(
    files: Iterable[SourceFile], ingest: ReportIngest, progress: Callable[[str, int], None] = lambda *_: None
) -> int:
    """Take every file and commit; how many there were. A file that vanishes or cannot be opened is passed over."""
    count = 0
    for file in files:
        progress(file.name, count)
        try:
            with file.open() as stream:
                ingest.take(file.name, iter(lambda read=stream.read: read(_STEP), b""))  # type: ignore[misc]
        except OSError:
            continue
        count += 1
    ingest.commit()
    return count
