"""Reports that another process reads while this one still writes them: replaced whole, never seen half."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

__all__ = ["keep_writing", "read_report", "write_report"]


def write_report(path: Path, value: Any) -> None:
    """Replace the file at `path` by `value` as JSON, in one step; its folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2))
    half.replace(path)


def read_report(path: Path) -> dict[str, Any]:
    """The report at `path`; FileNotFoundError while there is none."""
    report: dict[str, Any] = orjson.loads(path.read_bytes())
    return report


async def keep_writing(path: Path, snapshot: Callable[[], Any], stop: asyncio.Event, every: float = 1.0) -> None:
    """Write a fresh report `every` so many seconds until `stop` is set, and once more then."""
    while not stop.is_set():
        write_report(path, snapshot())
        try:
            await asyncio.wait_for(stop.wait(), every)
        except TimeoutError:
            continue
    write_report(path, snapshot())
