"""Mails in files and folders: single mails, mbox files, Maildirs; one at a time, each within its limit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

__all__ = ["Mail", "mails_in"]

_CHUNK = 64 * 1024
_FROM_LINE = re.compile(rb"From [^\r\n]{1,300}\d\d:\d\d[^\r\n]{0,100}")


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail and the file that it came from; `error` says why its bytes could not be had."""

    file: str
    data: bytes = b""
    error: str | None = None


def mails_in(paths: Iterable[Path], limit: int) -> Iterator[Mail]:
    """Every mail of the paths, folders by name; a mail beyond `limit` bytes has an error instead of its bytes."""
    for path in paths:
        yield from _in_folder(path, limit) if path.is_dir() else _in_file(path, limit)


def _in_folder(folder: Path, limit: int) -> Iterator[Mail]:
    """A Maildir's `tmp` holds mails that are still being written (its own rule), so it is left out."""
    is_maildir = (folder / "cur").is_dir() and (folder / "new").is_dir()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not (is_maildir and path.relative_to(folder).parts[0] == "tmp"):
            yield from _in_file(path, limit)


def _in_file(path: Path, limit: int) -> Iterator[Mail]:
    try:
        with path.open("rb") as file:
            for data in _split(file, limit):
                yield Mail(str(path), data) if data is not None else _too_large(path, limit)
    except OSError as error:
        yield Mail(str(path), error=f"cannot be read: {error.strerror}")


def _too_large(path: Path, limit: int) -> Mail:
    return Mail(str(path), error=f"a mail of more than {limit} bytes")


def _split(file: BinaryIO, limit: int) -> Iterator[bytes | None]:
    """The mails of an mbox, else the one mail; None stands for one beyond the limit."""
    first = file.readline(_CHUNK)
    if not _FROM_LINE.match(first) or b"\r" in first.rstrip(b"\r\n"):
        data = first + file.read(limit + 1)
        yield data if len(data) <= limit else None
        return
    mail: list[bytes] = []
    size = 0
    after_blank = False
    while line := file.readline(_CHUNK):
        if after_blank and _FROM_LINE.match(line):
            yield b"".join(mail) if size <= limit else None
            mail, size = [], 0
        elif (size := size + len(line)) <= limit:
            mail.append(line)
        after_blank = line in {b"\n", b"\r\n"}
    yield b"".join(mail) if size <= limit else None
