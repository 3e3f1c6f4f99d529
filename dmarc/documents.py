"""Several reports written one after another into one file, as joined gzip members and careless scripts leave them."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["documents"]

_JOINT = re.compile(rb"</(?:[A-Za-z_][\w.-]{0,40}:)?feedback\s{0,20}>\s{0,40}(?=<(?:\?xml\s|feedback[\s>]))")
_JOINT_LENGTH = 160
"""No joint is longer, with what has to be seen behind it."""


def documents(stream: Iterator[bytes]) -> Iterator[Iterator[bytes]]:
    """The chunks of each document. Read one to its end before asking for the next.

    Whoever stops in the middle has refused it as hostile: then nothing behind it is looked at.
    """
    rest: list[bytes] = [b""]
    while rest:
        yield _until_joint(rest.pop(), stream, rest)


def _until_joint(held: bytes, stream: Iterator[bytes], rest: list[bytes]) -> Iterator[bytes]:
    """Chunks up to where another document begins; what was seen of that is put into `rest`."""
    following: bytes | None = held or next(stream, None)
    held = b""
    while following is not None:
        data, following = held + following, next(stream, None)
        if found := _JOINT.search(data):
            rest.append(data[found.end() :] + (following or b""))
            yield data[: found.end()]
            return
        kept = 0 if following is None else _JOINT_LENGTH
        held = data[len(data) - kept :] if kept else b""
        if out := data[: len(data) - kept]:
            yield out
