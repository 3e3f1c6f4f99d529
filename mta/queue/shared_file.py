"""A small file that the workers of a data directory change in turn and all read: replaced whole and under a lock."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["SharedFile"]


class SharedFile:
    """`read` and `change` block; both raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def stamp(self) -> int:
        """Another number when the file was changed; 0 while there is none."""
        try:
            return self.path.stat().st_mtime_ns
        except OSError:
            return 0

    def read(self) -> bytes:
        """What it holds; nothing while there is none."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""

    def change(self, change: Callable[[bytes], bytes]) -> None:
        """Replace what it holds by what `change` makes of that."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            new = self.path.with_suffix(".new")
            with new.open("wb") as file:
                file.write(change(self.read()))
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
        finally:
            os.close(lock)
