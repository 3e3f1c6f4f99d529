"""The `X=value` fields of a main-log line: peers, TLS, sizes, times, confirmations.

Which of them there are depends on the `log_selector`; their order does not matter here. Text that a peer wrote is
quoted (`C="..."`, `T="..."`), and is taken out before anything is looked for, so that no peer can forge a field.
"""

from __future__ import annotations

import re
from functools import lru_cache

from collector.formats.hosts import host_or_none, ip_or_none

__all__ = ["Peer", "confirmation", "peer_of", "seconds", "tls_of", "without_quoted"]

Peer = tuple[str | None, str | None]
"""Host name and address."""

_PEER = re.compile(r"(?:^| )H=(?:([^\s\[(]{1,255})\*? )?(?:\(.{0,255}?\) )?\[([^\]\s]{1,64})\]")
_TLS = re.compile(r" X=(?:TLS|SSL)v?(\d(?:\.[\dx])?)")
_CONFIRMATION = re.compile(r' C="((?:[^"\\]|\\.)*)"?')
_QUOTED = re.compile(r' (?:C|T|DN|SNI)="(?:[^"\\]|\\.)*"?')
_ESCAPED = re.compile(r'\\(["\\])')
_TIME = re.compile(r"(?:(\d{1,5})w)?(?:(\d{1,5})d)?(?:(\d{1,5})h)?(?:(\d{1,5})m)?(?:(\d{1,9}(?:\.\d{1,6})?)s)?")


def without_quoted(text: str) -> str:
    """The fields without those that hold somebody else's words."""
    return _QUOTED.sub("", text) if '="' in text else text


def peer_of(fields: str) -> Peer:
    """`H=name (helo) [address]:port`: the name that was verified, not the one that was claimed."""
    found = _PEER.search(fields)
    return (host_or_none(found[1] or ""), ip_or_none(found[2])) if found else (None, None)


def tls_of(fields: str) -> str | None:
    """`X=TLS1.3:cipher:bits` as `TLSv1.3`."""
    found = _TLS.search(fields)
    return f"TLSv{found[1]}" if found else None


def confirmation(fields: str) -> str | None:
    """What the peer said when it took the message: `C="250 OK"`."""
    found = _CONFIRMATION.search(fields)
    return _ESCAPED.sub(r"\1", found[1]) if found else None


@lru_cache(maxsize=4096)
def seconds(written: str) -> float | None:
    """`3.2s`, `1m20s`, `2d3h` in seconds; None for anything else."""
    found = _TIME.fullmatch(written)
    if not found or not written:
        return None
    weeks, days, hours, minutes, rest = (float(part or 0) for part in found.groups())
    return (((weeks * 7 + days) * 24 + hours) * 60 + minutes) * 60 + rest
