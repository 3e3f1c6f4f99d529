"""Mails to our report addresses (rua, ruf): kept in a Maildir until whoever reads reports has stored them.

A mail lies there whole and on disk before the sender hears 250. Above it stand Return-Path and our own Received field
(RFC 5321 section 4.4), from which the reader knows who sent it, and checks whether he may. The file's name is made of
our own queue id only.
"""

from __future__ import annotations

import os
from pathlib import Path

from mta.errors import SpoolFull

__all__ = ["ReportBox"]


class ReportBox:
    """One Maildir; several workers may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("tmp", "new", "cur"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def keep(self, queue_id: str, sender: str, trace: bytes, content: bytes) -> None:
        """Durable when it returns. `trace` is our Received field. Raises SpoolFull."""
        half, whole = self._folder / "tmp" / queue_id, self._folder / "new" / queue_id
        try:
            with half.open("xb") as file:
                file.write(b"Return-Path: <%b>\r\n%b%b" % (_plain(sender), trace, content))
                file.flush()
                os.fsync(file.fileno())
            half.rename(whole)
            folder = os.open(whole.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            half.unlink(missing_ok=True)
            raise SpoolFull(f"a report cannot be kept: {error.strerror}", where=str(whole)) from error


def _plain(sender: str) -> bytes:
    """No line end gets into the header, whatever a client calls itself."""
    return " ".join(sender.split()).encode("utf8", "replace")[:512]
