"""The spike detector of an installation: many series, one budget of false alarms.

Each series is judged alone (`watch`), but learns from the others how mail scatters, and the evidence asked of it rises
with the logarithm of their number: with twice as many series each may be wrong half as often.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from analytics.spikes.baseline import STEPS_PER_HOUR, Expectation, Priors
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

    Series may stand in tiers, wholes before their parts: each tier has an equal share of the installation's budget of
    false alarms, so that many parts do not make the wholes deaf.
    """

    def __init__(self, settings: SpikeSettings | None = None, tiers: int = 1) -> None:
        self.settings = settings or SpikeSettings()
        self._priors = Priors()
        self._watches: dict[str, Watch] = {}
        self._tier: dict[str, int] = {}
        self._sizes = [0] * tiers
        self._hour: int | None = None

    def observe(self, series: str, step: int, sent: int, bounced: int, tier: int = 0) -> Change | None:
        """Counts of one series in one step: `bounced` of `sent`. What changed by it, if anything."""
        if step // STEPS_PER_HOUR != self._hour:
            self._begin_hour(step // STEPS_PER_HOUR)
        return self._watch(series, tier).observe(step, sent, bounced)

    def teach(
        self, series: str, hour: int, steps: Sequence[tuple[int, int, int]], tier: int = 0, *, thorough: bool = True
    ) -> None:
        """Learn an hour of the past, (step, sent, bounced) each, without judging it; hours in order, then `observe`.

        Much cheaper than observing, the more so where not every hour is learnt `thorough`ly.
        """
        if hour != self._hour:
            self._begin_hour(hour)
        self._watch(series, tier).teach(hour, steps, thorough=thorough)

    def restate(self, series: str, step: int, sent: int, bounced: int) -> None:
        """Late mail has changed the counts of a step of the last hours."""
        if series in self._watches:
            self._watches[series].restate(step, sent, bounced)

    def expectation(self, series: str) -> Expectation | None:
        """What the current hour of a series should bring; None for one that is not known yet."""
        watch = self._watches.get(series)
        return None if watch is None or not watch.baseline.warm else watch.baseline.expectation

    def troubled(self) -> list[str]:
        """The series with an open incident."""
        return [series for series, watch in self._watches.items() if watch.troubled]

    def __len__(self) -> int:
        return len(self._watches)

    @property
    def threshold(self) -> float:
        """The evidence in nats that is asked of each series of the first tier now."""
        return self._threshold(0)

    def state(self) -> dict[str, Any]:
        """Everything that was learnt and is open, as JSON has it."""
        watches = {series: [self._tier[series], watch.state()] for series, watch in self._watches.items()}
        return {"priors": self._priors.state(), "hour": self._hour, "watches": watches}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was told, by a detector of the same settings and tiers that has seen nothing yet."""
        self._priors.restore(state["priors"])
        for series, (tier, told) in state["watches"].items():
            self._watch(series, tier).restore(told)
        self._set_thresholds()
        self._hour = state["hour"]

    def _watch(self, series: str, tier: int) -> Watch:
        watch = self._watches.get(series)
        if watch is None:
            watch = self._watches[series] = Watch(series, self._priors, self.settings)
            self._tier[series] = tier
            self._sizes[tier] += 1
            watch.threshold = self._threshold(tier)
        return watch

    def _threshold(self, tier: int) -> float:
        share = self._sizes[tier] * sum(1 for size in self._sizes if size)
        return self.settings.threshold + math.log(max(_FEWEST, share) / _INSTALLATION)

    def _set_thresholds(self) -> None:
        of_tier = [self._threshold(tier) for tier in range(len(self._sizes))]
        for series, watch in self._watches.items():
            watch.threshold = of_tier[self._tier[series]]

    def _begin_hour(self, hour: int) -> None:
        self._hour = hour
        self._set_thresholds()
        baselines = []
        for watch in self._watches.values():
            if hour % _SETTLE_EVERY == 0 or not watch.baseline.settled:
                watch.baseline.settle()
            baselines.append(watch.baseline)
        if hour % _LEARN_EVERY == 0:
            self._priors.learn(baselines)
