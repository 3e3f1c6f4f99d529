"""What is watched: for each kind of trouble which steps count, which events are its evidence, and how large it must be.

All kinds share one budget of false alarms: the evidence asked of each is raised by the logarithm of their number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from analytics.spikes import SpikeSettings
from analytics.steps import StepCount

__all__ = ["NETS", "SPIKES", "Kind", "Spike", "settings_of"]


class Kind(StrEnum):
    """Kinds of incidents: four that are learnt from the counts, and the safety nets below them."""

    BOUNCES = "bounce_spike"
    BLOCKS = "block_surge"
    DEFERRALS = "deferral_surge"
    COMPLAINTS = "complaint_surge"
    CLIFF = "provider_cliff"
    """Plainly too much, whatever is usual: a tenth blocked, or half of the attempts put off."""
    SILENCE = "silence"
    """No delivery where many were expected."""
    QUEUE_AGE = "queue_age"
    BACKLOG = "backlog_growth"
    REPORTS = "reports_stopped"
    """DMARC or complaint reports that came regularly do not come any more."""
    IDENTITY = "identity_broken"
    """Our own counts do not add up."""


@dataclass(frozen=True, slots=True)
class Spike:
    """A kind that the detector watches: `bad` of `counted` in a step; the same of events as SQL conditions.

    `word` says what happened to the mail.
    """

    kind: Kind
    word: str
    counted: Callable[[StepCount], int]
    bad: Callable[[StepCount], int]
    counted_events: str
    bad_events: str


_ENDED = "type IN ('delivery', 'bounce', 'expiration')"
_ANSWERED = "type IN ('delivery', 'bounce', 'deferral') AND origin = 'remote'"

SPIKES: dict[Kind, Spike] = {
    spike.kind: spike
    for spike in (
        Spike(Kind.BOUNCES, "bounced", lambda step: step.ended, lambda step: step.failed, _ENDED, "type <> 'delivery'"),
        Spike(Kind.BLOCKS, "blocked", lambda step: step.ended, lambda step: step.blocked, _ENDED,
              "type = 'bounce' AND severity = 'block'"),
        Spike(Kind.DEFERRALS, "put off", lambda step: step.answered, lambda step: step.deferred, _ANSWERED,
              "type = 'deferral'"),
        Spike(Kind.COMPLAINTS, "complained about", lambda step: step.delivered, lambda step: step.complained,
              "type = 'delivery'", "false"),
    )
}  # fmt: skip
"""In the order in which an incident takes its name from several that begin together."""

NETS = (Kind.CLIFF, Kind.SILENCE, Kind.QUEUE_AGE, Kind.BACKLOG, Kind.REPORTS, Kind.IDENTITY)


def settings_of(kind: Kind, settings: SpikeSettings) -> SpikeSettings:
    """The detector's settings for one kind. Complaints are counted in tenths of a percent, the others in percents."""
    threshold = settings.threshold + math.log(len(SPIKES))
    if kind is not Kind.COMPLAINTS:
        return settings.model_copy(update={"threshold": threshold})
    scale = 0.02
    return settings.model_copy(
        update={
            "threshold": threshold,
            "lifts": tuple(lift * scale for lift in settings.lifts),
            "least_rise": settings.least_rise * scale * 2,
            "least_ratio": max(2.0, settings.least_ratio),
            "least_extra_an_hour": settings.least_extra_an_hour / 2,
        }
    )
