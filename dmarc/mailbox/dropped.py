"""Folders into which files drop: Maildirs, and plain folders such as a mounted bucket.

What is stored is moved away, so what lies there waits. A file of a plain folder counts as whole when it has not changed
for a moment; in a Maildir only whole mails appear. A name is never taken from a mail.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event

from dmarc.errors import MailboxError
from dmarc.mailbox.mailbox import Letter
from dmarc.settings import FolderSettings

__all__ = ["DroppedFiles"]

_PORTION_FILES = 500
_PORTION_BYTES = 8 * 1024 * 1024
_SETTLED = 2.0
"""Seconds since the last change."""


class DroppedFiles:
    """A folder as a mailbox. `now` gives the time in the file system's seconds."""

    def __init__(self, settings: FolderSettings, mail_limit: int, now: Callable[[], float] = time.time) -> None:
        self._mail_limit = mail_limit
        self._now = now
        self._delete = settings.after == "delete"
        root = settings.path
        maildir = settings.type == "maildir"
        self._waiting = [root / "cur", root / "new"] if maildir else [root]
        self._settled = 0.0 if maildir else _SETTLED
        self._done = root / ".Processed" / "cur" if maildir else root / "processed"
        self._seen = ":2,S" if maildir else ""
        if not all(folder.is_dir() for folder in self._waiting):
            raise MailboxError("no such Maildir" if maildir else "no such folder", where=str(root))

    def letters(self) -> Iterator[Sequence[Letter]]:
        """Files in the order of their names, which in a Maildir is that of their arrival."""
        portion: list[Letter] = []
        held = 0
        for path in self._paths():
            letter = self._read(path)
            if letter is None:
                continue
            portion.append(letter)
            held += len(letter.data)
            if held > _PORTION_BYTES or len(portion) >= _PORTION_FILES:
                yield portion
                portion, held = [], 0
        if portion:
            yield portion

    def put_away(self, letters: Sequence[Letter], *, refused: bool = False) -> None:
        """Move or delete; refused files are always kept."""
        try:
            if not self._delete or refused:
                self._make_folder()
            for letter in letters:
                path = Path(letter.key)
                with suppress(FileNotFoundError):
                    if self._delete and not refused:
                        path.unlink()
                    else:
                        path.rename(self._free_name(path))
        except OSError as error:
            raise MailboxError(f"stored files cannot be moved: {error.strerror}", where=str(self._done)) from error

    def wait(self, seconds: float, stopping: Event) -> None:
        """A pause."""
        stopping.wait(seconds)

    def close(self) -> None:
        """Nothing is held open."""

    def _paths(self) -> list[Path]:
        try:
            found = [path for folder in self._waiting for path in folder.iterdir() if not path.name.startswith(".")]
        except OSError as error:
            raise MailboxError(f"cannot be read: {error.strerror}", where=str(self._waiting[0])) from error
        return sorted(found, key=lambda path: path.name)

    def _read(self, path: Path) -> Letter | None:
        """None for what is no file, is still being written, or vanished."""
        try:
            if not path.is_file() or self._now() - path.stat().st_mtime < self._settled:
                return None
            with path.open("rb") as file:
                return Letter(str(path), file.read(self._mail_limit + 1))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise MailboxError(f"cannot be read: {error.strerror}", where=str(path)) from error

    def _free_name(self, path: Path) -> Path:
        """Where it goes; plain files of one name come again and again."""
        target = self._done / f"{path.name.partition(':')[0]}{self._seen}" if self._seen else self._done / path.name
        number = 1
        while target.exists():
            target = self._done / f"{path.name}.{number}{self._seen}"
            number += 1
        return target

    def _make_folder(self) -> None:
        self._done.mkdir(parents=True, exist_ok=True)
        if self._seen:
            for name in ("new", "tmp"):
                (self._done.parent / name).mkdir(exist_ok=True)
            (self._done.parent / "maildirfolder").touch()
