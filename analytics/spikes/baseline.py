"""What a series normally does: bounce rate and volume by the hour of the week, and how far to trust them.

The rate is a level times a factor of the hour of the week. Three levels are kept, which forget at different speeds; the
one that predicted the past hours with the least scatter is used, so that a wandering series is followed quickly and a
steady one is averaged long. What scatter is left beyond the clumping of single steps (`wander`) widens the null
hypothesis. Hours of much more mail than usual are campaigns, and a campaign brings lists of another quality: their
scatter is learnt apart, and they weigh no more than usual hours.

Learning happens two hours late and leaves out steps that belong to an incident, so a spike does not teach that it is
normal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analytics.spikes.dispersion import Dispersion, DispersionPrior

__all__ = ["STEPS_PER_HOUR", "Baseline", "Block", "Expectation", "Priors"]

STEPS_PER_HOUR = 12
_HOURS_PER_WEEK = 168
_HALF_LIVES = (3.0, 12.0, 48.0)
"""Of the levels, in hours."""
_MEMORY = 14 * 24
"""Half-life, in hours, of what is learnt about dispersion."""
_BURST = 1.6
"""Times the usual volume from which mail counts as a campaign."""
_QUARTER = 3
_LASTING = 0.5
"""Share of lasting clumps that discounts the evidence; the rest is in `wander` and so in the null hypothesis."""
_REDUNDANT = 1.3
"""Below it, clumps that last are not told from chance."""
_WARM_UP = 6
"""Hours with mail before anything is judged; the first of them only find the level."""
_SETTLED = 24
"""Hours with mail before the hours of the week are told apart."""
_INSTALLATION_WEIGHT = 300.0
"""Mails for which the typical rate of the installation counts in a level."""
_SLOWER_WEIGHT = 10.0
"""Bounces for which the next slower level counts in a quicker one."""
_SEASON_WEIGHT = 20.0
"""Expected bounces for which "like the week" counts in an hour's factor."""
_WEEKLY_KEEP = 0.5 ** (1 / 3)


