"""Small files that the workers of a machine change in turn: replaced as a whole, durably, under a lock beside them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["exclusively", "replace_file"]


@contextmanager
def exclusively(lock: Path) -> Iterator[None]:
    """Nobody else is in here at the time; the lock of a process that is killed is free at once. Raises OSError."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def replace_file(path: Path, content: bytes) -> None:
    """The whole or nothing, and durable when this returns; only its owner can read it. Raises OSError."""
    new = path.with_suffix(".new")
    with open(new, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
