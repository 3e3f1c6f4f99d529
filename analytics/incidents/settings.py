"""Settings of the watch over the store."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from analytics.spikes import SpikeSettings

__all__ = ["NetSettings", "WatchSettings"]


class NetSettings(BaseModel):
    """The safety nets below the detector: plain limits for what nobody should have to learn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    least_mail: int = Field(default=200, ge=1)
    """Outcomes or attempts in the last hour, or expected deliveries, below which a net says nothing."""
    blocked: float = Field(default=0.10, gt=0, le=1)
    """Share of a provider's outcomes blocked within an hour that is a cliff ..."""
    deferred: float = Field(default=0.50, gt=0, le=1)
    """... and share of answered attempts put off; either must also be twice what is usual."""
    queue_age_s: float = Field(default=7200, gt=0)
    """Age that a tenth of a provider's waiting recipients have passed."""
    queue_least: int = Field(default=100, ge=1)
    backlog_times: float = Field(default=3.0, gt=1)
    """Times the usual number of waiting recipients, while it still grows ..."""
    backlog_least: int = Field(default=1000, ge=1)
    """... and at least so many."""
    reports_days: float = Field(default=3.0, gt=0)
    """Days without the reports of somebody who sent them nearly every day."""
    quiet_steps: int = Field(default=6, ge=1)
    """Steps in a row without trouble that end it."""


class WatchSettings(BaseModel):
    """`[incidents]` in the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = True
    spikes: SpikeSettings = Field(default_factory=SpikeSettings)
    nets: NetSettings = Field(default_factory=NetSettings)
    grace_s: float = Field(default=5.0, ge=0)
    """How long after its end a step is judged at the earliest: records of one node come a little out of order."""
    patience_s: float = Field(default=120.0, ge=1)
    """How long a step waits for nodes whose records have not come so far; what comes later is late mail."""
    most_series: int = Field(default=5000, ge=10)
    """Providers, tenants and pools at them that are watched at most, those that were seen first."""
    tell_within_s: float = Field(default=7200.0, ge=0)
    """A step is news for so long: what a backfill shows of the past is kept, and nobody is told."""
    save_every_h: float = Field(default=6.0, gt=0)
    """What was learnt is saved this often; at a start, the steps since then are judged again, silently."""
