"""The spike detector of an installation: many series, one budget of false alarms.

Each series is judged alone (`watch`), but learns from the others how mail scatters, and the evidence asked of it rises
with the logarithm of their number: with twice as many series each may be wrong half as often.
"""

from __future__ import annotations

import math

from analytics.spikes.baseline import STEPS_PER_HOUR, Priors
from analytics.spikes.settings import SpikeSettings
from analytics.spikes.watch import Change, Watch

__all__ = ["STEP_SECONDS", "SpikeDetector"]

STEP_SECONDS = 300
_INSTALLATION = 30
"""Series for which the threshold of the settings is meant."""
_FEWEST = 6
"""A smaller installation is held to the evidence of this one."""
_SETTLE_EVERY = 4
"""Hours between two looks at what a series says of its scatter, once it has been seen for a day."""
_LEARN_EVERY = 6
"""Hours between two looks at what all series say."""


class SpikeDetector:
    """Feed it the counts of every series step by step; it says when an incident opens, is renewed or closes.

    A step is the number of 5-minute steps since the beginning of any week in any time zone. Steps of one series must
    come in order; a series that skips steps had no mail. Nothing is ever decided from the future, nothing is random.
    """

    def __init__(self, settings: SpikeSettings | None = None) -> None:
        self.settings = settings or SpikeSettings()
        self._priors = Priors()
        self._watches: dict[str, Watch] = {}
        self._hour: int | None = None

    def observe(self, series: str, step: int, sent: int, bounced: int) -> Change | None:
        """Counts of one series in one step: `bounced` of `sent`. What changed by it, if anything."""
        if step // STEPS_PER_HOUR != self._hour:
            self._begin_hour(step // STEPS_PER_HOUR)
        watch = self._watches.get(series)
        if watch is None:
            watch = self._watches[series] = Watch(series, self._priors, self.settings)
            watch.threshold = self.threshold
        return watch.observe(step, sent, bounced)

    @property
    def threshold(self) -> float:
        """The evidence in nats that is asked of each series now."""
        return self.settings.threshold + math.log(max(_FEWEST, len(self._watches)) / _INSTALLATION)

    def _begin_hour(self, hour: int) -> None:
        self._hour = hour
        threshold = self.threshold
        baselines = []
        for watch in self._watches.values():
            watch.threshold = threshold
            if hour % _SETTLE_EVERY == 0 or not watch.baseline.settled:
                watch.baseline.settle()
            baselines.append(watch.baseline)
        if hour % _LEARN_EVERY == 0:
            self._priors.learn(baselines)
