"""Mail addresses in free text, found in linear time.

Bounce mails write addresses in every way there is: in angle brackets, in quotes, with `rfc822;` or `SMTP=` before them,
glued to Chinese characters, with three full stops behind. What is returned is the bare address.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["FoundAddress", "find_addresses", "local_part"]

_ADDRESS_LIMIT = 320
"""Characters; RFC 5321 section 4.5.3.1 allows 64 + 1 + 255."""
# Possessive, and begun only where a run begins: each character is looked at once.
_LOCAL = r"""[^\s<>()\[\]",;:@\\|`\u300c\u300d\uff08\uff09\uff0c\u3001\u3002\uff1a\uff1b]"""
_ADDRESS = re.compile(
    rf"""(?:"[^"@\r\n]{{1,64}}"|(?<!{_LOCAL}){_LOCAL}++)@([A-Za-z0-9][A-Za-z0-9._-]*+|\[[0-9A-Fa-f:.]++\])"""
)
_TYPED = ("smtp=", "smtp/", "mailto=", "rfc822/", "to=")
_ASCII_TAIL = re.compile(r"[!-~]+\Z")


class FoundAddress(NamedTuple):
    """An address and where in the text it stands."""

    address: str
    start: int
    end: int


def find_addresses(text: str) -> list[FoundAddress]:
    """All addresses of the text in their order; one without a dot in its domain counts in angle brackets alone."""
    if "@" not in text:
        return []
    return [found for match in _ADDRESS.finditer(text) if (found := _read(text, match)) is not None]


def local_part(address: str) -> str:
    """What stands before the last `@`, in lower case."""
    return address.rpartition("@")[0].lower()


def _read(text: str, match: re.Match[str]) -> FoundAddress | None:
    domain = match[1].partition("..")[0].rstrip(".-_")
    local = _bare_local(match[0][: match.start(1) - match.start() - 1])
    bracketed = text[max(match.start() - 1, 0) : match.start()] == "<"
    if not domain or not local or not ("." in domain or domain.startswith("[") or bracketed):
        return None
    if len(local) + len(domain) >= _ADDRESS_LIMIT:
        return None
    start = match.start(1) - 1 - len(local)
    return FoundAddress(f"{local}@{domain}", start, match.start(1) + len(domain))


def _bare_local(local: str) -> str:
    if local.startswith('"'):
        return local
    local = local.lstrip("'*=.")
    lowered = local.lower()
    for prefix in _TYPED:
        if lowered.startswith(prefix):
            local = local[len(prefix) :]
    if not local.isascii() and (tail := _ASCII_TAIL.search(local)):
        local = tail[0]
    return local
