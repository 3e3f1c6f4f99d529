"""The metrics of report intake: live facts of the mailboxes. What the reports say, the store's metrics tell."""

from __future__ import annotations

from dataclasses import dataclass

from mta.events.metric import Metric

__all__ = ["METRICS", "MailboxHealth"]

METRICS: tuple[Metric, ...] = (
    Metric(
        "mtascope_dmarc_mailbox_up", "gauge", "Whether a report mailbox could be read at the last try.", ("mailbox",)
    ),
    Metric(
        "mtascope_dmarc_mailbox_mails_total",
        "counter",
        "Mails whose reports were stored and that were put away, by mailbox.",
        ("mailbox",),
    ),
    Metric(
        "mtascope_dmarc_mailbox_failures_total",
        "counter",
        "Failures to read a mailbox; it is opened anew after each.",
        ("mailbox",),
    ),
    Metric(
        "mtascope_dmarc_mailbox_last_look_timestamp_seconds",
        "gauge",
        "When a mailbox was last seen to be empty.",
        ("mailbox",),
        unit="seconds",
    ),
    Metric(
        "mtascope_dmarc_reports_total",
        "counter",
        "Reports stored for the first time, by kind (aggregate, tls, failure).",
        ("kind",),
    ),
    Metric(
        "mtascope_dmarc_forged_reports_total",
        "counter",
        "Reports that are kept apart because the mail that carried them is not from whom it says.",
        ("kind",),
    ),
    Metric(
        "mtascope_dmarc_quarantined_reports_total", "counter", "Reports that could not be read, by reason.", ("reason",)
    ),
    Metric("mtascope_dmarc_duplicate_reports_total", "counter", "Reports that came again."),
    Metric(
        "mtascope_dmarc_reported_messages_total",
        "counter",
        "Messages in aggregate reports when they were stored, by DMARC's result.",
        ("result",),
    ),
    Metric(
        "mtascope_dmarc_tls_sessions_total", "counter", "Sessions in TLS reports when they were stored.", ("result",)
    ),
    Metric(
        "mtascope_dmarc_last_report_timestamp_seconds",
        "gauge",
        "When the newest aggregate report about a domain came.",
        ("domain",),
        unit="seconds",
    ),
    Metric(
        "mtascope_dmarc_messages",
        "gauge",
        "Messages of the last seven days of reports, by policy domain, what their sender is to us, and DMARC's result.",
        ("domain", "sender_kind", "result"),
    ),
    Metric(
        "mtascope_dmarc_aligned_messages",
        "gauge",
        "Messages of the last seven days of reports that aligned, by mechanism.",
        ("domain", "mechanism"),
    ),
    Metric(
        "mtascope_dmarc_sources",
        "gauge",
        "Addresses that sent in a domain's name in the last seven days of reports, by what they are to us.",
        ("domain", "sender_kind"),
    ),
    Metric(
        "mtascope_dmarc_new_unknown_messages",
        "gauge",
        "Messages of the last seven days of reports from unknown senders not seen in the three weeks before.",
        ("domain",),
    ),
    Metric(
        "mtascope_dmarc_tls_window_sessions",
        "gauge",
        "Sessions of the last seven days of TLS reports, by domain and result (success, or why it failed).",
        ("domain", "result"),
    ),
)


@dataclass(slots=True)
class MailboxHealth:
    """How one mailbox is; written by its watch, read by anybody."""

    connected: bool = False
    mails: int = 0
    failures: int = 0
    last_mail: int = 0
    looked: int = 0
    """When it was last seen to be empty."""
    last_error: str = ""
    last_error_at: int = 0

    def took(self, mails: int, now: int) -> None:
        """So many were stored and put away."""
        self.mails += mails
        self.last_mail = now

    def failed(self, error: str, now: int) -> None:
        """It could not be read."""
        self.connected = False
        self.failures += 1
        self.last_error, self.last_error_at = error, now
