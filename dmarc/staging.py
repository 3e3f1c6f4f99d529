"""Inputs read and judged: what is to be stored of them, as rows; and the books, in which every input appears.

Each report in an input is stored or quarantined with its reason (promise 1). Nothing here knows a store: rows go out as
text, so that reading can as well happen in a process of its own.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from dmarc import rows
from dmarc.carrier import MailAuth, judge_carrier
from dmarc.deviation import Deviations
from dmarc.limits import Limits
from dmarc.reading import Reading, read_reports
from dmarc.reports import Outcome, Record
from dmarc.store import Row
from mta.events.errors import ParseError
from mta.events.pseudonym import Keyring

__all__ = ["Emit", "Staging", "Trust"]

_log = logging.getLogger(__name__)

Emit = Callable[[str, bytes], None]
"""Takes the name of a table and rows of it."""

_RAW_KEPT = 64 * 1024
"""Bytes of a quarantined input that are kept for a look."""
_ROWS_TOGETHER = 64
"""Rows of a table that are written as one line."""
_LINE = 256 * 1024
"""Bytes above which each row gets a line of its own; no row has two megabytes (see `dmarc/limits.py`)."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose reports are taken: about which domains (all, if none is named), and whose word counts about mails.

    `authserv_ids`, in lower case, name the hosts whose Authentication-Results are believed.
    """

    domains: tuple[str, ...] = ()
    authserv_ids: tuple[str, ...] = ()


class Staging:
    """Takes inputs one after another and emits their rows. `ids`, `inputs` and `records` count since `restart`."""

    def __init__(self, keyring: Keyring, trust: Trust, limits: Limits, emit: Emit) -> None:
        self.ids = self.inputs = self.records = 0
        """`ids`: report ids used, from 0."""
        self._keyring = keyring
        self._trust = trust
        self._limits = limits
        self._emit = emit
        self._held: defaultdict[str, list[Row]] = defaultdict(list)

    def take(self, source: str, chunks: Iterable[bytes], now: int, auth: MailAuth | None = None) -> bool:
        """Read one mail or file; False if anything in it was refused.

        `auth` says whether the carrying mail is authentic, where that was found out already.
        """
        taken = _Input(chunks)
        reports = 0
        refused: list[Reading] = []
        for item in self._readings(taken, now):
            if not isinstance(item, Reading):
                self._keep_records(item)
                continue
            if item.outcome is not Outcome.QUARANTINED and self._is_ours(item):
                self._keep_report(item, source, now, auth)
                reports += 1
            else:
                refused.append(item)
            self.ids += 1
        taken.finish()
        self.inputs += 1
        self._keep("input", [rows.input_row(taken.hash, source, taken.size, reports, len(refused), now)])
        if refused:
            self._keep(
                "quarantine", [rows.quarantine_row(taken.hash, source, item, taken.head, now) for item in refused]
            )
        return not refused

    def flush(self) -> None:
        """Emit what is held."""
        for table in list(self._held):
            self._write(table)

    def restart(self) -> None:
        """Count from 0 again; what is held is forgotten."""
        self._held.clear()
        self.ids = self.inputs = self.records = 0

    def _readings(self, taken: _Input, now: int) -> Iterator[tuple[Record, ...] | Reading]:
        """A fault of ours in one input must not cost its neighbours: it is told, and the input is kept for us."""
        try:
            yield from read_reports(taken, now=now, limits=self._limits)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - told, counted and kept
            _log.exception("an input could not be read because of a fault of this program")
            fault = ParseError(f"a fault of this program: {error!r}", reason="internal-error")
            yield Reading(member="", kind=None, outcome=Outcome.QUARANTINED, error=fault, deviations=Deviations())

    def _is_ours(self, reading: Reading) -> bool:
        if not self._trust.domains:
            return True
        domain = reading.report.domain if reading.report else None
        return any(domain == own or (domain or "").endswith(f".{own}") for own in self._trust.domains)

    def _keep_records(self, records: tuple[Record, ...]) -> None:
        self._keep("record", rows.record_rows(self.ids, records))
        self._keep("auth", rows.auth_rows(self.ids, records))
        self._keep("override", rows.override_rows(self.ids, records))
        self.records += len(records)

    def _keep_report(self, reading: Reading, source: str, now: int, auth: MailAuth | None) -> None:
        known = judge_carrier(reading.carrier, self._trust.authserv_ids) if auth is None else auth
        self._keep("report", [rows.report_row(self.ids, reading, source, known, now)])
        for table, details in rows.detail_rows(self.ids, reading, self._keyring):
            self._keep(table, details)

    def _keep(self, table: str, made: list[Row]) -> None:
        held = self._held[table]
        held += made
        if len(held) >= _ROWS_TOGETHER:
            self._write(table)

    def _write(self, table: str) -> None:
        held = self._held[table]
        for start in range(0, len(held), _ROWS_TOGETHER):
            some = held[start : start + _ROWS_TOGETHER]
            line = rows.encoded(table, some)
            if len(line) <= _LINE:
                self._emit(table, line)
            else:
                for row in some:
                    self._emit(table, rows.encoded(table, [row]))
        held.clear()


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
