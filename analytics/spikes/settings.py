"""What may be set about the spike detector. The defaults were chosen on simulated worlds (`docs/spikes.md`)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["SpikeSettings"]


class SpikeSettings(BaseModel):
    """How surprising, how large and how long; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: Annotated[float, Field(gt=0)] = 9.4
    """Evidence in nats that opens an incident in an installation of 30 series; more series need more (`detector`), a
    large loss needs less (`watch`)."""
    lone_step: Annotated[float, Field(ge=0)] = 2.0
    """What a single step needs beyond it."""
    lifts: Annotated[tuple[float, ...], Field(min_length=1)] = (0.05, 0.10, 0.30)
    """Rises of the bounce rate that the evidence is weighed for; anything above half of the least is seen."""
    least_rise: Annotated[float, Field(ge=0, lt=1)] = 0.015
    """An incident rises by this much, absolutely ..."""
    least_ratio: Annotated[float, Field(ge=1)] = 1.3
    """... and is this many times the baseline ..."""
    least_extra: Annotated[float, Field(ge=0)] = 5.0
    """... and costs this many bounces more than expected when it is opened ..."""
    least_extra_an_hour: Annotated[float, Field(ge=0)] = 10.0
    """... and would cost this many an hour: a handful of bounces at a small provider is nobody's incident."""
    margin: Annotated[float, Field(ge=0)] = 1.5
    """Standard deviations by which the baseline may be wrong to our disadvantage."""
    quiet_steps: Annotated[int, Field(ge=1)] = 6
    """Steps of normal mail that close an incident."""
    new_normal_hours: Annotated[int, Field(ge=1)] = 72
    """A rise that lasts this long is the new baseline."""
