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
