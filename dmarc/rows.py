"""Reports as rows of the store's tables, in the order of `COLUMNS`, and rows as text that a store can load in one go.

The text is one JSON object for many rows, a list for each column: quick to write, quick to load, the same between
processes. Instants are ISO 8601, hashes hexadecimal, bytes base64.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

import orjson

from dmarc.carrier import MailAuth
from dmarc.reading import Reading
from dmarc.reports import AggregateReport, FailureReport, Policy, Record, ReportKind, TlsReport
from dmarc.store import Row
from mta.events.address import canonical_domain, mask_addresses, split_address
from mta.events.pseudonym import Keyring

__all__ = [
    "COLUMNS",
    "auth_rows",
    "detail_rows",
    "encoded",
    "input_row",
    "override_rows",
    "quarantine_row",
    "record_rows",
    "report_key",
    "report_row",
    "uuid_of",
]

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "report": (
        "report_id", "kind", "report_key", "content_hash", "outcome", "mail_auth", "source", "member",
        "mail_message_id", "mail_domain", "org_name", "org_contact", "reported_id", "domain", "begin_at", "end_at",
        "records", "messages", "passed", "p", "sp", "np", "adkim", "aspf", "pct", "fo", "testing", "discovery",
        "namespace", "version", "generator", "errors", "warnings", "received_at",
    ),
    "record": (
        "report_id", "ordinal", "source_ip", "messages", "disposition", "dkim_aligned", "spf_aligned", "passed",
        "header_from", "envelope_from", "envelope_to", "extensions",
    ),
    "auth": (
        "report_id", "ordinal", "position", "kind", "domain", "selector", "scope", "result", "raw_result",
        "human_result",
    ),
    "override": ("report_id", "ordinal", "position", "type", "comment"),
    "tls_policy": (
        "report_id", "position", "policy_type", "domain", "policy_string", "mx_host", "successful", "failed",
    ),
    "tls_failure": (
        "report_id", "position", "ordinal", "result_type", "sending_mta_ip", "receiving_ip", "receiving_mx_hostname",
        "receiving_mx_helo", "sessions", "additional", "reason_code",
    ),
    "failure": (
        "report_id", "feedback_type", "auth_failure", "align_failed", "delivery_result", "source_ip", "source_port",
        "incidents", "mail_from_domain", "recipient_hashes", "recipient_domains", "authentication_results",
        "dkim_domain", "dkim_selector", "header_from", "message_id",
    ),
    "input": ("input_hash", "source", "size", "reports", "quarantined", "received_at"),
    "quarantine": (
        "input_hash", "source", "member", "kind", "reason", "detail", "org_name", "reported_id", "domain", "raw",
        "received_at",
    ),
}  # fmt: skip
"""The columns of each table. `raw` is base64 here."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
_NO_POLICY = Policy()


def encoded(table: str, rows: Sequence[Row]) -> bytes:
    """Rows of a table as one JSON object without line ends."""
    return orjson.dumps(dict(zip(COLUMNS[table], zip(*rows, strict=True), strict=True)))


def report_row(report_id: int, reading: Reading, source: str, mail_auth: MailAuth, received: int) -> Row:
    """The row of `report`."""
    report, carrier = reading.report, reading.carrier
    if report is None or reading.kind is None:
        raise ValueError("a reading without a report has no row")
    aggregate = report if isinstance(report, AggregateReport) else None
    policy = aggregate.policy if aggregate else _NO_POLICY
    return (
        report_id,
        reading.kind.value,
        report_key(reading),
        uuid_of(reading.content_hash),
        reading.outcome.value,
        mail_auth.value,
        source,
        reading.member or None,
        carrier.message_id if carrier else None,
        carrier.from_domain if carrier else None,
        report.org_name,
        _contact(report),
        report.report_id,
        report.domain,
        _timestamp(report.begin),
        _timestamp(report.end),
        report.records,
        report.messages,
        report.passed,
        policy.p,
        policy.sp,
        policy.np,
        policy.adkim,
        policy.aspf,
        min(policy.pct, 100) if policy.pct is not None else None,
        policy.fo,
        policy.testing,
        policy.discovery_method,
        aggregate.namespace if aggregate else None,
        report.version if isinstance(report, AggregateReport | FailureReport) else None,
        aggregate.generator if aggregate else None,
        list(aggregate.errors) if aggregate else None,
        list(reading.deviations.codes()),
        _timestamp(received),
    )


def report_key(reading: Reading) -> UUID:
    """Equal for a report and its revisions: reporter, id, domain and period. Without an id the content stands in.

    Never reporter and id alone: real reporters give reports about several domains the same id.
    """
    report = reading.report
    if report is None or reading.kind is ReportKind.FAILURE or not report.report_id:
        return uuid_of(reading.content_hash)
    parts = (reading.kind, (report.org_name or "").lower(), report.report_id, report.domain, report.begin, report.end)
    return uuid_of(sha256(repr(parts).encode("utf-8", "replace")).digest())