class Priors:
    """What the installation knows before it knows a series; shared by all its baselines."""

    def __init__(self) -> None:
        self.clumping = DispersionPrior(0.01, 12.0, 12, guess=0.4)
        self.wander = DispersionPrior(0.001, 2.0, 10, guess=0.02)
        self.campaigns = DispersionPrior(0.001, 2.0, 10, guess=0.1)
        self.quarters = DispersionPrior(0.001, 4.0, 10, guess=0.02)
        self.rate = 0.01

    def learn(self, baselines: Sequence[Baseline]) -> None:
        """Take over what the series say by now."""
        self.clumping.learn(one.clumping for one in baselines)
        self.wander.learn(one.wander for one in baselines if one.settled)
        self.campaigns.learn(one.campaigns for one in baselines)
        self.quarters.learn(one.quarters for one in baselines if one.settled)
        rates = sorted(one.expectation.rate for one in baselines if one.settled)
        if rates:
            self.rate = rates[len(rates) // 2]

    def state(self) -> list[Any]:
        """What was learnt, for `restore`."""
        return [self.rate, *(prior.log_weights for prior in self._of_kind())]

    def restore(self, state: Sequence[Any]) -> None:
        """Know again what `state` told."""
        self.rate, *weights = state
        for prior, of_kind in zip(self._of_kind(), weights, strict=True):
            prior.log_weights = of_kind

    def _of_kind(self) -> tuple[DispersionPrior, ...]:
        return (self.clumping, self.wander, self.campaigns, self.quarters)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What an hour should bring."""

    rate: float
    volume: float
    """Mails of a step; 0 while unknown."""
    doubt: float
    """Squared relative standard deviation of the rate."""
    campaign_doubt: float
    """The same where there is much more mail than usual."""
    levels: tuple[float, ...] = ()
    level: float = 0.0

    def state(self) -> list[Any]:
        """For `restored`."""
        return [self.rate, self.volume, self.doubt, self.campaign_doubt, self.levels, self.level]

    @classmethod
    def restored(cls, state: Sequence[Any]) -> Expectation:
        """What `state` told."""
        rate, volume, doubt, campaign_doubt, levels, level = state
        return cls(rate, volume, doubt, campaign_doubt, tuple(levels), level)

    def doubt_at(self, sent: int) -> float:
        """Squared relative standard deviation of the rate in a step with this many mails."""
        return self.campaign_doubt if 0 < _BURST * self.volume < sent else self.doubt


@dataclass(slots=True)
class Block:
    """An hour of steps that waits to be learnt: (step, sent, bounced, expected bounces) each.

    `width` says how many steps the entries stand for, where they are not one each.
    """

    hour: int
    expectation: Expectation
    steps: list[tuple[int, int, int, float]]
    width: int = 0

    def restate(self, step: int, sent: int, bounced: int) -> None:
        """Replace the counts of one step, before they are learnt."""
        for place, known in enumerate(self.steps):
            if known[0] == step:
                self.steps[place] = (step, sent, bounced, sent * self.expectation.rate)

    def state(self) -> list[Any]:
        """For `restored`."""
        return [self.hour, self.expectation.state(), self.steps]

    @classmethod
    def restored(cls, state: Sequence[Any]) -> Block:
        """What `state` told."""
        hour, expectation, steps = state
        return cls(hour, Expectation.restored(expectation), [tuple(step) for step in steps])


class Baseline:
    """Of one series."""

    def __init__(self, priors: Priors) -> None:
        self._priors = priors
        keep = 0.5 ** (1 / _MEMORY)
        self._keeps = tuple(0.5 ** (1 / hours) for hours in _HALF_LIVES)
        self._bounced = [0.0] * len(_HALF_LIVES)
        self._sent = [0.0] * len(_HALF_LIVES)
        self._hour_bounced = [0.0] * _HOURS_PER_WEEK
        self._hour_expected = [0.0] * _HOURS_PER_WEEK
        self._volume: list[float | None] = [None] * _HOURS_PER_WEEK
        self._wanders = tuple(Dispersion(priors.wander, keep) for _ in _HALF_LIVES)
        self._speed = len(_HALF_LIVES) - 1
        self._hours = 0
        self.clumping = Dispersion(priors.clumping, 0.5 ** (1 / (_MEMORY * 4)))
        self.campaigns = Dispersion(priors.campaigns, keep)
        self.quarters = Dispersion(priors.quarters, keep)
        self.redundancy = 1.0
        """How many steps of this series say as much as one would if clumps ended with their step."""
        self.expectation = self.expect(0)

    @property
    def warm(self) -> bool:
        """Whether enough was seen to judge anything."""
        return self._hours >= _WARM_UP

    @property
    def settled(self) -> bool:
        """Whether a day was seen."""
        return self._hours >= _SETTLED

    @property
    def wander(self) -> Dispersion:
        """Scatter of whole hours about the level in use."""
        return self._wanders[self._speed]

    def expect(self, hour: int) -> Expectation:
        """What this hour (counted since any beginning of a week) should bring, from what was learnt so far."""
        place = hour % _HOURS_PER_WEEK
        levels = self._levels()
        doubt = self.wander.value + 1.0 / (self._bounced[-1] + 2.0)
        self.expectation = Expectation(
            rate=min(0.9, levels[self._speed] * self._season(place)),
            volume=(self._volume[place] or 0.0) / STEPS_PER_HOUR,
            doubt=doubt,
            campaign_doubt=doubt + 2.0 * self.campaigns.value,
            levels=levels,
            level=levels[self._speed],
        )
        return self.expectation

    def learn(self, block: Block, *, whole: bool = True, thorough: bool = True) -> None:
        """Take in an hour; `whole` says that no step of it was left out, `thorough` that its scatter is learnt too."""
        sent = sum(step[1] for step in block.steps)
        place = block.hour % _HOURS_PER_WEEK
        usual = self._volume[place]
        if whole:
            self._volume[place] = sent if usual is None else usual + 0.3 * (min(sent, 3 * usual + 10) - usual)
        if sent == 0:
            return
        usual_sent = (usual or 0.0) * (block.width or len(block.steps)) / STEPS_PER_HOUR
        expected = sum(step[3] for step in block.steps)
        # A count far off is cut: what is no incident by our rules shall not bend the baseline either.
        bounced = min(float(sum(step[2] for step in block.steps)), 3 * expected + 5)
        weight = min(1.0, 1.5 * usual_sent / sent) if usual_sent else 1.0
        self._hours += 1
        self._learn_level(place, block, weight * sent, weight * bounced)
        if self._hours > _WARM_UP and thorough:
            self._learn_scatter(block, expected, campaign=bool(usual_sent) and sent > _BURST * usual_sent)

    def adopt(self, rate: float) -> None:
        """Take a rate as the new normal from now on."""
        season = rate / max(1e-9, self.expectation.rate)
        for index, level in enumerate(self._levels()):
            self._bounced[index] = self._sent[index] * level * season

    def settle(self) -> None:
        """Bring what is derived up to date; once an hour is enough."""
        self.clumping.settle()
        self.campaigns.settle()
        self.quarters.settle()
        for wander in self._wanders:
            wander.settle()
        values = [wander.value for wander in self._wanders]
        best = values.index(min(values))
        if values[best] < 0.9 * values[self._speed]:
            self._speed = best
        lasting = max(0.0, self.quarters.value - self.wander.value)
        redundancy = 1.0 + _LASTING * _QUARTER * lasting / self.clumping.value
        self.redundancy = redundancy if redundancy > _REDUNDANT else 1.0

    def state(self) -> list[Any]:
        """What was learnt, for `restore`."""
        learnt = [self._bounced, self._sent, self._hour_bounced, self._hour_expected, self._volume]
        scatter = [one.state() for one in self._scatter()]
        return [learnt, scatter, self._speed, self._hours, self.redundancy, self.expectation.state()]

    def restore(self, state: Sequence[Any]) -> None:
        """Know again what `state` told."""
        learnt, scatter, self._speed, self._hours, self.redundancy, expectation = state
        self._bounced, self._sent, self._hour_bounced, self._hour_expected, self._volume = learnt
        for one, told in zip(self._scatter(), scatter, strict=True):
            one.restore(told)
        self.expectation = Expectation.restored(expectation)

    def _scatter(self) -> tuple[Dispersion, ...]:
        return (*self._wanders, self.clumping, self.campaigns, self.quarters)

    def _levels(self) -> tuple[float, ...]:
        """Quick to slow; each leans on the next slower one, the slowest on the installation."""
        slower = self._priors.rate
        mails = _INSTALLATION_WEIGHT
        levels: list[float] = []
        for bounced, sent in zip(reversed(self._bounced), reversed(self._sent), strict=True):
            slower = (bounced + slower * mails) / (sent + mails)
            mails = _SLOWER_WEIGHT / max(slower, 0.001)
            levels.append(slower)
        return tuple(reversed(levels))

    def _season(self, place: int) -> float:
        """Factor of an hour of the week, its neighbours counting half."""
        after = (place + 1) % _HOURS_PER_WEEK
        bounced = self._hour_bounced[place] + 0.5 * (self._hour_bounced[place - 1] + self._hour_bounced[after])
        expected = self._hour_expected[place] + 0.5 * (self._hour_expected[place - 1] + self._hour_expected[after])
        return (bounced + _SEASON_WEIGHT) / (expected + _SEASON_WEIGHT)

    def _learn_level(self, place: int, block: Block, sent: float, bounced: float) -> None:
        season = max(0.2, self._season(place))
        for index, keep in enumerate(self._keeps):
            self._bounced[index] = self._bounced[index] * keep + bounced / season
            self._sent[index] = self._sent[index] * keep + sent
        if self.settled:
            self._hour_bounced[place] = self._hour_bounced[place] * _WEEKLY_KEEP + bounced
            self._hour_expected[place] = self._hour_expected[place] * _WEEKLY_KEEP + sent * block.expectation.level

    def _learn_scatter(self, block: Block, expected: float, *, campaign: bool) -> None:
        for _, _, count, mean in block.steps[::3]:  # a third of the steps says as much as is needed
            self.clumping.learn(count, mean)
        if expected <= 0.3:  # no hour without expectation tells how hours scatter
            return
        bounced = sum(step[2] for step in block.steps)
        known = self.clumping.value * sum(step[3] * step[3] for step in block.steps) / (expected * expected)
        if campaign:
            self.campaigns.learn(bounced, expected, known)
            return
        self._learn_quarter(block)
        for wander, level in zip(self._wanders, block.expectation.levels, strict=True):
            wander.learn(bounced, expected * level / block.expectation.level, known)

    def _learn_quarter(self, block: Block) -> None:
        """Whether clumps last longer than a step: scatter of one quarter of each hour beyond that of its steps."""
        start = block.hour % 4 * _QUARTER
        steps = block.steps[start : start + _QUARTER]
        expected = sum(step[3] for step in steps)
        if len(steps) == _QUARTER and expected > 0.3:
            known = self.clumping.value * sum(step[3] * step[3] for step in steps) / (expected * expected)
            self.quarters.learn(sum(step[2] for step in steps), expected, known)


def null_rate(expectation: Expectation, sent: int, margin: float) -> float:
    """The highest rate that is still normal: the baseline raised by `margin` standard deviations of its doubt."""
    return min(0.95, expectation.rate * math.exp(margin * math.sqrt(expectation.doubt_at(sent))))
