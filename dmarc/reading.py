"""Reading an input whole: every report in it comes out exactly once: read, recovered, or refused with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from dmarc.aggregate import AggregateReader
from dmarc.carrier import Carrier
from dmarc.container import Payload, Refused, unpack
from dmarc.deviation import Deviation, Deviations
from dmarc.errors import NotAReport
from dmarc.failure import read_failure_report
from dmarc.limits import Limits
from dmarc.reports import AggregateReport, FailureReport, Outcome, Record, ReportKind, TlsReport
from dmarc.tlsrpt import read_tls_report
from mta.events.errors import LimitExceeded, ParseError
from mta.events.instants import DAY

__all__ = ["Reading", "Report", "read_reports"]

Report = AggregateReport | TlsReport | FailureReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What became of one report, or of an input that has none (`kind` is None).

    `content_hash` and `size` are of the unpacked report. `report` is None where nothing could be read; of a refused
    aggregate report the frame is given as far as it goes, for people to recognise it.
    """

    member: str
    kind: ReportKind | None
    outcome: Outcome
    error: ParseError | None = None
    report: Report | None = None
    deviations: Deviations
    carrier: Carrier | None = None
    content_hash: bytes = b""
    size: int = 0


def read_reports(
    chunks: Iterable[bytes], *, now: int | None = None, limits: Limits | None = None
) -> Iterator[tuple[Record, ...] | Reading]:
    """Read one input. Records of aggregate reports come in batches, before the `Reading` that they belong to.

    Records of a reading that turns out `quarantined` are to be dropped. With `now`, reports about a time to come are
    refused.
    """
    limits = limits or Limits()
    for item in unpack(chunks, limits):
        if isinstance(item, Refused):
            yield Reading(
                member=item.member,
                kind=None,
                outcome=Outcome.QUARANTINED,
                error=item.error,
                deviations=Deviations(),
                carrier=item.carrier,
            )
        elif item.kind is ReportKind.AGGREGATE:
            yield from _aggregate(item, now, limits)
        elif item.kind is ReportKind.TLS:
            yield _tls(item, now, limits)
        else:
            yield _failure(item, limits)


class _Measured:
    """Passes chunks on; counts and hashes them."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._hash = sha256()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._hash.update(chunk)
            self.size += len(chunk)
            yield chunk

    def digest(self) -> bytes:
        return self._hash.digest()


def _aggregate(item: Payload, now: int | None, limits: Limits) -> Iterator[tuple[Record, ...] | Reading]:
    reader = AggregateReader(limits, item.deviations)
    measured = _Measured(item.chunks)
    report: AggregateReport | None = None
    error: ParseError | None = None
    try:
        yield from reader.read(measured)
        report = reader.report
        _refuse_future(report.end, now)
    except ParseError as found:
        error = found
    recovered = reader.recovered or Deviation.CONTAINER_CUT in item.deviations
    yield Reading(
        member=item.member,
        kind=None if isinstance(error, NotAReport) else ReportKind.AGGREGATE,
        outcome=_outcome(error, recovered=recovered),
        error=error,
        report=None if isinstance(error, NotAReport) else report or reader.report,
        deviations=item.deviations,
        carrier=item.carrier,
        content_hash=measured.digest(),
        size=measured.size,
    )


def _tls(item: Payload, now: int | None, limits: Limits) -> Reading:
    measured = _Measured(item.chunks)
    report: TlsReport | None = None
    error: ParseError | None = None
    try:
        report = read_tls_report(
            _bounded(measured, limits.json),
            item.deviations,
            fallback_domain=item.carrier.tls_domain if item.carrier else None,
            limits=limits,
        )
        _refuse_future(report.end, now)
    except ParseError as found:
        error = found
    return Reading(
        member=item.member,
        kind=None if isinstance(error, NotAReport) else ReportKind.TLS,
        outcome=_outcome(error, recovered=False),
        error=error,
        report=report,
        deviations=item.deviations,
        carrier=item.carrier,
        content_hash=measured.digest(),
        size=measured.size,
    )


def _failure(item: Payload, limits: Limits) -> Reading:
    report: FailureReport | None = None
    error: ParseError | None = None
    try:
        if item.message is None:
            raise NotAReport("a failure report is a mail", reason="no-report")
        report = read_failure_report(item.message, item.deviations, limits.mail)
    except ParseError as found:
        error = found
    return Reading(
        member=item.member,
        kind=ReportKind.FAILURE,
        outcome=_outcome(error, recovered=False),
        error=error,
        report=report,
        deviations=item.deviations,
        carrier=item.carrier,
        content_hash=sha256(repr(report).encode("utf-8", "replace")).digest(),
    )


def _bounded(chunks: Iterable[bytes], limit: int) -> bytes:
    held = bytearray()
    for chunk in chunks:
        held += chunk
        if len(held) > limit:
            raise LimitExceeded(f"a TLS report of more than {limit} bytes")
    return bytes(held)


def _refuse_future(end: int | None, now: int | None) -> None:
    if now is not None and end is not None and end > now + DAY:
        raise ParseError("a report about a time that has not come", reason="future-period")


def _outcome(error: ParseError | None, *, recovered: bool) -> Outcome:
    if error is not None:
        return Outcome.QUARANTINED
    return Outcome.RECOVERED if recovered else Outcome.OK
