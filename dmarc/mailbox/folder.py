"""Files and folders, Maildirs among them: every file under a path, in a stable order, opened one at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

__all__ = ["SourceFile", "chunks_of", "find_files", "is_maildir", "shown"]

_STEP = 64 * 1024


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file: its name for people, the way to open it, and where it is, if it has a name in the file system."""

    name: str
    open: Callable[[], AbstractContextManager[BinaryIO]]
    path: str = ""


def chunks_of(stream: BinaryIO) -> Iterator[bytes]:
    """What a file holds, piece by piece."""
    while chunk := stream.read(_STEP):
        yield chunk


def shown(path: str) -> str:
    """A path as text: bytes that are not UTF-8 are written out (backslash, x, two digits)."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_maildir(path: str) -> bool:
    """Whether a folder is a Maildir: it has `cur` and `new`."""
    folder = Path(path)
    return (folder / "cur").is_dir() and (folder / "new").is_dir()


def find_files(path: str) -> Iterator[SourceFile]:
    """The file itself, or every file below the folder; of a Maildir not what is still being delivered (`tmp`).

    Symbolic links to folders are not followed, so that no loop can be made of them. Special files are left alone.
    """
    if not Path(path).is_dir():
        yield _file(path)
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        if is_maildir(folder) and "tmp" in folders:
            folders.remove("tmp")
        for name in sorted(names):
            file = os.path.join(folder, name)  # noqa: PTH118 - there may be very many
            if os.path.isfile(file):  # noqa: PTH113
                yield _file(file)


def _file(path: str) -> SourceFile:
    return SourceFile(shown(path), lambda: Path(path).open("rb"), path)
