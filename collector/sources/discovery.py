"""Which files the paths of the settings lead to. Files and folders whose name begins with a dot are left alone."""

# ruff: noqa: PTH116, PTH118, PTH119, PTH207 - thousands of files twice a second: Path objects cost more than the calls

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from collector.errors import SourceError

__all__ = ["Found", "discover"]


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file that one of the paths led to."""

    path: str
    status: os.stat_result

    @property
    def key(self) -> tuple[int, int]:
        """What stays when it is renamed."""
        return self.status.st_dev, self.status.st_ino

    @property
    def look(self) -> tuple[int, int, int]:
        """Changes whenever there may be something new in it."""
        return self.status.st_size, self.status.st_mtime_ns, self.status.st_mode

    @property
    def order(self) -> tuple[str, str]:
        """Segments are named after their start, so this is the order in which they were written, over all folders."""
        return os.path.basename(self.path), self.path


def discover(paths: Iterable[str]) -> Iterator[Found | SourceError]:
    """Every regular file at or below the paths, and an error for each path that cannot be looked at.

    A path is a file, a folder or a glob pattern (`**` reaches through folders). A pattern may match nothing.
    """
    for path in paths:
        if glob.has_magic(path) and not os.path.lexists(path):
            for match in glob.iglob(path, recursive=True):
                yield from _below(match)
        else:
            yield from _below(path)


def _below(path: str) -> Iterator[Found | SourceError]:
    try:
        status = os.stat(path)
    except OSError as error:
        yield SourceError.of(path, error)
        return
    if stat.S_ISREG(status.st_mode):
        yield Found(path, status)
    elif stat.S_ISDIR(status.st_mode):
        yield from _in_folder(path)


def _in_folder(folder: str) -> Iterator[Found | SourceError]:
    errors: list[OSError] = []
    for parent, folders, names in os.walk(folder, onerror=errors.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = os.path.join(parent, name)
            if not name.startswith(".") and (found := _regular(path)) is not None:
                yield found
    yield from (SourceError.of(error.filename or folder, error) for error in errors)


def _regular(path: str) -> Found | None:
    """None for what is no regular file, or went away between listing and looking."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return Found(path, status) if stat.S_ISREG(status.st_mode) else None
