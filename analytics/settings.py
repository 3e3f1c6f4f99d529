"""Settings of the store."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork

__all__ = ["StoreSettings"]


class StoreSettings(BaseModel):
    """`[store]` in the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory_limit: str = Field(default="1GB", pattern=r"^\d+(\.\d+)?\s?(MB|GB|MiB|GiB)$")
    """What DuckDB may use for queries before it spills to disk."""
    threads: int = Field(default=2, ge=1, le=64)
    checkpoint_megabytes: int = Field(default=1024, ge=16, le=65_536)
    """Size of the write-ahead log that forces a checkpoint; DuckDB's own default of 16 stalls loads for seconds."""
    checkpoint_every_s: int = Field(default=300, ge=1)
    """A quiet store is checkpointed this often, so that the log stays short and a restart quick."""
    restate_days: int = Field(default=14, ge=1, le=90)
    """How long a late bounce or complaint may still change the figures of its send (METRICS.md rule 2)."""
    queue_lifetime_days: float = Field(default=7, gt=0, le=60)
    """How long your servers keep trying: mail that is older and has not ended is not expected to end any more."""
    seal_after_hours: float = Field(default=48, ge=0, le=24 * 30)
    """Mail that has ended and was silent for so long leaves the tables for compressed files."""
    seal_recipients: int = Field(default=400_000, ge=1, le=5_000_000)
    """How many leave in one go: it bounds memory and how long a load may have to wait."""
    own_networks: tuple[IPvAnyNetwork, ...] = ()
    """Where your own relays, filters and nodes are: mail handed to them is on its way, not delivered. A filter on the
    same machine is known without this."""
