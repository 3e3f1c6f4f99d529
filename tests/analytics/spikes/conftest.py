"""Mail of one series as it comes: clumped bounces from a seed, and a detector that has seen some of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from random import Random

import pytest

from analytics.spikes import Change, SpikeDetector

DAY = 288
WEEK = 7 * DAY


def poisson(random: Random, mean: float) -> int:
    if mean > 30:
        return max(0, round(random.gauss(mean, math.sqrt(mean))))
    count, left = 0, random.expovariate(1.0)
    while left < mean:
        count, left = count + 1, left + random.expovariate(1.0)
    return count


def clumped(random: Random, mean: float, clumping: float) -> int:
    """A negative-binomial count: variance = mean + clumping * mean ** 2."""
    return poisson(random, random.gammavariate(1 / clumping, clumping * mean)) if mean else 0


Rate = Callable[[int], float]


@pytest.fixture
def feed():
    """Feed steps `start` to `end` of a series of a detector, bouncing by `rate(step)`; the changes it told of."""

    def feed(
        detector: SpikeDetector,
        steps: Iterable[int],
        rate: Rate,
        *,
        sent: int = 500,
        series: str = "gmail",
        clumping: float = 0.1,
    ) -> list[Change]:
        changes = []
        for step in steps:
            random = Random(f"{series}/{step}")
            bounced = min(sent, clumped(random, sent * rate(step), clumping))
            if (change := detector.observe(series, step, sent, bounced)) is not None:
                changes.append(change)
        return changes

    return feed
