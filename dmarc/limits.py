"""What a report may cost (promise 7). The defaults hold for all that large receivers send, with room to spare."""

from __future__ import annotations

from dataclasses import dataclass, field

from mta.events.mail.message import MailLimits

__all__ = ["Limits"]

_MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one input and on what comes out of it.

    Unpacked sizes are large because unpacking and reading stream: a report of 200,000 records has 130 MB of XML and
    still costs little memory. What stops bombs is the ratio: honest reports shrink 10 to 80 times, a bomb 1,000.
    """

    packed: int = 64 * _MEGABYTE
    """Bytes of a compressed file or attachment, which are held in memory."""
    unpacked: int = 1024 * _MEGABYTE
    """Bytes that all reports of one input may have together."""
    ratio: int = 200
    """Unpacked to packed size, once more than `ratio_from` bytes have come out."""
    ratio_from: int = _MEGABYTE
    members: int = 20
    """Members of a zip file that are looked at."""
    nesting: int = 3
    """Compressed files within compressed files, mails within mails."""
    reports: int = 100
    """Reports in one mail."""
    records: int = 1_000_000
    json: int = 32 * _MEGABYTE
    """Bytes of a TLS report, which is read whole."""
    token: int = _MEGABYTE
    """Bytes of one tag, comment or record: what has to be in memory at once."""
    depth: int = 100
    """Elements within elements."""
    text: int = 4_096
    """Characters of one value; what is longer is cut and noted."""
    comment: int = 16_384
    dkim_results: int = 100
    """Per record (RFC 9990 section 3.1.1.5)."""
    spf_results: int = 10
    reasons: int = 20
    extensions: int = 20
    mail: MailLimits = field(default_factory=MailLimits)
