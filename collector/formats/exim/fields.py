"""The `X=value` fields of a main-log line: peers, TLS, sizes, times, confirmations.

Which of them there are depends on the `log_selector`; their order does not matter. Text that a peer wrote is quoted
(`C="..."`, `T="..."`); a line is read from its beginning, quoted text in one piece, so that no peer can forge a field.
"""

from __future__ import annotations

import re
from functools import lru_cache

from collector.formats.hosts import host_or_none, ip_or_none

__all__ = ["Fields", "queued_before", "seconds", "tls_version"]

_PEER = re.compile(r" H=(?:([^\s\[(*]{1,255})\*? (?:DS )?)?(?:\([^()]{0,255}\) )?\[([^\]\s]{1,64})\]")
_QUOTED = re.compile(r' [A-Za-z]{1,3}="[^"\\]*(?:\\.[^"\\]*)*"?')
_ESCAPED = re.compile(r'\\(["\\])')
_TLS = re.compile(r"(?:TLS|SSL)v?(\d(?:\.[\dx])?)")
_TIME = re.compile(r"(?:(\d{1,5})w)?(?:(\d{1,5})d)?(?:(\d{1,5})h)?(?:(\d{1,5})m)?(?:(\d{1,9}(?:\.\d{1,6})?)s)?")
_LONGEST_DELAY = 100_000_000  # seconds; three years


class Fields:
    """The fields of one line, looked for when they are asked for: most lines are asked for four out of ten."""

    __slots__ = ("_said", "_text")

    def __init__(self, text: str) -> None:
        """`text` begins with the blank before the first field."""
        self._said: str | None = None
        if '="' in text:
            self._text, said = _without_quoted(text)
            self._said = said
        else:
            self._text = text

    def get(self, key: str) -> str | None:
        """The value of the first field with this key, such as `QT`."""
        text, start = self._text, self._text.find(f" {key}=")
        if start < 0:
            return None
        start += len(key) + 2
        end = text.find(" ", start)
        return text[start:] if end < 0 else text[start:end]

    @property
    def peer(self) -> tuple[str | None, str | None]:
        """`H=name (helo) [address]:port`: the name that was verified, not the one that was claimed; and the address."""
        found = _PEER.search(self._text)
        return (host_or_none(found[1] or ""), ip_or_none(found[2])) if found else _NOBODY

    @property
    def tls(self) -> str | None:
        """`X=TLS1.3:cipher:bits` as `TLSv1.3`."""
        cipher = self.get("X")
        return tls_version(cipher) if cipher else None

    @property
    def size(self) -> int | None:
        """`S=5360`."""
        size = self.get("S")
        return int(size) if size and size.isdecimal() and len(size) < 19 else None

    @property
    def sender(self) -> str | None:
        """`F=<a@b.example>`; the brackets are missing in old logs."""
        sender = self.get("F")
        return sender.strip("<>") if sender is not None else None

    @property
    def confirmation(self) -> str | None:
        """What the peer said when it took the message: `C="250 OK"`."""
        said = self._said
        return _ESCAPED.sub(r"\1", said) if said and "\\" in said else said

    def queued_before(self, time: int) -> int | None:
        """When the message arrived, from its time in the queue: `QT=1m20s`."""
        written = self.get("QT")
        return queued_before(written, time) if written else None


_NOBODY = (None, None)


def _without_quoted(text: str) -> tuple[str, str | None]:
    """The fields that are not quoted, and the confirmation, which is the only quoted one on most lines."""
    start = text.find('="') - 2
    if text.startswith(' C="', start):
        end = text.find('"', start + 4)
        if end >= 0 and text.find("\\", start, end) < 0:
            rest = text[:start] + text[end + 1 :]
            return (_QUOTED.sub("", rest) if '="' in rest else rest), text[start + 4 : end]
    quoted = [field for field in _QUOTED.findall(text) if field.startswith(' C="')]
    return _QUOTED.sub("", text), quoted[0][4:].removesuffix('"') if quoted else None


def queued_before(written: str, time: int) -> int | None:
    """When a message arrived that was `written` long (`1m20s`) in the queue at `time`; None for no such duration."""
    delay = seconds(written)
    if delay is None or delay > _LONGEST_DELAY:
        return None
    created = time - round(delay * 1_000_000)
    return created if created >= 0 else None


@lru_cache(maxsize=1024)
def tls_version(written: str) -> str | None:
    """`TLS1.3:cipher:bits` as `TLSv1.3`."""
    found = _TLS.match(written)
    return f"TLSv{found[1]}" if found else None


@lru_cache(maxsize=4096)
def seconds(written: str) -> float | None:
    """`3.2s`, `1m20s`, `2d3h` in seconds; None for anything else."""
    found = _TIME.fullmatch(written)
    if not found or not written:
        return None
    weeks, days, hours, minutes, rest = (float(part or 0) for part in found.groups())
    return (((weeks * 7 + days) * 24 + hours) * 60 + minutes) * 60 + rest
