"""Lists of `tag=value` pairs, as DKIM, DMARC, TLS-RPT, MTA-STS and BIMI write them (RFC 6376 section 3.2)."""

from __future__ import annotations

__all__ = ["read_tags", "records_of"]

_LIMIT = 8_192


def read_tags(text: str) -> dict[str, str]:
    """Tags in lower case with their values, trimmed. What is no pair is left out; of equal tags the first counts."""
    tags: dict[str, str] = {}
    for pair in text[:_LIMIT].split(";"):
        name, equals, value = pair.partition("=")
        if equals:
            tags.setdefault(name.strip().lower(), value.strip())
    return tags


def records_of(texts: tuple[str, ...], version: str) -> tuple[str, ...]:
    """The TXT records that begin with `v=<version>`, which has to be the first tag."""
    return tuple(text for text in texts if _version(text) == version.lower())


def _version(text: str) -> str | None:
    name, equals, value = text.partition(";")[0].partition("=")
    return value.strip().lower() if equals and name.strip().lower() == "v" else None
