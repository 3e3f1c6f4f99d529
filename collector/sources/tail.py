"""Following log files: which there are, how far each was read, which have grown.

Folders are looked at in full at each poll; files are known by device and inode, so a renamed one goes on where it was.
At most `max_open` are open at a time: one that is read to its end is closed when it stays quiet or when its place is
needed, and opened again when it changes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO

from collector.errors import SourceError
from collector.sources.discovery import Found, discover
from collector.sources.followed import FollowedFile
from collector.sources.segment import ReadLimits, identity, is_complete
from mta.events.intake import Checkpoint

__all__ = ["Tail", "open_file"]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Entry:
    """What is remembered of a file between polls."""

    found: Found
    file: FollowedFile | None = None
    quiet: tuple[int, int, int] | None = None
    """Its look when it was last seen to have nothing new."""
    quiet_since: float = 0.0
    resume: Checkpoint | None = None
    """How far it had been read when it was closed; the store may not have heard of it yet."""
    finished: bool = False

    @property
    def is_quiet(self) -> bool:
        """Nothing has changed since there was nothing new."""
        return self.quiet == self.found.look

    @property
    def has_news(self) -> bool:
        """There may be something to read."""
        return not self.finished and not self.is_quiet


class Tail:
    """All files that the paths lead to, as open sources in the order in which they were written.

    `checkpoint` tells how far a source had been read at the last commit; `monotonic` is a clock in seconds.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        checkpoint: Callable[[str], Checkpoint | None],
        monotonic: Callable[[], float],
        limits: ReadLimits | None = None,
        max_open: int = 64,
        idle_close: float = 60.0,
    ) -> None:
        self._paths = tuple(paths)
        self._checkpoint = checkpoint
        self._monotonic = monotonic
        self._limits = limits or ReadLimits()
        self._max_open = max_open
        self._idle_close = idle_close
        self._entries: dict[tuple[int, int], _Entry] = {}
        self._held: dict[tuple[int, int], _Entry] = {}
        """Entries whose file is open."""
        self.errors: list[SourceError] = []
        """What could not be looked at or opened in the last poll."""
        self.look_s = 0.0
        """How long the last look at all paths took, in seconds."""

    @property
    def files_open(self) -> int:
        """Files held open."""
        return len(self._held)

    @property
    def files_finished(self) -> int:
        """Files still in their folder that were read to their end for good."""
        return sum(entry.finished for entry in self._entries.values())

    @property
    def backlog_bytes(self) -> int:
        """Stored bytes not read yet."""
        return sum(_backlog(entry) for entry in self._entries.values())

    def poll(self) -> Iterator[FollowedFile]:
        """Each file that has something to say, in turn, opened where it was left.

        Read it as far as you like before taking the next; what is left comes again at the next poll.
        """
        present = self._look()
        for key in [key for key in self._entries if key not in present]:
            yield from self._gone(key)
        for entry in list(self._held.values()):
            self._close_if_idle(entry)
        changed = (self._entries[key] for key in present if self._entries[key].has_news)
        for entry in sorted(changed, key=lambda entry: entry.found.order):
            if (file := self._opened(entry)) is not None:
                if file.refresh():
                    yield file
                self._settle(entry, file)

    def close(self) -> None:
        """Close every file; what was read and not committed will be read again."""
        for entry in list(self._held.values()):
            self._close(entry)
        self._entries.clear()

    def _look(self) -> set[tuple[int, int]]:
        """Bring the entries up to date with the folders; the keys of those that are there."""
        began = self._monotonic()
        self.errors = []
        present = set()
        for found in discover(self._paths):
            if isinstance(found, SourceError):
                self.errors.append(found)
                continue
            present.add(found.key)
            entry = self._entries.setdefault(found.key, _Entry(found))
            if entry.found.look != found.look:
                entry.finished = False  # perhaps another file was given the inode: see who it is
            entry.found = found
        self.look_s = self._monotonic() - began
        return present

    def _gone(self, key: tuple[int, int]) -> Iterator[FollowedFile]:
        """A file that no path leads to now: deleted, moved away, or missed because it was renamed while we looked.

        Its writer may go on for a while, so it is read until it stays quiet. Only one that was deleted ends there.
        """
        entry = self._entries[key]
        if (file := entry.file) is not None:
            quiet = self._monotonic() - entry.quiet_since >= self._idle_close
            if file.refresh(over=quiet and file.deleted):
                yield file
                if not file.finished:
                    entry.quiet_since = self._monotonic()
                    return
            elif not quiet:
                return
        elif missed := _backlog(entry):
            _log.warning("%s went away before its last %d bytes were read", entry.found.path, missed)
        self._close(entry)
        del self._entries[key]

    def _opened(self, entry: _Entry) -> FollowedFile | None:
        if entry.file is None and self._make_room():
            self._open(entry)
        if entry.file is not None:
            entry.file.path = entry.found.path
        return entry.file

    def _open(self, entry: _Entry) -> None:
        """Not if it was finished long ago, cannot be opened, or is too short to be named yet."""
        try:
            file = open_file(entry.found.path, lambda source: self._resume(entry, source), self._limits)
        except OSError as error:
            self.errors.append(SourceError.of(entry.found.path, error))
            return
        if isinstance(file, FollowedFile):
            entry.file = file
            entry.quiet_since = self._monotonic()
            self._held[entry.found.key] = entry
        else:
            entry.quiet = entry.found.look
            entry.finished = file is not None

    def _resume(self, entry: _Entry, source: str) -> Checkpoint | None:
        """The store may not have heard yet of what was read before the file was closed."""
        if entry.resume is not None and entry.resume.source == source:
            return entry.resume
        return self._checkpoint(source)

    def _settle(self, entry: _Entry, file: FollowedFile) -> None:
        """The consumer has read as far as it likes for now."""
        entry.quiet = entry.found.look if file.caught_up or file.finished else None
        entry.quiet_since = self._monotonic()
        if file.finished:
            self._close(entry)
            entry.finished = not file.replaced
            entry.quiet = None if file.replaced else entry.quiet

    def _close_if_idle(self, entry: _Entry) -> None:
        if entry.is_quiet and self._monotonic() - entry.quiet_since >= self._idle_close:
            self._close(entry)

    def _make_room(self) -> bool:
        """Whether one more file may be opened, closing the one that has been quiet for longest if need be."""
        if len(self._held) < self._max_open:
            return True
        quiet = [entry for entry in self._held.values() if entry.is_quiet]
        if not quiet:
            return False
        self._close(min(quiet, key=lambda entry: entry.quiet_since))
        return True

    def _close(self, entry: _Entry) -> None:
        if entry.file is not None:
            entry.resume = entry.file.checkpoint()
            entry.file.close()
            entry.file = None
            self._held.pop(entry.found.key, None)


def open_file(
    path: str, checkpoint: Callable[[str], Checkpoint | None], limits: ReadLimits
) -> FollowedFile | Checkpoint | None:
    """The file, to be read from where `checkpoint` says.

    Its checkpoint instead, if it was finished; None while it is too short to be told from others. Raises OSError.
    """
    file = FileIO(path)
    try:
        complete = is_complete(os.fstat(file.fileno()))
        source = identity(file, complete=complete)
        reached = checkpoint(source) if source is not None else None
        if source is not None and (reached is None or not reached.finished):
            offset = reached.offset if reached else 0
            return FollowedFile(file, path, source, offset=offset, complete=complete, limits=limits)
    except BaseException:
        file.close()
        raise
    file.close()
    return reached


def _backlog(entry: _Entry) -> int:
    if entry.finished or (entry.file is None and entry.is_quiet):
        return 0
    size = entry.found.status.st_size
    return size if entry.file is None else entry.file.backlog(size)
