"""Which log segments have been kept long enough. Only sealed ones can go: those without write permission."""

from __future__ import annotations

import stat
from pathlib import Path

__all__ = ["remove_old_segments", "spent_segments"]


def spent_segments(folder: Path, now: float, *, max_age: float | None, max_bytes: int | None) -> list[Path]:
    """Sealed segments written before `max_age` seconds ago, and the oldest of those that together pass `max_bytes`."""
    sealed = [(path, path.stat()) for path in sorted(folder.glob("[0-9]*"))]
    sealed = [(path, said) for path, said in sealed if not said.st_mode & stat.S_IWUSR]
    kept, spent = 0, []
    for path, said in reversed(sealed):
        kept += said.st_size
        is_old = max_age is not None and said.st_mtime < now - max_age
        if is_old or (max_bytes is not None and kept > max_bytes):
            spent.append(path)
    return spent[::-1]


def remove_old_segments(folder: Path, now: float, *, max_age: float | None, max_bytes: int | None) -> int:
    """Delete them; how many. Raises OSError."""
    if max_age is None and max_bytes is None:
        return 0
    spent = spent_segments(folder, now, max_age=max_age, max_bytes=max_bytes)
    for path in spent:
        path.unlink(missing_ok=True)
    return len(spent)
