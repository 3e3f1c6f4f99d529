"""TLS reports (RFC 8460): JSON in, a report out. Lenient about shapes, strict about what is counted."""

from __future__ import annotations

from typing import Any

import orjson

from dmarc import values
from dmarc.deviation import Deviation, Deviations
from dmarc.encoding import as_utf8
from dmarc.errors import DamagedReport, NotAReport
from dmarc.limits import Limits
from dmarc.reports import TlsFailure, TlsPolicy, TlsReport
from mta.events.errors import LimitExceeded

__all__ = ["read_tls_report"]

_TEXT = 1_024
_LIST = 200
_FAILURES = 10_000


def read_tls_report(
    data: bytes, deviations: Deviations, *, fallback_domain: str | None = None, limits: Limits | None = None
) -> TlsReport:
    """The report in `data`. `fallback_domain` (of TLS-Report-Domain) stands in for a policy that names none.

    NotAReport where the JSON is something else, DamagedReport where it is no JSON, LimitExceeded where it is too much.
    """
    limit = (limits or Limits()).json
    if len(data) > limit:
        raise LimitExceeded(f"a TLS report of more than {limit} bytes")
    try:
        content = orjson.loads(b"".join(as_utf8([data], deviations)))
    except orjson.JSONDecodeError as error:
        raise DamagedReport(f"not JSON: {error}", reason="damaged") from error
    if not isinstance(content, dict) or not isinstance(content.get("policies"), list):
        raise NotAReport("JSON without policies: this is no TLS report", reason="no-report")
    return _Reader(deviations, fallback_domain).report(content)


class _Reader:
    """Takes what has the right shape; notes what is missing or has another."""

    def __init__(self, deviations: Deviations, fallback_domain: str | None) -> None:
        self._note = deviations.note
        self._fallback = fallback_domain

    def report(self, content: dict[str, Any]) -> TlsReport:
        policies = [block for block in content["policies"] if isinstance(block, dict)]
        period = _dict(content, "date-range")
        organisation = _text(content, "organization-name")
        report_id = _text(content, "report-id")
        if organisation is None:
            self._note(Deviation.ORG_NAME_MISSING)
        if report_id is None:
            self._note(Deviation.REPORT_ID_MISSING)
        if not policies:
            self._note(Deviation.NO_RECORDS)
        return TlsReport(
            org_name=organisation,
            contact_info=_text(content, "contact-info"),
            report_id=report_id,
            begin=self._instant(period, "start-datetime"),
            end=self._instant(period, "end-datetime"),
            policies=tuple(self._policy(block) for block in policies),
        )

    def _policy(self, block: dict[str, Any]) -> TlsPolicy:
        policy, summary = _dict(block, "policy"), _dict(block, "summary")
        kind = values.token(_text(policy, "policy-type"))
        if kind not in ("tlsa", "sts", "no-policy-found"):
            self._note(Deviation.POLICY_UNKNOWN)
        domain = values.domain(_text(policy, "policy-domain"))
        if domain is None:
            self._note(Deviation.POLICY_DOMAIN_MISSING)
        details = block.get("failure-details")
        failures = [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
        if len(failures) > _FAILURES:
            raise LimitExceeded(f"more than {_FAILURES} failure details under one policy")
        return TlsPolicy(
            policy_type=kind,
            domain=domain or self._fallback,
            policy_string=_texts(policy, "policy-string"),
            mx_host=_texts(policy, "mx-host") or _texts(policy, "mx-host-pattern"),
            successful=self._count(summary, "total-successful-session-count"),
            failed=self._count(summary, "total-failure-session-count"),
            failures=tuple(self._failure(detail) for detail in failures),
        )

    def _failure(self, detail: dict[str, Any]) -> TlsFailure:
        return TlsFailure(
            result_type=values.token(_text(detail, "result-type")),
            sending_mta_ip=self._ip(detail, "sending-mta-ip"),
            receiving_ip=self._ip(detail, "receiving-ip"),
            receiving_mx_hostname=values.domain(_text(detail, "receiving-mx-hostname")),
            receiving_mx_helo=_text(detail, "receiving-mx-helo"),
            sessions=self._count(detail, "failed-session-count"),
            additional_information=_text(detail, "additional-information") or _text(detail, "additional-info-uri"),
            failure_reason_code=_text(detail, "failure-reason-code"),
        )

    def _count(self, content: dict[str, Any], key: str) -> int:
        value = content.get(key)
        number = values.count(str(value)) if isinstance(value, int | str) and not isinstance(value, bool) else None
        if number is None:
            self._note(Deviation.FIELD_MISSING)
        return number or 0

    def _ip(self, detail: dict[str, Any], key: str) -> str | None:
        text = _text(detail, key)
        if text is None:
            return None
        address, odd = values.source_ip(text)
        if odd is not None:
            self._note(odd)
        return address

    def _instant(self, period: dict[str, Any], key: str) -> int | None:
        text = _text(period, key)
        moment, odd = values.instant(text)
        if moment is None:
            self._note(Deviation.PERIOD_MISSING)
        elif odd is None or (text and text.isdigit()):
            self._note(Deviation.TIME_FORMAT)
        return moment


def _dict(content: dict[str, Any], key: str) -> dict[str, Any]:
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def _text(content: dict[str, Any], key: str) -> str | None:
    value = content.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    return (value.strip()[:_TEXT] or None) if isinstance(value, str) else None


def _texts(content: dict[str, Any], key: str) -> tuple[str, ...]:
    """A list of strings, or one string that may hold several lines."""
    value = content.get(key)
    lines = value.splitlines() if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(line.strip()[:_TEXT] for line in lines[:_LIST] if isinstance(line, str) and line.strip())
