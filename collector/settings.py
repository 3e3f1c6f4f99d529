"""Settings of the collector."""

from __future__ import annotations

import socket

from pydantic import BaseModel, ConfigDict, Field

from collector.framing.compression import MAX_WINDOW_BYTES
from collector.framing.lines import MAX_LINE_BYTES
from collector.quarantine import KEPT_BYTES

__all__ = ["CollectorSettings"]


class CollectorSettings(BaseModel):
    """`[collector]` in the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paths: tuple[str, ...] = ()
    """Folders (with everything below them), files or glob patterns to follow."""
    format: str = "auto"
    """The dialect of those logs, as `--format` takes it."""
    node: str = Field(default_factory=socket.gethostname, max_length=255)
    """Names the node of records that do not name theirs."""
    poll_interval_s: float = Field(default=0.5, ge=0.01, le=60)
    """How often followed folders are looked at."""
    idle_close_s: float = Field(default=60, ge=1)
    """A file that has not grown for this long is closed, and opened again when it grows."""
    max_open_files: int = Field(default=64, ge=1, le=4096)
    """Files read side by side; each open zstd segment holds a window of some MiB in memory."""
    batch_records: int = Field(default=10_000, ge=1, le=1_000_000)
    batch_bytes: int = Field(default=32 << 20, ge=1024)
    """Bytes of records as they came."""
    batch_age_s: float = Field(default=1.0, ge=0.01, le=60)
    """The oldest record of a batch waits no longer than this."""
    max_line_bytes: int = Field(default=MAX_LINE_BYTES, ge=1024, le=64 << 20)
    """A longer line is quarantined."""
    quarantine_bytes: int = Field(default=KEPT_BYTES, ge=0, le=1 << 20)
    """How much of a refused record is kept."""
    max_window_bytes: int = Field(default=MAX_WINDOW_BYTES, ge=1024, le=1 << 27)
    """A zstd frame that needs a larger window is refused; levels above 19 need up to 128 MiB."""
    max_retry_s: float = Field(default=30, ge=0.1)
    """The longest wait between two attempts to hand a batch to a store that refuses for the moment."""