def uuid_of(digest: bytes) -> UUID:
    """The first half of a SHA-256, in the shape in which the store keeps hashes."""
    return UUID(bytes=digest[:16])


def record_rows(report_id: int, records: Sequence[Record]) -> list[Row]:
    """Rows of `record`, without the columns that are copied from the report at the commit."""
    return [
        (
            report_id,
            record.ordinal,
            record.source_ip,
            record.messages,
            record.disposition,
            record.dkim_aligned,
            record.spf_aligned,
            bool(record.dkim_aligned or record.spf_aligned),
            record.header_from,
            record.envelope_from,
            record.envelope_to,
            orjson.dumps(record.extensions).decode() if record.extensions else None,
        )
        for record in records
    ]


def auth_rows(report_id: int, records: Sequence[Record]) -> list[Row]:
    """Rows of `auth`."""
    return [
        (report_id, record.ordinal, position, *result)
        for record in records
        for position, result in enumerate(record.auth)
    ]


def override_rows(report_id: int, records: Sequence[Record]) -> list[Row]:
    """Rows of `override`."""
    return [
        (report_id, record.ordinal, position, *override)
        for record in records
        for position, override in enumerate(record.overrides)
    ]


def input_row(input_hash: UUID, source: str, size: int, reports: int, quarantined: int, received: int) -> Row:
    """The row of `input`."""
    return (input_hash, source, size, reports, quarantined, _timestamp(received))


def quarantine_row(input_hash: UUID, source: str, reading: Reading, raw: bytes, received: int) -> Row:
    """The row of `quarantine`. A reading without an error was refused because it is about somebody else's domain."""
    report, error = reading.report, reading.error
    return (
        input_hash,
        source,
        reading.member or None,
        reading.kind.value if reading.kind else None,
        error.reason if error else "foreign-domain",
        mask_addresses(str(error)) if error else "a report about a domain that is not in [dmarc] domains",
        report.org_name if report else None,
        report.report_id if report else None,
        report.domain if report else None,
        base64.b64encode(raw).decode(),
        _timestamp(received),
    )


def detail_rows(report_id: int, reading: Reading, keyring: Keyring) -> Iterator[tuple[str, list[Row]]]:
    """Table and rows of what TLS and failure reports hold."""
    if isinstance(reading.report, TlsReport):
        yield from _tls_rows(report_id, reading.report)
    elif isinstance(reading.report, FailureReport):
        yield "failure", [_failure_row(report_id, reading.report, keyring)]


def _tls_rows(report_id: int, report: TlsReport) -> Iterator[tuple[str, list[Row]]]:
    yield (
        "tls_policy",
        [
            (
                report_id,
                position,
                policy.policy_type,
                policy.domain,
                list(policy.policy_string),
                list(policy.mx_host),
                policy.successful,
                policy.failed,
            )
            for position, policy in enumerate(report.policies)
        ],
    )
    yield (
        "tls_failure",
        [
            (
                report_id,
                position,
                ordinal,
                failure.result_type,
                failure.sending_mta_ip,
                failure.receiving_ip,
                failure.receiving_mx_hostname,
                failure.receiving_mx_helo,
                failure.sessions,
                failure.additional_information,
                failure.failure_reason_code,
            )
            for position, policy in enumerate(report.policies)
            for ordinal, failure in enumerate(policy.failures)
        ],
    )


def _failure_row(report_id: int, report: FailureReport, keyring: Keyring) -> Row:
    """People become keyed hashes here; addresses in copied header fields are masked."""
    return (
        report_id,
        report.feedback_type,
        report.auth_failure,
        None if report.align_failed is None else list(report.align_failed),
        report.delivery_result,
        report.source_ip,
        report.source_port if report.source_port is None or report.source_port < 65_536 else None,
        report.incidents,
        canonical_domain(split_address(report.original_mail_from or "")[1]) or None,
        [keyring.recipient_hash(address) for address in report.original_rcpt_to],
        sorted({canonical_domain(split_address(address)[1]) for address in report.original_rcpt_to} - {""}),
        [mask_addresses(value) for value in report.authentication_results],
        report.dkim_domain,
        report.dkim_selector,
        report.original_from_domain,
        report.original_message_id,
    )


def _contact(report: AggregateReport | TlsReport | FailureReport) -> str | None:
    if isinstance(report, AggregateReport):
        return report.email
    return report.contact_info if isinstance(report, TlsReport) else None


def _timestamp(moment: int | None) -> datetime | None:
    """The naive UTC datetime that DuckDB's TIMESTAMP takes."""
    return None if moment is None else _EPOCH + timedelta(microseconds=moment)
