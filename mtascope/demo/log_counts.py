"""Counting the MTA's log without the collector: a second opinion for the demo's reckoning.

Deliberately plain: decompress, split, decode, count. It shares no code with what it checks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import zstandard

__all__ = ["LogCounts", "count_log"]


@dataclass(slots=True)
class LogCounts:
    """Records by type; `local` are those of `TransientFailure` and `Bounce` that no peer's words caused."""

    records: int = 0
    repeated: int = 0
    """Records that stood in the log before, byte for byte the same fact."""
    types: Counter[str] = field(default_factory=Counter)
    local: Counter[str] = field(default_factory=Counter)

    @property
    def distinct(self) -> int:
        """Facts."""
        return self.records - self.repeated


def count_log(folder: Path) -> LogCounts:
    """Count every segment below `folder`; an unfinished one as far as it goes."""
    counts = LogCounts()
    seen: set[tuple[object, ...]] = set()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
        for line in _lines(path):
            record = orjson.loads(line)
            counts.records += 1
            key = (record["nodeid"], record["id"], record["type"], str(record["recipient"]), record["event_time"])
            if key in seen:
                counts.repeated += 1
                continue
            seen.add(key)
            counts.types[record["type"]] += 1
            counts.local[record["type"]] += record["response"]["content"].startswith("KumoMTA internal:")
    return counts


def _lines(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    if data[:4] == b"\x28\xb5\x2f\xfd":
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return (line for line in data.split(b"\n") if line.endswith(b"}"))
