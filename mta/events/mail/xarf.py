"""XARF, the abuse report format of xarf.org: JSON since version 3, fields in a text part (X-ARF 0.2) before that.

Reports of any kind are read (spam, login attacks, phishing); the kind stands in `feedback_type`, `abuse` for spam.
"""

from __future__ import annotations

from typing import Any

import orjson

from mta.events.errors import LimitExceeded
from mta.events.mail.feedback_report import FeedbackReport
from mta.events.mail.message import read_fields
from mta.events.mail.notice import Notice

__all__ = ["read_xarf"]


def read_xarf(notice: Notice) -> FeedbackReport | None:
    """The report in this mail, or None."""
    if notice.json is not None:
        return _of_json(notice)
    if "report-type:" in notice.text.lower():
        return _of_fields(notice)
    return None


def _of_json(notice: Notice) -> FeedbackReport | None:
    """Version 3 puts the report into `Report`, version 4 is flat."""
    try:
        found = orjson.loads(notice.json or "")
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict) or not ("ReporterInfo" in found or "xarf_version" in found):
        return None
    report = found["Report"] if isinstance(found.get("Report"), dict) else found
    kind = _text(report, "ReportType", "type")
    if kind is None:
        return None
    to = _text(report, "SmtpRcptToAddress", "smtp_to")
    return FeedbackReport(
        feedback_type=_kind(kind),
        user_agent="XARF",
        source_ip=_text(report, "SourceIp", "source_identifier"),
        original_rcpt_to=(to,) if to is not None and "@" in to else (),
        original_message=notice.original,
    )


def _of_fields(notice: Notice) -> FeedbackReport | None:
    """X-ARF 0.2: a schema, a report type and a source are what makes a report of a text."""
    try:
        fields = read_fields(notice.text.encode("utf-8", "replace"))
    except LimitExceeded:
        return None
    kind, source = fields.first("Report-Type"), fields.first("Source")
    if not kind or not source or fields.first("Schema-URL") is None:
        return None
    return FeedbackReport(
        feedback_type=_kind(kind),
        user_agent=fields.first("User-Agent") or "X-ARF",
        source_ip=source if (fields.first("Source-Type") or "").lower().startswith("ip") else None,
        original_message=notice.original,
    )


def _kind(value: str) -> str:
    return "abuse" if value.strip().lower() == "spam" else value.strip().lower()[:64]


def _text(fields: dict[str, Any], *names: str) -> str | None:
    return next((value for name in names if isinstance(value := fields.get(name), str)), None)
