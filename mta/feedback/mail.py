"""What the listener hands over when mail comes back to a domain of ours."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FeedbackMail"]


@dataclass(frozen=True, slots=True)
class FeedbackMail:
    """One mail to our feedback domains, as received. `received_at` is an instant; `sender` is "" for `<>`."""

    sender: str
    recipients: tuple[str, ...]
    body: bytes
    received_at: int
    peer_ip: str | None
    queue_id: str
