"""Reading the header of a message that comes in, and writing our trace field. Pure.

Only the first part of a message is looked at, and nothing is changed but that a trace field is put before it: a
signature on the message stays valid.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache

from mta.control.record import Hop
from mta.events.instants import SECOND

__all__ = ["HeaderFacts", "line_ends_are_clean", "read_header", "received_field"]

_WANTED = re.compile(
    rb"^(message-id|x-tenant|x-campaign|x-pool)[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", re.IGNORECASE | re.MULTILINE
)
_RECEIVED = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)
_UNPRINTABLE = re.compile(r"[^A-Za-z0-9.:\[\]_-]")
_MAX_VALUE = 998


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """What the queue and the log want of a header. `hops` counts its `Received:` fields.

    `fits` tells whether the header ends within the limits; what stands beyond them was not looked at.
    """

    message_id: str | None
    tenant: str | None
    campaign: str | None
    pool: str | None
    hops: int
    is_ascii: bool
    fits: bool = True


def read_header(content: bytes, max_bytes: int = 256 * 1024, max_fields: int = 1000) -> HeaderFacts:
    """Facts from the header that `content` begins with; of repeated fields the first counts."""
    end = content.find(b"\r\n\r\n", 0, max_bytes)
    header = content[: end if end >= 0 else max_bytes]
    values: dict[str, str] = {}
    for name, value in _WANTED.findall(header):
        text = b" ".join(value.split()).decode("utf8", "replace")[:_MAX_VALUE]
        values.setdefault(name.decode().lower(), text)
    return HeaderFacts(
        message_id=values.get("message-id") or None,
        tenant=values.get("x-tenant") or None,
        campaign=values.get("x-campaign") or None,
        pool=values.get("x-pool") or None,
        hops=len(_RECEIVED.findall(header)),
        is_ascii=header.isascii(),
        fits=(end >= 0 or len(content) <= max_bytes) and not _has_more_fields(header, max_fields),
    )


def _has_more_fields(header: bytes, most: int) -> bool:
    lines = header.count(b"\n") + 1
    return lines > most and lines - header.count(b"\n ") - header.count(b"\n\t") > most


def line_ends_are_clean(content: bytes) -> bool:
    """Whether every CR and LF stands in a CRLF: bare ones mean different things to different hosts (SMTP smuggling)."""
    pairs = content.count(b"\r\n")
    return content.count(b"\n") == pairs == content.count(b"\r")


def received_field(client: Hop, hostname: str, queue_id: str, when: int, protocol: str) -> bytes:
    """Our trace field (RFC 5321 section 4.4)."""
    name = _UNPRINTABLE.sub("?", client.name[:255]) or "unknown"
    date = _date(when // SECOND)
    return (
        f"Received: from {name} ([{client.address}])\r\n\tby {hostname} with {protocol} id {queue_id};\r\n\t{date}\r\n"
    ).encode("ascii")


@lru_cache(maxsize=4)
def _date(second: int) -> str:
    return formatdate(second, localtime=False)
