"""mbox files (RFC 4155): mails one after another, each after a line that begins with `From `."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["split_mbox"]

_SEPARATOR = b"\nFrom "


def split_mbox(chunks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """The mails, without their `From ` lines; of a mail that is longer than `limit` one byte more than the limit.

    The separator must follow an empty line, as every writer of mbox makes it: a `From ` in prose divides nothing.
    """
    held = b""
    for chunk in chunks:
        searched = max(0, len(held) - len(_SEPARATOR) - 2)
        held += chunk
        while (at := _next_separator(held, searched)) >= 0:
            yield _body(held[:at], limit)
            held, searched = held[at + 1 :], 0
        if len(held) > limit + len(chunk):
            held = held[: limit + 1] + held[-3:]
    if held.strip():
        yield _body(held, limit)


def _next_separator(data: bytes, start: int) -> int:
    at = data.find(_SEPARATOR, start)
    while at >= 0 and not data[max(0, at - 2) : at].replace(b"\r", b"").endswith(b"\n"):
        at = data.find(_SEPARATOR, at + 1)
    return at


def _body(mail: bytes, limit: int) -> bytes:
    """Without the separating line."""
    return mail.partition(b"\n")[2][: limit + 1] if mail.startswith(b"From ") else mail[: limit + 1]
