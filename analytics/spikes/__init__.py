"""Bounce spikes: seen in minutes, almost never wrong. Pure: counts in, changes of incidents out (`docs/spikes.md`)."""

from __future__ import annotations

from analytics.spikes.detector import STEP_SECONDS, SpikeDetector
from analytics.spikes.settings import SpikeSettings
from analytics.spikes.watch import Change, ChangeKind

__all__ = ["STEP_SECONDS", "Change", "ChangeKind", "SpikeDetector", "SpikeSettings"]
