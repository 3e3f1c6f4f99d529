"""From inputs to the store: read, stage, commit. Acknowledge nothing before `commit` has returned (promise 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from dmarc.carrier import MailAuth
from dmarc.limits import Limits
from dmarc.mailbox.folder import SourceFile, chunks_of
from dmarc.staging import Staging, Trust
from dmarc.store import ReportReceipt, ReportStore
from mta.events.pseudonym import Keyring

if TYPE_CHECKING:  # looking at reports needs no settings
    from dmarc.settings import DmarcSettings

__all__ = ["ReportIngest", "ingest_files"]


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
        if settings is None:
            from dmarc.settings import DmarcSettings

            settings = DmarcSettings()
        self.receipt = ReportReceipt()
        self.keyring = keyring
        self.trust = Trust(settings.domains, tuple(name.lower() for name in settings.trusted_authserv_ids))
        self.clock = clock
        self._every = (settings.commit_every, settings.commit_records)
        self._store = store
        self._staging = Staging(keyring, self.trust, limits or Limits(), self._emit)
        self._ids = self._inputs = self._records = 0

    def take(self, source: str, chunks: Iterable[bytes], auth: MailAuth | None = None) -> bool:
        """Read one mail or file and stage what is in it; commits when enough is staged. False if any was refused.

        `auth` says whether the carrying mail is authentic, where that was found out already.
        """
        whole = self._staging.take(source, chunks, self.clock(), auth)
        self._commit_if(self._staging.inputs, self._staging.records)
        return whole

    def stage(self, table: str, columns: bytes) -> None:
        """Rows that another process has read; `staged` ends what belongs together."""
        self._store.stage(table, columns, self._ids)

    def staged(self, *, ids: int, inputs: int, records: int) -> None:
        """What was handed to `stage` is complete; commits when enough is staged."""
        self._ids += ids
        self._inputs += inputs
        self._records += records
        self._commit_if(self._inputs, self._records)

    def commit(self) -> None:
        """Store what is staged; what was taken may be acknowledged when this has returned."""
        if not (self._staging.inputs or self._inputs):
            return
        self._staging.flush()
        self._staging.restart()
        self._ids = self._inputs = self._records = 0
        self.receipt += ReportReceipt(**self._store.commit_reports())

    def _commit_if(self, inputs: int, records: int) -> None:
        if inputs >= self._every[0] or records >= self._every[1]:
            self.commit()

    def _emit(self, table: str, columns: bytes) -> None:
        self._store.stage(table, columns, 0)


def ingest_files(
    files: Iterable[SourceFile], ingest: ReportIngest, progress: Callable[[str, int], None] = lambda *_: None
) -> int:
    """Take every file and commit; how many there were. A file that vanishes or cannot be opened is passed over."""
    count = 0
    for file in files:
        progress(file.name, count)
        try:
            with file.open() as stream:
                ingest.take(file.name, chunks_of(stream))
        except OSError:
            continue
        count += 1
    ingest.commit()
    return count
